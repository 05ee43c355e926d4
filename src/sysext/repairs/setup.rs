//! Accounts and files before services: systemd-sysusers does not wait for extensions at boot, and
//! nothing runs it, or systemd-tmpfiles, when an extension is merged later. So one unit runs both
//! for what the extension brings, and the extension's services start after it (R24, R25). At boot
//! systemd-tmpfiles-setup runs between merging and that unit, and makes the accounts first.

use std::fmt::Write;

use super::plan::{Plan, SYSTEM};
use super::{Repair, packaged, quote, unit_name, units};
use crate::base::Base;
use crate::report::Changes;
use crate::sysext::work::Work;
use crate::sysext::{Error, SysextOptions, rules};
use crate::tree::split;

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
        let text = format!("[Service]\nExecStartPre=-{SYSUSERS} {}\n", accounts.join(" "));
        let why = "makes the accounts before the files that they own".to_owned();
        work.add_file(&path, text.into_bytes(), options.created, ("R24", why), changes)?;
    }
    let unit = format!("{}-sysext-setup.service", unit_name::escape(&options.name));
    let of = quote::description(&options.name);
    let mut text = format!(
        "[Unit]\n\
         Description=Accounts and files of the system extension {of} (oci2sysext)\n\
         DefaultDependencies=no\n\
         After=local-fs.target systemd-sysext.service systemd-sysusers.service systemd-tmpfiles-setup.service\n\
         Conflicts=shutdown.target\n\
         Before=shutdown.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n"
    );
    for (program, files) in [(SYSUSERS, accounts), (TMPFILES, paths)] {
        if !files.is_empty() {
            let _ = writeln!(text, "ExecStart=-{program} {}", files.join(" "));
        }
    }
    let why = "makes accounts and files when the extension is merged".to_owned();
    let path = format!("{SYSTEM}/{unit}");
    let services = units::services(work, base);
    work.add_file(&path, text.into_bytes(), options.created, ("R25", why), changes)?;
    plan.uphold(SYSTEM, "sysinit.target", &unit, false, ("R25", "accounts and files".to_owned()));
    for service in services {
        plan.start_after(&service, &unit);
    }
    Ok(())
}
