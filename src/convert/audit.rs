//! `--audit-base`: what an extension hides of its base, and whether that is the same (row 66).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::Blobs;
use crate::base::{self, Covers, Hidden, HiddenKind, soname};
use crate::error::Result;
use crate::image;
use crate::limits::Limits;
use crate::oci::Digest;
use crate::report::{self, Soname};
use crate::sysext::{self, privileges};
use crate::tree::{Content, Inode, Stat, Tree, Xattrs, is_within};

/// Limits for the extension's own image, which is made and checked, and has more than its layers.
pub(super) fn unlimited(limits: &Limits) -> Limits {
    let most = u64::MAX;
    Limits { entries: most, names: most, depth: most, layer_uncompressed: most, ..limits.clone() }
}

/// The contents of a file of the extension, to be read.
pub(super) type Contents<'o> = Result<Box<dyn Read + 'o>, image::Error>;

/// Opens such contents.
pub(super) type Open<'o, C> = dyn Fn(&C) -> Contents<'o> + 'o;

/// Compares what an extension has with the whole base. With `deny_shadow` it must hide nothing that
/// is not the same.
pub(super) fn run<C>(
    tree: &Tree<C>,
    open: &Open<'_, C>,
    base: &mut base::Audit<'_, Blobs<'_>>,
    limits: &Limits,
    deny_shadow: bool,
) -> Result<report::Audit> {
    let entries: BTreeMap<Vec<u8>, &Inode<C>> =
        tree.walk().map(|entry| (entry.path, entry.inode)).collect();
    let paths: BTreeSet<Vec<u8>> = entries.keys().cloned().collect();
    let covers = entries.iter().filter(|(path, inode)| shows_nothing_below(path, inode));
    let covers: Covers = covers.map(|(path, _)| path).collect();
    let mut found = base.look(&paths, &covers)?;
    // Directories that both have are merged, unless something above hides the base's.
    found.retain(|path, of_base| {
        let is_directory = |it: &&Inode<C>| matches!(it.content, Content::Directory(_));
        !matches!(of_base.kind, HiddenKind::Directory)
            || !entries.get(path).is_some_and(is_directory)
            || covers.have(path)
    });

    let (mut hidden, mut libraries) = (Vec::new(), BTreeMap::new());
    for (path, of_base) in &found {
        let differs = match entries.get(path) {
            Some(inode) => differences(inode, of_base, open)?,
            None => vec![EXISTENCE],
        };
        if deny_shadow && !differs.is_empty() {
            let what = format!("another one ({})", differs.join(", "));
            return Err(sysext::Error::Shadow { path: path.clone(), what }.into());
        }
        if let HiddenKind::Regular { size, .. } = of_base.kind
            && differs.contains(&CONTENTS)
            && is_library(path)
        {
            libraries.insert(path.clone(), size);
        }
        hidden.push(report::Hidden { path: path.clone(), differs, soname: None });
    }
    if !libraries.is_empty() {
        let of_base = base.contents(&libraries)?;
        for hidden in &mut hidden {
            let (Some(of_base), Some(inode)) =
                (of_base.get(&hidden.path), entries.get(&hidden.path))
            else {
                continue;
            };
            hidden.soname = sonames(inode, of_base, open, limits)?;
        }
    }
    let privileged = entries.iter().filter_map(|(path, inode)| {
        let of_base = found.get(path).map_or_else(Vec::new, |it| privileges_of(it));
        let gives: Vec<_> =
            privileges(inode).into_iter().filter(|what| !of_base.contains(what)).collect();
        (!gives.is_empty()).then(|| report::Privileged { path: path.clone(), gives })
    });
    Ok(report::Audit { hidden, privileged: privileged.collect() })
}

const CONTENTS: &str = "contents";
/// Where the base has something, and the extension lets nothing be seen.
const EXISTENCE: &str = "existence";

/// Whether what the base may have below a path is hidden by it: by an opaque directory, a whiteout
/// (R14), or another file where the base has a directory, which R16 leaves in `usr/etc` alone.
fn shows_nothing_below<C>(path: &[u8], inode: &Inode<C>) -> bool {
    match inode.content {
        Content::Directory(_) => inode.stat.xattrs.get(b"trusted.overlay.opaque").is_some(),
        Content::CharDevice { .. } => true,
        _ => is_within(path, b"usr/etc"),
    }
}

/// In what a path is not as in the base, in words. Times and labels are left out.
fn differences<C>(
    inode: &Inode<C>,
    base: &Hidden,
    open: &Open<'_, C>,
) -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    match (&inode.content, &base.kind) {
        (Content::Regular(contents), HiddenKind::Regular { digest, .. }) => {
            let ours = Digest::of_reader(&mut open(contents)?).map_err(image::Error::Io)?;
            match digest {
                Some(theirs) if *theirs == ours => {}
                Some(_) => found.push(CONTENTS),
                None => found.push("contents, which the base's table of contents does not tell"),
            }
        }
        (Content::Symlink(ours), HiddenKind::Symlink(theirs)) => {
            if **ours != **theirs {
                found.push("target");
            }
        }
        (Content::Directory(_), HiddenKind::Directory) => {}
        // A whiteout (R14).
        (Content::CharDevice { .. }, _) => return Ok(vec![EXISTENCE]),
        _ => return Ok(vec!["type"]),
    }
    let (ours, theirs) = (&inode.stat, &base.stat);
    let is_link = matches!(inode.content, Content::Symlink(_));
    if ours.mode & 0o7777 != theirs.mode & 0o7777 && !is_link {
        found.push("mode");
    }
    if (ours.uid, ours.gid) != (theirs.uid, theirs.gid) {
        found.push("owner");
    }
    if attributes(ours) != attributes(theirs) {
        found.push("attributes");
    }
    Ok(found)
}

/// The extended attributes, but for the label: no layer has one.
fn attributes(stat: &Stat) -> Xattrs {
    let mut attributes = stat.xattrs.clone();
    attributes.remove(b"security.selinux");
    attributes
}

fn privileges_of(base: &Hidden) -> Vec<&'static str> {
    let content = match &base.kind {
        HiddenKind::Regular { .. } => Content::Regular(()),
        HiddenKind::Directory | HiddenKind::Symlink(_) | HiddenKind::Other => Content::Fifo,
    };
    privileges(&Inode { stat: base.stat.clone(), content })
}

/// Whether a file is named like a library: `libz.so`, `libz.so.1.2`.
fn is_library(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}

/// The names of a library, if they are others.
fn sonames<C>(
    inode: &Inode<C>,
    base: &Hidden,
    open: &Open<'_, C>,
    limits: &Limits,
) -> Result<Option<Soname>> {
    let (Content::Regular(ours), HiddenKind::Regular { contents: Some(theirs), .. }) =
        (&inode.content, &base.kind)
    else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let mut reader = open(ours)?.take(limits.text_file.saturating_add(1));
    reader.read_to_end(&mut bytes).map_err(image::Error::Io)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limits.text_file) {
        return Ok(None);
    }
    let (base, extension) = (soname(theirs), soname(&bytes));
    Ok((base != extension).then_some(Soname { base, extension }))
}
