//! The units that the repairs ask for, written when all of them have asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{quote, unit_name};
use crate::report::Changes;
use crate::sysext::work::Work;
use crate::sysext::{Error, SysextOptions};

/// Where units of the system are.
pub(super) const SYSTEM: &str = "usr/lib/systemd/system";

/// Where units of users are.
pub(super) const USER: &str = "usr/lib/systemd/user";

/// What is to start on the host, and why.
#[derive(Debug, Default)]
pub(in crate::sysext) struct Plan {
    /// By directory and the unit that upholds: units, and why.
    upheld: BTreeMap<(&'static str, String), BTreeMap<String, Upheld>>,
    /// Drop-ins of the extension's own services: settings of `[Unit]`.
    own: BTreeMap<String, BTreeSet<String>>,
    /// Services that the repairs have added, in the order in which they run, all of them after the
    /// accounts and files: policy, caches.
    pub added: Vec<String>,
}

#[derive(Debug)]
struct Upheld {
    is_brief: bool,
    rule: &'static str,
    cause: String,
}

impl Plan {
    /// Asks that `unit` is started whenever `by` is active.
    pub fn uphold(
        &mut self,
        directory: &'static str,
        by: &str,
        unit: &str,
        is_brief: bool,
        (rule, cause): (&'static str, String),
    ) {
        let units = self.upheld.entry((directory, by.to_owned())).or_default();
        units.entry(unit.to_owned()).or_insert(Upheld { is_brief, rule, cause });
    }

    /// Asks that one of the extension's own services starts after `other`.
    pub fn start_after(&mut self, service: &str, other: &str) {
        let settings = self.own.entry(service.to_owned()).or_default();
        settings.extend([format!("Wants={other}"), format!("After={other}")]);
    }

    /// Writes the drop-ins. What ends by itself is wanted by a target of its own that is upheld: it
    /// starts once with the target, and not again whenever it has ended; nor when another version of
    /// the extension brings another such unit.
    pub fn write<C>(
        self,
        work: &mut Work<C>,
        options: &SysextOptions<'_>,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        let drop_in = |directory: &str, unit: &str, changes: &mut Changes| {
            let below = unit_name::drop_ins(unit);
            if below.is_none() {
                changes.warn("R22", format!("{unit} has too long a name for a drop-in, which would start what the extension needs with it: give it a shorter one"));
            }
            Some(format!("{directory}/{}/10-{}-sysext.conf", below?, options.name))
        };
        for ((directory, by), units) in &self.upheld {
            let Some(path) = drop_in(directory, by, changes) else { continue };
            let rule = units.values().map(|upheld| upheld.rule).max().unwrap_or_default();
            let mut causes = Vec::new();
            let mut text = String::from("[Unit]\n");
            for (unit, Upheld { cause, .. }) in units.iter().filter(|(_, it)| !it.is_brief) {
                let _ = writeln!(text, "Upholds={unit}");
                causes.push(format!("starts {unit}: {cause}"));
            }
            for (unit, Upheld { cause, .. }) in units.iter().filter(|(_, it)| it.is_brief) {
                let (of, what) = (unit_name::escape(by), unit_name::escape(unit));
                let target = format!("{of}--{what}.target");
                let Some(target) = unit_name::added(&options.name, &target, "R22", changes) else {
                    continue;
                };
                let of = quote::description(&options.name);
                let wants = format!(
                    "[Unit]\nDescription=A unit of the system extension {of} that ends by itself\nDefaultDependencies=no\nWants={unit}\n"
                );
                let why = format!("starts {unit} once: it ends by itself");
                work.add_file(
                    &format!("{directory}/{target}"),
                    wants.into_bytes(),
                    options.created,
                    ("R22", why),
                    changes,
                )?;
                let _ = writeln!(text, "Upholds={target}");
                causes.push(format!("starts {unit}: {cause}"));
            }
            if causes.is_empty() {
                continue;
            }
            work.add_file(
                &path,
                text.into_bytes(),
                options.created,
                (rule, causes.join("; ")),
                changes,
            )?;
        }
        for (service, settings) in &self.own {
            let Some(path) = drop_in(SYSTEM, service, changes) else { continue };
            let mut text = String::from("[Unit]\n");
            for setting in settings {
                let _ = writeln!(text, "{setting}");
            }
            let why = "its accounts, files and policy are there before it starts".to_owned();
            work.add_file(&path, text.into_bytes(), options.created, ("R22", why), changes)?;
        }
        Ok(())
    }
}
