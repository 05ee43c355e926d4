//! Enablement (R22): presets ran in the build, so the layer has links in
//! `etc/systemd/…/X.wants`, which no extension can have. Each becomes `Upholds=` in a drop-in of
//! X, which systemd obeys even where X is active before the extension is merged; links that the
//! layer has in `usr/lib/systemd/system/X.wants` stay and get one too. Aliases move to `usr`. What
//! belongs to the base is not the extension's to enable.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Plan, SYSTEM, USER};
use super::{Repair, unit_file, unit_name};
use crate::base::Base;
use crate::escape::Escaped;
use crate::report::{Action, Changes};
use crate::sysext::work::{Work, read_held, resolve};
use crate::sysext::{Error, SysextOptions};
use crate::tree::{Content, Inode, Stat, is_within, join, split};

/// Directories of units, and where the build leaves what the user of systemctl enables.
const SCOPES: [(&str, [&str; 2]); 2] = [
    (SYSTEM, ["etc/systemd/system", "usr/etc/systemd/system"]),
    (USER, ["etc/systemd/user", "usr/etc/systemd/user"]),
];

/// The extension's own units in one directory.
struct Units {
    directory: &'static str,
    names: BTreeSet<String>,
}

impl Units {
    fn of<C>(work: &Work<C>, base: &Base, directory: &'static str) -> Self {
        let names = work
            .tree
            .entries(directory.as_bytes())
            .filter(|(_, ino)| {
                let content = &work.tree.inode(*ino).content;
                matches!(content, Content::Regular(_) | Content::Symlink(_))
            })
            .filter_map(|(name, _)| unit_name::parse(name))
            .filter(|name| base.path(format!("{directory}/{name}").as_bytes()).is_none())
            .map(str::to_owned)
            .collect();
        Self { directory, names }
    }

    fn has(&self, unit: &str) -> bool {
        self.names.contains(unit)
            || unit_name::template(unit).is_some_and(|template| self.names.contains(&template))
    }

    /// The extension's unit that a link of this name and target stands for.
    fn meant(&self, name: &str, target: &[u8]) -> Option<String> {
        if self.has(name) {
            return Some(name.to_owned());
        }
        let (_, target) = split(target).unwrap_or_default();
        let target = unit_name::parse(target).filter(|target| self.has(target))?;
        if unit_name::is_template(target) {
            return unit_name::instance_of(target, name);
        }
        Some(target.to_owned())
    }

    fn file<C>(
        &self,
        work: &Work<C>,
        unit: &str,
        options: &SysextOptions<'_>,
    ) -> unit_file::UnitFile {
        let template = unit_name::template(unit);
        let mut path = format!("{}/{unit}", self.directory).into_bytes();
        if !self.names.contains(unit)
            && let Some(template) = template
        {
            path = format!("{}/{template}", self.directory).into_bytes();
        }
        if let Some(ino) = work.tree.lookup(&path)
            && let Content::Symlink(target) = &work.tree.inode(ino).content
        {
            path = resolve(&path, target);
        }
        read_held(&work.tree, &path, options.limits.text_file)
            .map(|text| unit_file::parse(&text))
            .unwrap_or_default()
    }
}

/// A link that enables something.
struct Link {
    path: Vec<u8>,
    target: Vec<u8>,
    by: Vec<u8>,
    name: Vec<u8>,
}

pub(super) fn run<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    plan: &mut Plan,
    changes: &mut Changes,
) -> Result<(), Error> {
    if !options.repairs.has(Repair::Units) {
        tell(work, changes);
        return Ok(());
    }
    let mut left_out: BTreeSet<&str> = options.no_enable.iter().map(String::as_str).collect();
    for (directory, etc) in SCOPES {
        for etc in etc {
            move_units(work, base, directory, etc, changes)?;
        }
        let units = Units::of(work, base, directory);
        let mut enabled: BTreeSet<String> = BTreeSet::new();
        for etc in etc {
            aliases(work, base, &units, etc, changes)?;
            for link in links(work, etc) {
                enable(work, base, &units, &link, options, plan, &mut enabled, changes);
            }
        }
        if directory == SYSTEM {
            for link in links(work, directory) {
                enable(work, base, &units, &link, options, plan, &mut enabled, changes);
            }
            by_request(work, &units, options, plan, &mut enabled)?;
        }
        left_out.retain(|unit| !units.has(unit));
        for unit in &units.names {
            let is_enabled = enabled.contains(unit)
                || enabled.iter().any(|one| unit_name::template(one).as_ref() == Some(unit));
            if !is_enabled && units.file(work, unit, options).is_installable {
                let path = format!("{directory}/{unit}");
                let why = "installed, but not enabled: it starts when something else needs it, or with --enable";
                changes.note(path.as_bytes(), Action::Kept, "R22", why);
            }
        }
    }
    if let Some(unit) = left_out.first() {
        let problem = "found no such unit in the layer, expected one";
        return Err(Error::Unit { option: "--no-enable", unit: (*unit).to_owned(), problem });
    }
    Ok(())
}

/// Units that somebody wrote into `etc/systemd` are the extension's as well: systemd reads them in
/// `usr` as soon as the extension is merged.
fn move_units<C>(
    work: &mut Work<C>,
    base: &Base,
    directory: &str,
    etc: &str,
    changes: &mut Changes,
) -> Result<(), Error> {
    let found: Vec<_> = work
        .tree
        .entries(etc.as_bytes())
        .filter(|(_, ino)| matches!(work.tree.inode(*ino).content, Content::Regular(_)))
        .filter_map(|(name, ino)| Some((unit_name::parse(name)?.to_owned(), ino)))
        .collect();
    for (name, ino) in found {
        let (from, to) = (format!("{etc}/{name}"), format!("{directory}/{name}"));
        let is_known = [&from, &to].iter().any(|path| base.path(path.as_bytes()).is_some());
        if is_known || work.tree.lookup(to.as_bytes()).is_some() {
            continue;
        }
        work.ensure_directory(directory.as_bytes())?;
        work.tree.remove(from.as_bytes());
        work.tree.link(to.as_bytes(), ino);
        let why = "a unit of the extension: systemd knows it as soon as it is merged";
        changes.note_moved(from.as_bytes(), to.as_bytes(), "R22", why);
    }
    Ok(())
}

/// Links beside the directories of enablement: other names of the extension's units move to `usr`;
/// what masks or renames a unit of the base is dropped.
fn aliases<C>(
    work: &mut Work<C>,
    base: &Base,
    units: &Units,
    etc: &str,
    changes: &mut Changes,
) -> Result<(), Error> {
    let found: Vec<_> = work
        .tree
        .entries(etc.as_bytes())
        .filter_map(|(name, ino)| match &work.tree.inode(ino).content {
            Content::Symlink(target) => Some((name.to_vec(), target.clone(), ino)),
            _ => None,
        })
        .collect();
    for (name, target, ino) in found {
        let from = join(etc.as_bytes(), &name);
        let end = split(&target).map_or(&target[..], |(_, end)| end);
        let own = unit_name::parse(end).filter(|end| units.has(end));
        let (Some(alias), Some(unit)) = (unit_name::parse(&name), own) else {
            let told = if &*target == b"/dev/null" { "masked" } else { "given another name" };
            changes.warn(
                "R22",
                format!("{} is {told} by {}, but is no unit of the extension: do it on the host, if it is wanted", Escaped(&name), Escaped(&from)),
            );
            changes.note_dropped(&from, "R22", "a setting for a unit of the base");
            work.tree.remove(&from);
            continue;
        };
        let to = format!("{}/{alias}", units.directory);
        let is_known = base.path(&from).is_some() || base.path(to.as_bytes()).is_some();
        work.tree.remove(&from);
        if is_known || work.tree.lookup(to.as_bytes()).is_some() {
            changes.note_dropped(&from, "R22", "a name that another unit has");
            continue;
        }
        let stat = Stat { mode: 0o777, mtime: work.tree.inode(ino).stat.mtime, ..Stat::default() };
        let content = Content::Symlink(unit.as_bytes().into());
        let ino = work.tree.add(Inode { stat, content });
        work.ensure_directory(units.directory.as_bytes())?;
        work.tree.link(to.as_bytes(), ino);
        let why = "another name of a unit of the extension";
        changes.note_moved(&from, to.as_bytes(), "R22", why);
    }
    Ok(())
}

/// The links in `X.wants`, `X.requires` and `X.upholds` of a directory.
fn links<C>(work: &Work<C>, directory: &str) -> Vec<Link> {
    let mut found = Vec::new();
    for (name, _) in work.tree.entries(directory.as_bytes()) {
        let by = [&b".wants"[..], b".requires", b".upholds"];
        let Some(by) = by.iter().find_map(|end| name.strip_suffix(*end)) else { continue };
        let below = join(directory.as_bytes(), name);
        for (link, ino) in work.tree.entries(&below) {
            if let Content::Symlink(target) = &work.tree.inode(ino).content {
                found.push(Link {
                    path: join(&below, link),
                    target: target.to_vec(),
                    by: by.to_vec(),
                    name: link.to_vec(),
                });
            }
        }
    }
    found
}

#[expect(clippy::too_many_arguments, reason = "one step of a loop")]
fn enable<C>(
    work: &Work<C>,
    base: &Base,
    units: &Units,
    link: &Link,
    options: &SysextOptions<'_>,
    plan: &mut Plan,
    enabled: &mut BTreeSet<String>,
    changes: &mut Changes,
) {
    if base.path(&link.path).is_some() {
        return;
    }
    let path = Escaped(&link.path);
    let (Some(by), Some(name)) = (unit_name::parse(&link.by), unit_name::parse(&link.name)) else {
        changes.warn("R22", format!("{path} enables nothing: found no unit's name in it"));
        return;
    };
    let Some(unit) = units.meant(name, &link.target).filter(|unit| !unit_name::is_template(unit))
    else {
        changes.warn(
            "R22",
            format!("{path} enables {name}, which is no unit of the extension: enable it on the host, if it is wanted"),
        );
        return;
    };
    let template = unit_name::template(&unit);
    let is_left_out = |one: &String| *one == unit || template.as_ref() == Some(one);
    enabled.insert(unit.clone());
    if options.no_enable.iter().any(is_left_out) {
        changes.note(&link.path, Action::Dropped, "R22", "left out as --no-enable says");
        return;
    }
    let is_brief = units.file(work, &unit, options).is_brief;
    plan.uphold(units.directory, by, &unit, is_brief, ("R22", format!("enabled by {path}")));
}

/// `--enable UNIT`: by what its `[Install]` says, else by multi-user.target.
fn by_request<C>(
    work: &Work<C>,
    units: &Units,
    options: &SysextOptions<'_>,
    plan: &mut Plan,
    enabled: &mut BTreeSet<String>,
) -> Result<(), Error> {
    for unit in &options.enable {
        let error = |problem| Error::Unit { option: "--enable", unit: unit.clone(), problem };
        if unit_name::parse(unit.as_bytes()).is_none() || !units.has(unit) {
            return Err(error("found no such unit in the layer, expected one"));
        }
        if unit_name::is_template(unit) {
            return Err(error(
                "found a template, expected an instance such as NAME@INSTANCE.service",
            ));
        }
        let file = units.file(work, unit, options);
        let mut by: Vec<&str> =
            file.wanted_by.iter().filter_map(|by| unit_name::parse(by.as_bytes())).collect();
        if by.is_empty() {
            by.push("multi-user.target");
        }
        for by in by {
            plan.uphold(
                SYSTEM,
                by,
                unit,
                file.is_brief,
                ("R22", "asked for by --enable".to_owned()),
            );
        }
        enabled.insert(unit.clone());
    }
    Ok(())
}

/// With `--repairs none`: what is enabled, and does not start.
fn tell<C>(work: &Work<C>, changes: &mut Changes) {
    let mut told = BTreeMap::new();
    for link in SCOPES.iter().flat_map(|(_, etc)| etc).flat_map(|etc| links(work, etc)) {
        let (directory, _) = split(&link.path).unwrap_or_default();
        told.insert(link.path.clone(), (link.name.clone(), directory.to_vec()));
    }
    for link in links(work, SYSTEM) {
        let path = Escaped(&link.path);
        changes.warn("R22", format!("{path} enables {}, which systemd may see too late to start it: start it on the host", Escaped(&link.name)));
    }
    for (unit, directory) in told.values() {
        changes.warn(
            "R22",
            format!(
                "{} is enabled by {}, which is not in the image: start it on the host",
                Escaped(unit),
                Escaped(directory)
            ),
        );
    }
}

/// The extension's own services, which may need what the repairs make; those that repairs have added
/// say themselves what they come after.
pub(super) fn services<C>(work: &Work<C>, base: &Base, plan: &Plan) -> Vec<String> {
    let units = Units::of(work, base, SYSTEM);
    let is_file = |name: &String| {
        let path = format!("{SYSTEM}/{name}");
        let ino = work.tree.lookup(path.as_bytes());
        ino.is_some_and(|ino| matches!(work.tree.inode(ino).content, Content::Regular(_)))
    };
    let is_own = |name: &String| name.ends_with(".service") && !plan.added.contains(name);
    units.names.into_iter().filter(is_own).filter(is_file).collect()
}

/// Whether the extension has anything for the system's manager to read (R5).
pub(in crate::sysext) fn needs_reload<C>(work: &Work<C>) -> bool {
    work.tree.walk().any(|entry| {
        !matches!(entry.inode.content, Content::Directory(_))
            && is_within(&entry.path, SYSTEM.as_bytes())
    })
}
