//! Repairs: `dnf install` leaves effects in places that an extension cannot have (`etc`, `var`).
//! Each file here derives one kind of them from the layer, without running anything, and adds what
//! makes the host have them too; without its flag it only tells what the host will lack.
//!
//! What is added is owned by root, with the image's time, and labelled like all else. Names from
//! the layer are escaped as systemd's formats ask, or left out with a warning.

mod account_files;
mod alternatives;
mod caches;
mod choice;
mod defaults;
mod owners;
mod packaged;
mod plan;
mod quote;
mod selinux;
mod setup;
mod state;
mod tmpfiles;
mod unit_file;
mod unit_name;
mod units;
mod users;

pub use choice::{Repair, Repairs};
pub(super) use owners::run as owners;
pub(super) use units::needs_reload;

use super::work::Work;
use super::{Error, SysextOptions};
use crate::base::Base;
use crate::report::Changes;
use plan::Plan;
use users::Names;

/// What the first repairs know, for the last ones.
#[derive(Debug)]
pub(super) struct Begun {
    plan: Plan,
    names: Names,
}

/// Looks at what the layer has outside `usr`, before it is dropped.
pub(super) fn begin<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    changes: &mut Changes,
) -> Result<Begun, Error> {
    users::refuse_password_links(work)?;
    let mut plan = Plan::default();
    selinux::run(work, base, options, &mut plan, changes)?;
    units::run(work, base, options, &mut plan, changes)?;
    alternatives::run(work, base, options, changes);
    let names = users::run(work, base, options, changes)?;
    caches::run(work, options, &mut plan, changes)?;
    state::run(work, base, options, &names, changes)?;
    Ok(Begun { plan, names })
}

/// Looks at the defaults that are left in `usr/etc`, and writes the units that were asked for.
pub(super) fn finish<C>(
    begun: Begun,
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    changes: &mut Changes,
) -> Result<(), Error> {
    let Begun { mut plan, names } = begun;
    defaults::run(work, base, options, &names, changes)?;
    setup::run(work, base, options, &mut plan, changes)?;
    plan.write(work, options, changes)
}
