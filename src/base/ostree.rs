//! An ostree commit in a layer: which files and symlinks the whole base has, and where the object
//! of each is (R29).
//!
//! ostree-ext writes a commit as layers: the first one has the commit, the objects of all
//! directories, and the directories themselves; each of the others has the objects of some
//! packages, which its annotation names, and hard links to them. So the first one tells what is
//! there and what is not, and the signed manifest where it may be. The configuration names the
//! commit by its checksum, the commit the root, and each directory what is in it, so that nothing
//! but what was signed is believed.
//!
//! Objects are `GVariant`s. A commit is `(a{sv}aya(say)sstayay)`, a directory `(a(say)a(sayay))`:
//! files with their checksums, directories with those of their contents and of their metadata, which
//! are `(uuua(ayay))`.

use std::borrow::Cow;
use std::collections::{HashMap, hash_map};

use super::gvariant::{self, Tuple, array, string};
use super::listing::Listing;
use super::record::{Entry, EntryKind, Record, Regular, TEXT_FILES};
use super::{Error, policy};
use crate::limits::Limits;
use crate::oci::Digest;
use crate::tree::{Stat, is_within, join, split};

/// What of the layers is not of the commit.
pub(super) const SYSROOT: &[u8] = b"sysroot";

const OBJECTS: &[u8] = b"sysroot/ostree/repo/objects/";

/// What tells a base that ostree or bootc deploys, where its labels do not: every such host has the
/// first one, a link, and a base that is a commit its repository.
pub(super) const MARKS: [&[u8]; 2] = [b"ostree", b"sysroot/ostree/repo"];

/// What separates the packages of a layer.
const SEPARATOR: char = ',';

/// The annotation of a layer that names the packages whose files it has.
pub(super) const COMPONENTS: &str = "ostree.components";

/// The labels of an image that say where its ostree commit is.
#[derive(Clone, Copy, Debug)]
pub struct OstreeLabels<'a> {
    /// `ostree.commit`: the commit's checksum.
    pub commit: &'a str,
    /// `ostree.final-diffid`: the last layer that is part of it.
    pub final_diffid: &'a str,
}

/// Why a commit is of no use; the layers themselves are read then.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The label names no checksum.
    #[error("found a label that is no checksum")]
    Label,
    /// An object is not in the layer.
    #[error("found no object {0}")]
    Missing(Digest),
    /// A `GVariant` is not what its type says.
    #[error("found a bad {0}")]
    Variant(&'static str),
    /// A directory has a name that no file can have, or one that the layers have another for.
    #[error("found a bad name")]
    Name,
    /// More than a limit allows.
    #[error("found more than the limit {0} allows")]
    Limit(&'static str),
}

/// Whether a path of a layer is that of an object that tells of a commit.
pub(super) fn is_metadata(path: &[u8]) -> bool {
    path.starts_with(OBJECTS) && (path.ends_with(b".commit") || path.ends_with(b".dirtree"))
}

/// Where the layers of such a base have what its hosts have in `usr/etc`.
pub(super) fn in_layers(path: &[u8]) -> Option<&[u8]> {
    path.strip_prefix(b"usr/").filter(|path| is_within(path, b"etc"))
}

/// Where such hosts have what the layers have at a path.
pub(super) fn on_hosts(path: &[u8]) -> Cow<'_, [u8]> {
    if is_within(path, b"etc") { [b"usr/", path].concat().into() } else { path.into() }
}

/// Whether one of the packages of a layer may own a path: where to look first. What the layers have
/// decides.
pub(super) fn may_own(components: &str, path: &[u8]) -> bool {
    let (_, name) = split(path).unwrap_or_default();
    let owns = |package: &str| {
        if policy::is_near_policy(path) {
            package.starts_with("selinux-policy")
        } else if name.starts_with(b"os-release") {
            package.contains("-release")
        } else if matches!(name, b"passwd" | b"group") {
            package == "setup"
        } else if is_within(path, b"etc/alternatives") {
            matches!(package, "alternatives" | "chkconfig")
        } else {
            matches!(path, b"bin" | b"lib" | b"lib64" | b"sbin" | b"usr/sbin")
                && package == "filesystem"
        }
    };
    components.split(SEPARATOR).any(owns)
}

/// Whether a layer has what no package owns: where to look next. rpm-ostree puts initramfs there,
/// too, so that it is large.
pub(super) fn is_unpackaged(components: &str) -> bool {
    components.contains("unpackaged-content")
}

/// A file or symlink of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, as layers have it.
    pub path: Vec<u8>,
    /// The path of its object.
    pub object: Vec<u8>,
}

/// The objects of a commit and of its directories, by their checksums.
#[derive(Debug, Default)]
pub struct Objects(HashMap<Digest, Vec<u8>>);

impl FromIterator<Vec<u8>> for Objects {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(objects: I) -> Self {
        Self(objects.into_iter().map(|bytes| (Digest::of(&bytes), bytes)).collect())
    }
}

impl Objects {
    /// Those of a layer.
    pub(super) fn of(listing: &Listing, limits: &Limits) -> Result<Self, Error> {
        let mut objects = Vec::new();
        listing.walk::<Error>(limits, &mut |record| {
            if let Record::Entry(Entry { path, kind: EntryKind::Regular(file), .. }) = record
                && is_metadata(&path)
                && let Regular { contents: Some(bytes), .. } = file
            {
                objects.push(bytes);
            }
            Ok(())
        })?;
        Ok(objects.into_iter().collect())
    }

    /// Those of a commit that `read` gives by checksum and kind: its own, and those of all its
    /// directories and their metadata.
    ///
    /// # Errors
    /// Those of `read`; the commit is not what it should be.
    pub(super) fn load<E: From<Unusable>>(
        commit: &str,
        limits: &Limits,
        read: &mut dyn FnMut(Digest, &'static str) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let mut objects = Self::default();
        let mut left = limits.text_file.saturating_mul(TEXT_FILES);
        let mut load = |objects: &mut Self, digest, kind| -> Result<(), E> {
            if let hash_map::Entry::Vacant(place) = objects.0.entry(digest) {
                let bytes = read(digest, kind)?;
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                left = left.checked_sub(length).ok_or(Unusable::Limit("text-file"))?;
                place.insert(bytes);
            }
            Ok(())
        };
        let commit = checksum_of(commit)?;
        load(&mut objects, commit, "commit")?;
        let (root, metadata) = root(objects.get(commit)?)?;
        load(&mut objects, metadata, "dirmeta")?;
        let mut waiting = vec![root];
        while let Some(digest) = waiting.pop() {
            if objects.0.contains_key(&digest) {
                continue;
            }
            load(&mut objects, digest, "dirtree")?;
            let below: Vec<_> = Directory::parse(objects.get(digest)?)?
                .directories
                .into_iter()
                .map(|(_, contents, metadata)| (contents, metadata))
                .collect();
            for (contents, metadata) in below {
                load(&mut objects, metadata, "dirmeta")?;
                waiting.push(contents);
            }
        }
        Ok(objects)
    }

    fn get(&self, digest: Digest) -> Result<&[u8], Unusable> {
        self.0.get(&digest).map(Vec::as_slice).ok_or(Unusable::Missing(digest))
    }

    /// The files and symlinks of a commit that are `wanted` by their paths.
    ///
    /// # Errors
    /// Not all of it is there, or it is not what it should be.
    pub fn files(
        &self,
        commit: &str,
        limits: &Limits,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<File>, Unusable> {
        let mut found = Vec::new();
        self.walk(commit, limits, &mut |path, named| {
            let Named::File(checksum) = named else { return Ok(true) };
            let wanted = wanted(path);
            if wanted {
                found.push(File { path: path.to_vec(), object: object_path(checksum) });
            }
            Ok(wanted)
        })?;
        Ok(found)
    }

    /// The directories of a commit, each after its parent, with the metadata that layers have for
    /// them.
    ///
    /// # Errors
    /// As for [`Self::files`]; their metadata are not there.
    pub(super) fn directories(
        &self,
        commit: &str,
        limits: &Limits,
    ) -> Result<Vec<(Vec<u8>, Stat)>, Unusable> {
        let mut found = Vec::new();
        self.walk(commit, limits, &mut |path, named| {
            let Named::Directory(metadata) = named else { return Ok(false) };
            found.push((path.to_vec(), directory_stat(self.get(metadata)?)?));
            Ok(true)
        })?;
        Ok(found)
    }

    /// Shows every path of a commit to `visit`.
    fn walk(&self, commit: &str, limits: &Limits, visit: &mut Visit<'_>) -> Result<(), Unusable> {
        let (root, metadata) = root(self.get(checksum_of(commit)?)?)?;
        let (mut entries, mut names) = (0_u64, 0_u64);
        let mut show = |path: &[u8], named| {
            if visit(path, named)? {
                names = names.saturating_add(u64::try_from(path.len()).unwrap_or(u64::MAX));
            }
            if names > limits.names { Err(Unusable::Limit("names")) } else { Ok(()) }
        };
        show(b"", Named::Directory(metadata))?;
        let mut waiting = vec![(Vec::new(), root, 0)];
        while let Some((parent, digest, depth)) = waiting.pop() {
            if depth >= limits.depth {
                return Err(Unusable::Limit("depth"));
            }
            let directory = Directory::parse(self.get(digest)?)?;
            let count = directory.files.len() + directory.directories.len();
            entries = entries.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            if entries > limits.entries {
                return Err(Unusable::Limit("entries"));
            }
            for (name, checksum) in directory.files {
                show(&path(&parent, name, limits)?, Named::File(checksum))?;
            }
            for (name, contents, metadata) in directory.directories {
                // What layers have there is the repository itself.
                if parent.is_empty() && name == SYSROOT {
                    continue;
                }
                // It would be where usr/etc goes.
                if parent.is_empty() && name == b"etc" {
                    return Err(Unusable::Name);
                }
                let path = path(&parent, name, limits)?;
                show(&path, Named::Directory(metadata))?;
                waiting.push((path, contents, depth + 1));
            }
        }
        Ok(())
    }
}

/// What a path of a commit is, by its checksum: for a directory, that of its metadata.
enum Named {
    File(Digest),
    Directory(Digest),
}

/// Gets each path of a commit; says whether it keeps it.
type Visit<'v> = dyn FnMut(&[u8], Named) -> Result<bool, Unusable> + 'v;

/// The checksum that a label names.
pub(super) fn checksum_of(label: &str) -> Result<Digest, Unusable> {
    format!("sha256:{label}").parse().map_err(|_| Unusable::Label)
}

/// The metadata of a directory, as ostree-ext writes them into layers: without a time, and without
/// extended attributes.
fn directory_stat(bytes: &[u8]) -> Result<Stat, Unusable> {
    let number = |at| gvariant::number(bytes, at).ok_or(Unusable::Variant("metadata"));
    let mode = u16::try_from(number(8)? & 0o7777).map_err(|_| Unusable::Variant("metadata"))?;
    Ok(Stat { uid: number(0)?, gid: number(4)?, mode, ..Stat::default() })
}

/// The path that layers have for a path of a commit: `usr/etc` is `etc` there.
fn path(parent: &[u8], name: &[u8], limits: &Limits) -> Result<Vec<u8>, Unusable> {
    let is_name = !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/');
    if !is_name || name.starts_with(b".wh.") {
        return Err(Unusable::Name);
    }
    let path = join(parent, name);
    if u64::try_from(path.len()).is_ok_and(|length| length > limits.path) {
        return Err(Unusable::Limit("path"));
    }
    Ok(if path == b"usr/etc" { b"etc".to_vec() } else { path })
}

fn object_path(checksum: Digest) -> Vec<u8> {
    [OBJECTS, object_name(checksum).as_bytes(), b".file"].concat()
}

/// The name of an object among those of a repository, without its kind.
pub(super) fn object_name(checksum: Digest) -> String {
    let hex = checksum.hex();
    let (first, rest) = hex.split_at(2);
    format!("{first}/{rest}")
}

/// The checksum of the file whose object has a path.
pub(super) fn object_checksum(path: &[u8]) -> Option<Digest> {
    let name = path.strip_prefix(OBJECTS)?.strip_suffix(b".file")?;
    let hex: Vec<u8> = name.iter().copied().filter(|&byte| byte != b'/').collect();
    format!("sha256:{}", std::str::from_utf8(&hex).ok()?).parse().ok()
}

/// The checksums of the root directory of a commit and of its metadata.
fn root(commit: &[u8]) -> Result<(Digest, Digest), Unusable> {
    let find = || {
        // Members 0 to 4 and 6 have an offset; 5 is a number of eight bytes.
        let tuple = Tuple::new(commit, 6)?;
        let start = tuple.end(4)?.checked_next_multiple_of(8)?.checked_add(8)?;
        let end = tuple.end(5)?;
        let members = tuple.members();
        Some((checksum(members.get(start..end)?)?, checksum(members.get(end..)?)?))
    };
    find().ok_or(Unusable::Variant("commit"))
}

/// What a directory names.
struct Directory<'o> {
    files: Vec<(&'o [u8], Digest)>,
    /// With the checksums of their contents and of their metadata.
    directories: Vec<(&'o [u8], Digest, Digest)>,
}

impl<'o> Directory<'o> {
    fn parse(bytes: &'o [u8]) -> Result<Self, Unusable> {
        Self::find(bytes).ok_or(Unusable::Variant("directory"))
    }

    fn find(bytes: &'o [u8]) -> Option<Self> {
        let tuple = Tuple::new(bytes, 1)?;
        let (files, directories) = tuple.members().split_at_checked(tuple.end(0)?)?;
        let files = array(files)?.into_iter().map(|file| {
            let tuple = Tuple::new(file, 1)?;
            let (name, digest) = tuple.members().split_at_checked(tuple.end(0)?)?;
            Some((string(name)?, checksum(digest)?))
        });
        let directories = array(directories)?.into_iter().map(|directory| {
            let tuple = Tuple::new(directory, 2)?;
            let (name, digests) = tuple.members().split_at_checked(tuple.end(0)?)?;
            let (contents, metadata) = digests.split_at_checked(32)?;
            let is_right = tuple.end(1)? == name.len() + contents.len();
            let (contents, metadata) = (checksum(contents)?, checksum(metadata)?);
            is_right.then_some((string(name)?, contents, metadata))
        });
        Some(Self {
            files: files.collect::<Option<_>>()?,
            directories: directories.collect::<Option<_>>()?,
        })
    }
}

fn checksum(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tuple of a name and checksums.
    fn tuple(name: &[u8], digests: &[Digest]) -> Vec<u8> {
        let mut bytes = [name, b"\0"].concat();
        let end = u8::try_from(bytes.len()).unwrap();
        bytes.extend(digests.iter().flat_map(Digest::as_bytes));
        if digests.len() == 2 {
            bytes.push(end + 32);
        }
        bytes.push(end);
        bytes
    }

    fn array(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut ends = elements.iter().scan(0, |end, element| {
            *end += u8::try_from(element.len()).unwrap();
            Some(*end)
        });
        [elements.concat(), ends.by_ref().collect()].concat()
    }

    fn directory(files: &[&str], directories: &[(&str, Digest)]) -> Vec<u8> {
        let digest = Digest::of(b"contents");
        let files: Vec<_> = files.iter().map(|name| tuple(name.as_bytes(), &[digest])).collect();
        let directories: Vec<_> = directories
            .iter()
            .map(|(name, contents)| tuple(name.as_bytes(), &[*contents, digest]))
            .collect();
        let (files, directories) = (array(&files), array(&directories));
        let end = u8::try_from(files.len()).unwrap();
        [files, directories, vec![end]].concat()
    }

    fn commit(root: Digest) -> Vec<u8> {
        [&[0; 16][..], root.as_bytes(), &[0; 32], &[48, 2, 1, 0, 0, 0]].concat()
    }

    fn files(objects: &[Vec<u8>], limits: &Limits) -> Result<Vec<String>, Unusable> {
        let [commit, ..] = objects else { panic!("no commit") };
        let label = Digest::of(commit).hex();
        let objects: Objects = objects.iter().cloned().collect();
        let files = objects.files(&label, limits, &|path| !path.ends_with(b"other"))?;
        Ok(files.into_iter().map(|file| String::from_utf8(file.path).unwrap()).collect())
    }

    #[test]
    fn a_commit_lists_what_layers_have() {
        let etc = directory(&["os-release"], &[]);
        let usr = directory(&["a", "other"], &[("etc", Digest::of(&etc))]);
        let root = directory(&["bin"], &[("sysroot", Digest::of(b"x")), ("usr", Digest::of(&usr))]);
        let objects = [commit(Digest::of(&root)), root, usr, etc];
        let found = files(&objects, &Limits::default()).unwrap();
        assert_eq!(found, ["bin", "usr/a", "etc/os-release"]);
        let digest = Digest::of(b"contents").hex();
        let expected =
            format!("sysroot/ostree/repo/objects/{}/{}.file", &digest[..2], &digest[2..]);
        assert_eq!(object_path(Digest::of(b"contents")), expected.as_bytes());
    }

    /// A commit whose root and directory have these metadata.
    fn with_metadata(metadata: &[u8]) -> Vec<Vec<u8>> {
        let tree = directory(&[], &[]);
        let name = tuple(b"usr", &[Digest::of(&tree), Digest::of(metadata)]);
        let root = [array(&[name]), vec![0]].concat();
        let mut commit = commit(Digest::of(&root));
        commit[48..80].copy_from_slice(Digest::of(metadata).as_bytes());
        vec![commit, root, tree, metadata.to_vec()]
    }

    fn directories(objects: &[Vec<u8>], limits: &Limits) -> Result<Vec<(Vec<u8>, Stat)>, Unusable> {
        let label = Digest::of(&objects[0]).hex();
        let kinds = ["commit", "dirtree", "dirtree", "dirmeta"];
        let objects = Objects::load::<Unusable>(&label, limits, &mut |digest, kind| {
            let found = objects.iter().zip(kinds).find(|(it, _)| Digest::of(it) == digest);
            let (bytes, expected) = found.ok_or(Unusable::Missing(digest))?;
            assert_eq!(kind, expected);
            Ok(bytes.clone())
        })?;
        objects.directories(&label, limits)
    }

    #[test]
    fn directories_have_their_metadata_and_no_time() {
        let metadata = [&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0x43, 0xed][..], b"user.a\0v\x07\x09"];
        let objects = with_metadata(&metadata.concat());
        let stat = Stat { uid: 1, gid: 2, mode: 0o1755, ..Stat::default() };
        let expected = [b"".as_slice(), b"usr"].map(|path| (path.to_vec(), stat.clone()));
        let limits = Limits::default();
        assert_eq!(directories(&objects, &limits).unwrap(), expected);
        let few = Limits { text_file: 10, ..limits.clone() };
        let short = with_metadata(&[0; 11]);
        for (found, expected) in [
            (directories(&objects, &few), "found more than the limit text-file allows".to_owned()),
            (directories(&short, &limits), "found a bad metadata".to_owned()),
            (
                directories(&objects[..3], &limits),
                format!("found no object {}", Digest::of(&objects[3])),
            ),
        ] {
            assert_eq!(found.unwrap_err().to_string(), expected);
        }
        let path = object_path(Digest::of(b"x"));
        assert_eq!(object_checksum(&path), Some(Digest::of(b"x")));
        for other in
            [&path[..path.len() - 1], &path[1..], b"", b"sysroot/ostree/repo/objects/.file"]
        {
            assert_eq!(object_checksum(other), None);
        }
    }

    /// Objects that are missing, others, no `GVariant`s of their types, or that say what no layer
    /// has.
    #[test]
    fn named_rejects() {
        let limits = Limits { depth: 2, entries: 3, path: 9, ..Limits::default() };
        let of_root = |root: Vec<u8>| files(&[commit(Digest::of(&root)), root], &limits);
        let good = directory(&["a"], &[]);
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let digest = Digest::of(b"");
        let short = {
            let mut file = tuple(b"a", &[digest]);
            file.remove(5);
            let files = array(&[file]);
            let end = u8::try_from(files.len()).unwrap();
            [files, vec![end]].concat()
        };
        let short_root = {
            let mut bytes = commit(digest);
            bytes[80] = 47;
            bytes
        };
        let empty = directory(&[], &[]);
        let one = directory(&[], &[("a", Digest::of(&empty))]);
        let two = directory(&[], &[("a", Digest::of(&one))]);
        let deep = files(&[commit(Digest::of(&two)), two, one, empty], &limits);
        for (found, expected) in [
            (files(&[commit(digest)], &limits), format!("found no object {digest}")),
            (files(&[b"x".to_vec()], &limits), "found a bad commit".to_owned()),
            (files(&[short_root], &limits), "found a bad commit".to_owned()),
            (of_root(Vec::new()), "found a bad directory".to_owned()),
            (of_root(changed(good.len() - 1, 200)), "found a bad directory".to_owned()),
            (of_root(changed(good.len() - 2, 200)), "found a bad directory".to_owned()),
            (of_root(changed(good.len() - 3, 0)), "found a bad directory".to_owned()),
            (of_root(changed(1, 1)), "found a bad directory".to_owned()),
            (of_root(short), "found a bad directory".to_owned()),
            (of_root(directory(&["a/b"], &[])), "found a bad name".to_owned()),
            (of_root(directory(&[".."], &[])), "found a bad name".to_owned()),
            (of_root(directory(&[""], &[])), "found a bad name".to_owned()),
            (of_root(directory(&[".wh.a"], &[])), "found a bad name".to_owned()),
            (of_root(directory(&[], &[("etc", digest)])), "found a bad name".to_owned()),
            (
                of_root(directory(&["a", "b", "c", "d"], &[])),
                "found more than the limit entries allows".to_owned(),
            ),
            (
                of_root(directory(&["0123456789"], &[])),
                "found more than the limit path allows".to_owned(),
            ),
            (deep, "found more than the limit depth allows".to_owned()),
        ] {
            assert_eq!(found.unwrap_err().to_string(), expected);
        }
        let objects: Objects = [good].into_iter().collect();
        let label = objects.files("main", &limits, &|_| true);
        assert!(matches!(label, Err(Unusable::Label)));
    }

    #[test]
    fn packages_tell_where_to_look_first() {
        for (components, path) in [
            ("setup,selinux-policy-targeted", "etc/selinux/targeted/contexts/files/file_contexts"),
            ("fedora-release-common", "usr/lib/os-release"),
            ("centos-stream-release", "usr/lib/os.release.d/os-release-x"),
            ("filesystem,setup", "etc/passwd"),
            ("filesystem", "usr/sbin"),
            ("alternatives", "etc/alternatives/editor"),
        ] {
            assert!(may_own(components, path.as_bytes()), "{path}");
            assert!(!may_own("firefox,kernel-core", path.as_bytes()), "{path}");
        }
        assert!(!may_own("filesystem,setup", b"usr/share/doc"));
        assert!(is_unpackaged("initramfs,rpmostree-unpackaged-content"));
    }
}
