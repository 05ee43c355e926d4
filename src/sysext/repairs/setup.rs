//! Accounts and files before services: systemd-sysusers does not wait for extensions at boot, and
//! nothing runs it, or systemd-tmpfiles, when an extension is merged later. So one unit runs both
//! for what the extension brings, and the extension's services start after it (R24, R25). At boot
//! systemd-tmpfiles-setup runs between merging and that unit, and makes the accounts first. Its name
//! is another when the files say something else, so that it runs for another version, too.

use std::fmt::Write;

use super::plan::{Plan, SYSTEM};
use super::{Repair, packaged, quote, unit_name, units};
use crate::base::Base;
use crate::report::Changes;
use crate::sysext::work::{Work, read_held};
use crate::sysext::{Error, SysextOptions, rules};
use crate::tree::split;

/// So many files for one run: systemd reads no line of a unit beyond 1 MiB.
const FILES: usize = 500;

const SYSUSERS: &str = "/usr/bin/systemd-sysusers --";
const TMPFILES: &str = "/usr/bin/systemd-tmpfiles --create --";

pub(super) fn run<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    plan: &mut Plan,
    changes: &mut Changes,
) -> Result<(), Error> {
    if !options.repairs.has(Repair::Units) {
        return Ok(());
    }
    let files = |directory| -> Vec<String> {
        let paths = packaged::files(work, directory);
        paths.filter_map(|path| Some(quote::exec(split(&path)?.1))).collect()
    };
    let (accounts, paths) = (files(rules::SYSUSERS), files(rules::TMPFILES));
    if accounts.is_empty() && paths.is_empty() {
        return Ok(());
    }
    if !accounts.is_empty() && !paths.is_empty() {
        let path =
            format!("{SYSTEM}/systemd-tmpfiles-setup.service.d/10-{}-sysext.conf", options.name);
        let mut text = String::from("[Service]\n");
        commands("ExecStartPre", SYSUSERS, &accounts, &mut text);
        let why = "makes the accounts before the files that they own".to_owned();
        work.add_file(&path, text.into_bytes(), options.created, ("R24", why), changes)?;
    }
    let said = [rules::SYSUSERS, rules::TMPFILES].map(|directory| packaged::files(work, directory));
    let said = said.into_iter().flatten().flat_map(|path| {
        let text = read_held(&work.tree, &path, options.limits.text_file);
        [path, text.unwrap_or_default()]
    });
    let unit = format!("setup-{}.service", unit_name::version(said));
    let unit = unit_name::added(&options.name, &unit, "R25", changes);
    let Some(unit) = unit else { return Ok(()) };
    let of = quote::description(&options.name);
    let before = [&plan.added[..], &["shutdown.target".to_owned()]].concat().join(" ");
    let mut text = format!(
        "[Unit]\n\
         Description=Accounts and files of the system extension {of} (oci2sysext)\n\
         DefaultDependencies=no\n\
         After=local-fs.target systemd-sysext.service systemd-sysusers.service systemd-tmpfiles-setup.service\n\
         Conflicts=shutdown.target\n\
         Before={before}\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n"
    );
    commands("ExecStart", SYSUSERS, &accounts, &mut text);
    commands("ExecStart", TMPFILES, &paths, &mut text);
    let why = "makes accounts and files when the extension is merged".to_owned();
    let path = format!("{SYSTEM}/{unit}");
    let services = units::services(work, base, plan);
    work.add_file(&path, text.into_bytes(), options.created, ("R25", why), changes)?;
    plan.uphold(SYSTEM, "sysinit.target", &unit, false, ("R25", "accounts and files".to_owned()));
    for service in services {
        plan.start_after(&service, &unit);
    }
    Ok(())
}

/// Lines that run a program for files.
fn commands(setting: &str, program: &str, files: &[String], text: &mut String) {
    for files in files.chunks(FILES) {
        let _ = writeln!(text, "{setting}=-{program} {}", files.join(" "));
    }
}
