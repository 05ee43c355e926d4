//! A layer that brings a policy of its own: the host must load it, or the types that only it
//! knows are unlabelled there (R34). With `--repairs selinux` a unit does that after merging.

use super::plan::{Plan, SYSTEM};
use super::{Repair, quote, unit_name, units};
use crate::base::Base;
use crate::escape::Escaped;
use crate::report::Changes;
use crate::sysext::work::Work;
use crate::sysext::{Error, SysextOptions};
use crate::tree::{Content, is_within};

/// Looks for policy modules and rewritten policies before anything of the layer is dropped.
pub(super) fn run<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    plan: &mut Plan,
    changes: &mut Changes,
) -> Result<(), Error> {
    let mut rewritten = None;
    let mut modules = Vec::new();
    for entry in work.tree.walk() {
        if !matches!(entry.inode.content, Content::Regular(_)) {
            continue;
        }
        if is_module(&entry.path) {
            modules.push(entry.path);
        } else if rewritten.is_none() && is_policy(&entry.path) {
            rewritten = Some(entry.path);
        }
    }
    if let Some(path) = rewritten {
        changes.warn(
            "R34",
            format!("the layer changes the SELinux policy ({}), which is not in the image: load the extension's policy modules on the host (semodule -i MODULE), or rebuild its policy (semodule -B)", Escaped(&path)),
        );
    }
    if modules.is_empty() {
        return Ok(());
    }
    if !options.repairs.has(Repair::Selinux) {
        for path in &modules {
            let path = Escaped(path);
            changes.warn(
                "R34",
                format!("the extension brings the policy module /{path}: after merging, load it on the host with semodule -i /{path}, and again after every update of the host's policy, then relabel what it made before (restorecon -R /etc /var) (--repairs all,selinux)"),
            );
        }
        return Ok(());
    }
    let unit = format!("{}-sysext-selinux.service", unit_name::escape(&options.name));
    let arguments: Vec<_> =
        modules.iter().map(|path| quote::exec(&[b"/", &path[..]].concat())).collect();
    let of = quote::description(&options.name);
    let text = format!(
        "[Unit]\n\
         Description=SELinux policy of the system extension {of} (oci2sysext)\n\
         DefaultDependencies=no\n\
         ConditionSecurity=selinux\n\
         After=local-fs.target systemd-sysext.service\n\
         Conflicts=shutdown.target\n\
         Before=shutdown.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart=-/usr/sbin/semodule -i {}\n",
        arguments.join(" ")
    );
    let services = units::services(work, base);
    let why = format!("loads {} policy modules of the extension", modules.len());
    let path = format!("{SYSTEM}/{unit}");
    work.add_file(&path, text.into_bytes(), options.created, ("R34", why), changes)?;
    let cause = ("R34", "policy modules".to_owned());
    plan.uphold(SYSTEM, "sysinit.target", &unit, true, cause);
    for service in services {
        plan.start_after(&service, &unit);
    }
    Ok(())
}

fn is_module(path: &[u8]) -> bool {
    is_within(path, b"usr/share/selinux")
        && [&b".pp"[..], b".pp.bz2", b".cil", b".cil.bz2"].iter().any(|end| path.ends_with(end))
        || is_within(path, b"usr") && path.ends_with(b".pp")
}

/// A file of a compiled policy, `selinux/TYPE/…`, or of the store that it is compiled from.
fn is_policy(path: &[u8]) -> bool {
    let of_type = |root: &[u8]| path.strip_prefix(root).is_some_and(|rest| rest.contains(&b'/'));
    of_type(b"etc/selinux/") || of_type(b"usr/etc/selinux/") || of_type(b"var/lib/selinux/")
}
