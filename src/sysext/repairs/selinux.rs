//! A layer that brings a policy of its own: the host must load it, or the types that only it
//! knows are unlabelled there (R34). With `--repairs selinux` a unit does that after merging, when
//! the host's modules or the extension's are others than the last time, and relabels what the
//! modules' file contexts cover.

use std::collections::BTreeSet;

use super::plan::{Plan, SYSTEM};
use super::{Repair, quote, unit_name, units};
use crate::base::Base;
use crate::escape::Escaped;
use crate::report::Changes;
use crate::sysext::work::Work;
use crate::sysext::{Error, PolicyChange, SysextOptions, modules};
use crate::tree::{Content, components, is_within, split};

/// Looks for policy modules and rewritten policies before anything of the layer is dropped.
pub(super) fn run<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    plan: &mut Plan,
    changes: &mut Changes,
) -> Result<(), Error> {
    let policy_type = base.policy().map(|policy| &*policy.policy_type);
    let is_file = |content: &_| matches!(content, Content::Regular(_));
    let mut files = work.tree.walk().filter(|entry| is_file(&entry.inode.content));
    let rewritten = files.find(|entry| is_policy(&entry.path)).map(|entry| entry.path);
    let modules = modules::paths(&work.tree, policy_type).into_iter();
    let mut modules: Vec<_> = modules.map(|path| [b"/", &path[..]].concat()).collect();
    if modules.is_empty() && rewritten.is_none() {
        return Ok(());
    }
    let relabel = format!("restorecon -R -i {}", relabelled(options.policy_change).join(" "));
    if let Some(path) = rewritten {
        let path = Escaped(&path);
        changes.warn(
            "R34",
            format!("the layer changes the SELinux policy ({path}), which is not in the image: load the extension's policy modules on the host (semodule -i MODULE), or rebuild its policy (semodule -B), then relabel what is there already ({relabel})"),
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
                format!("the extension brings the policy module {path}: after merging, load it on the host with semodule -i {path}, which reloads the policy, then relabel what is there already ({relabel}) (--repairs all,selinux)"),
            );
        }
        return Ok(());
    }
    modules.retain(|path| {
        let is_name = module_name(path);
        if !is_name {
            let path = Escaped(path);
            changes.warn("R34", format!("{path} is no name of a policy module (a letter, then letters, digits, dots, dashes and underscores), and semodule would refuse all modules for it: load it by hand"));
        }
        is_name
    });
    if modules.is_empty() {
        return Ok(());
    }
    let unit = format!("selinux-{}.service", unit_name::version([&options.layer]));
    let unit = unit_name::added(&options.name, &unit, "R34", changes);
    let Some(unit) = unit else { return Ok(()) };
    let arguments: Vec<_> = modules.iter().map(|path| quote::exec(path)).collect();
    let text = unit_text(
        &unit_name::plain(&options.name),
        &quote::description(&options.name),
        &arguments.join(" "),
    );
    let services = units::services(work, base, plan);
    let why = format!(
        "loads {} policy modules of the extension when they or the host's have changed, and relabels what their file contexts cover",
        modules.len()
    );
    let path = format!("{SYSTEM}/{unit}");
    work.add_file(&path, text.into_bytes(), options.created, ("R34", why), changes)?;
    let cause = ("R34", "policy modules".to_owned());
    plan.uphold(SYSTEM, "sysinit.target", &unit, true, cause);
    plan.added.push(unit.clone());
    for service in services {
        plan.start_after(&service, &unit);
    }
    Ok(())
}

/// The unit. Building a policy takes many seconds, so it compares first: a file in `/var` has the
/// host's modules and the extension's as they were after the last run. An older image of a host
/// that comes back with an older policy is another, too.
fn unit_text(name: &str, of: &str, modules: &str) -> String {
    format!(
        r#"[Unit]
Description=SELinux policy of the system extension {of} (oci2sysext)
DefaultDependencies=no
ConditionSecurity=selinux
ConditionFileIsExecutable=/usr/sbin/semodule
After=local-fs.target systemd-sysext.service systemd-tmpfiles-setup.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
StateDirectory={name}-sysext-selinux
RuntimeDirectory={name}-sysext-selinux
ExecCondition=/bin/sh -c '{{ semodule -lfull --checksum; sha256sum "$$@"; }} >"$$RUNTIME_DIRECTORY/now"; ! cmp -s "$$RUNTIME_DIRECTORY/now" "$$STATE_DIRECTORY/loaded"' sh {modules}
ExecStart=/bin/sh -c '. /etc/selinux/config; cp "/etc/selinux/$$SELINUXTYPE/contexts/files/file_contexts" "$$RUNTIME_DIRECTORY/"'
ExecStart=/usr/sbin/semodule -i {modules}
ExecStart=-/usr/sbin/fixfiles -C ${{RUNTIME_DIRECTORY}}/file_contexts restore
ExecStart=/bin/sh -c '{{ semodule -lfull --checksum; sha256sum "$$@"; }} >"$$STATE_DIRECTORY/loaded"' sh {modules}
"#
    )
}

/// Whether semodule takes the module of a file by its name; it installs all that it is given, or
/// none.
fn module_name(path: &[u8]) -> bool {
    let (_, name) = split(path).unwrap_or_default();
    let name = name.strip_suffix(b".bz2").unwrap_or(name);
    let name = name.strip_suffix(b".pp").or_else(|| name.strip_suffix(b".cil")).unwrap_or(name);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(plain)
}

/// A file of a compiled policy, `selinux/TYPE/…`, or of the store that it is compiled from.
fn is_policy(path: &[u8]) -> bool {
    let of_type = |root: &[u8]| path.strip_prefix(root).is_some_and(|rest| rest.contains(&b'/'));
    of_type(b"etc/selinux/") || of_type(b"usr/etc/selinux/") || of_type(b"var/lib/selinux/")
}

/// As many paths as a message has room for.
const MAX_PATHS: usize = 20;

/// What on the host may have other labels with the layer's policy: where the file contexts lead
/// that the layer adds; else all that a host writes. What is in `usr` is labelled in the image.
fn relabelled(change: Option<PolicyChange<'_>>) -> Vec<String> {
    let specs = |text: &[u8]| -> BTreeSet<Vec<u8>> {
        let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        lines
            .filter_map(|line| line.split(u8::is_ascii_whitespace).next().map(<[u8]>::to_vec))
            .collect()
    };
    let mut paths: BTreeSet<Vec<u8>> = BTreeSet::new();
    if let Some(PolicyChange { before, after }) = change {
        let (old, new) = (specs(&before.file_contexts), specs(&after.file_contexts));
        paths.extend(new.difference(&old).filter_map(|spec| directory_of(spec)));
    }
    let covered =
        |path: &Vec<u8>| paths.iter().any(|other| other != path && is_within(path, other));
    let found: Vec<_> =
        paths.iter().filter(|path| !covered(path)).map(|path| Escaped(path).to_string()).collect();
    if found.is_empty() || found.len() > MAX_PATHS {
        vec!["/etc".to_owned(), "/var".to_owned()]
    } else {
        found
    }
}

/// The path that a specification of file contexts leads to, as far as it is told by its text; none
/// for those that no host keeps between boots, or that an extension has in `usr`.
fn directory_of(spec: &[u8]) -> Option<Vec<u8>> {
    const ELSEWHERE: [&[u8]; 10] =
        [b"usr", b"bin", b"sbin", b"lib", b"lib64", b"proc", b"sys", b"dev", b"run", b"tmp"];
    let parent = |path: &[u8]| split(path).map(|(parent, _)| parent.to_vec());
    let mut path = Vec::new();
    let mut bytes = spec.iter().copied().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some((_, literal)) if !literal.is_ascii_alphanumeric() => path.push(literal),
                _ => {
                    path = parent(&path)?;
                    break;
                }
            },
            b'(' if spec.get(at..).is_some_and(|rest| rest.starts_with(b"(/")) => break,
            b'?' | b'*' | b'+' | b'{' => {
                path.pop();
                path = parent(&path)?;
                break;
            }
            b'.' | b'^' | b'$' | b'|' | b'[' | b'(' => {
                path = parent(&path)?;
                break;
            }
            literal => path.push(literal),
        }
    }
    let top = components(&path).next()?;
    (path.starts_with(b"/") && !ELSEWHERE.contains(&top)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_lead_to_directories() {
        for (spec, path) in [
            ("/var/lib/demo(/.*)?", Some("/var/lib/demo")),
            ("/etc/demo\\.conf", Some("/etc/demo.conf")),
            ("/var/log/demo.*", Some("/var/log")),
            ("/var/lib/demo-[0-9]+/x", Some("/var/lib")),
            ("/var/lib/demos?/x", Some("/var/lib")),
            ("/opt/demo/(bin|lib)/x", Some("/opt/demo")),
            ("/var/lib/demo\\d", Some("/var/lib")),
            ("/usr/lib/demo\\d", None),
            ("/demo\\w", None),
            ("/usr/bin/demo", None),
            ("/run/demo(/.*)?", None),
            ("/.*", None),
            ("", None),
            ("relative", None),
        ] {
            let found = directory_of(spec.as_bytes());
            assert_eq!(found.as_deref(), path.map(str::as_bytes), "{spec}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_specification_makes_it_panic(spec: Vec<u8>) {
            directory_of(&spec);
        }
    }
}
