//! Building the tree of an extension layer: where each entry goes beside the others, and what it
//! means above the extension's layers below it.
//!
//! No path leads through a symlink and no name is given twice, so the order of extraction
//! could not matter (rows 47 to 51, CVE-2021-29136, CVE-2026-33056).

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead};

use super::archive::{Archive, Kind, Member};
use super::hold::Holder;
use super::name::{Mark, Refusal, mark};
use super::stack::is_covered;
use super::{ContentSink, Fate, Flaw, LayerOptions, Problem, SinkError, Stored, Whiteout};
use crate::tree::{Content, Directory, Ino, Inode, Stat, Tree, components, join, split};

/// A tree in the making.
pub(super) struct Builder<'o, 's, S: ContentSink> {
    options: &'o LayerOptions<'o>,
    sink: &'s mut S,
    tree: Tree<Stored<S::Content>>,
    whiteouts: Vec<Whiteout>,
    /// Directories that no entry has described yet.
    implied: BTreeMap<Ino, Vec<u8>>,
    holder: &'s mut Holder,
    /// Where in the archive each inode's header is; of a directory, the last one.
    offsets: Vec<u64>,
    /// Contents that went nowhere, and that another name of the same file asks for (R27), by
    /// their place in the archive.
    wanted: BTreeMap<u64, Wanted>,
    /// The extension's layers below this one, merged.
    lower: Option<&'s Tree<Stored<S::Content>>>,
    /// What this layer links to of those layers.
    foreign: Foreign,
    /// The stand-ins for it, by the inodes of those layers.
    stand_ins: BTreeMap<Ino, Ino>,
    /// The parent of the last entry: archives mostly stay in one directory for a while.
    last_parent: (Vec<u8>, Ino),
}

/// Stand-ins for files of the layers below, by their paths there, and where in the archive the
/// first link to that path is.
pub(super) type Foreign = BTreeMap<Vec<u8>, (Ino, u64)>;

/// A layer that was read to its end.
pub(super) struct Built<C> {
    pub(super) tree: Tree<Stored<C>>,
    pub(super) whiteouts: Vec<Whiteout>,
    pub(super) implied: BTreeMap<Ino, Vec<u8>>,
    pub(super) offsets: Vec<u64>,
    pub(super) foreign: Foreign,
}

/// Contents to be fetched by a second pass over the archive.
struct Wanted {
    ino: Ino,
    /// The best fate of any name.
    fate: Fate,
    /// The name that has it.
    path: Vec<u8>,
}

impl<'o, 's, S: ContentSink> Builder<'o, 's, S> {
    pub(super) fn new(
        options: &'o LayerOptions<'o>,
        sink: &'s mut S,
        holder: &'s mut Holder,
        lower: Option<&'s Tree<Stored<S::Content>>>,
    ) -> Self {
        let root = Tree::<Stored<S::Content>>::ROOT;
        Self {
            options,
            sink,
            tree: Tree::new(Stat::directory()),
            whiteouts: Vec::new(),
            implied: BTreeMap::from([(root, Vec::new())]),
            holder,
            offsets: vec![0],
            wanted: BTreeMap::new(),
            lower,
            foreign: Foreign::new(),
            stand_ins: BTreeMap::new(),
            last_parent: (Vec::new(), root),
        }
    }

    /// Takes every entry of the archive.
    pub(super) fn read<R: BufRead>(&mut self, archive: &mut Archive<'_, R>) -> Result<(), Problem> {
        while let Some(member) = archive.next()? {
            self.entry(member, archive)?;
        }
        self.check_foreign()
    }

    /// Whether contents are missing that [`Self::fetch`] must get.
    pub(super) fn is_incomplete(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Reads the archive again, up to the last of the contents that are missing.
    pub(super) fn fetch<R: BufRead>(
        &mut self,
        archive: &mut Archive<'_, R>,
    ) -> Result<(), Problem> {
        while !self.wanted.is_empty() {
            let Some(member) = archive.next()? else { break };
            if let Some(Wanted { ino, fate, path }) = self.wanted.remove(&member.offset) {
                let stored = self.store(member.size, fate, &path, archive)?;
                self.tree.inode_mut(ino).content = Content::Regular(stored);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Built<S::Content> {
        let Self { tree, whiteouts, implied, offsets, foreign, .. } = self;
        Built { tree, whiteouts, implied, offsets, foreign }
    }

    fn entry<R: BufRead>(
        &mut self,
        member: Member,
        archive: &mut Archive<'_, R>,
    ) -> Result<(), Problem> {
        let Member { path, kind, stat, size, offset } = member;
        match mark(&path).map_err(|flaw| archive.refuse(flaw.into(), &path))? {
            Some(Mark::Aufs) => return Ok(()),
            Some(Mark::Whiteout(whiteout)) => {
                self.check_parents(&path).map_err(|flaw| archive.refuse(flaw.into(), &path))?;
                self.whiteouts.push(whiteout);
                return Ok(());
            }
            None => {}
        }
        let fate = (self.options.fate)(&path);
        let Some((parent, name)) = split(&path) else {
            let root = Tree::<Stored<S::Content>>::ROOT;
            return self
                .again(root, &Kind::Directory, stat, fate, offset)
                .map_err(|flaw| archive.refuse(flaw.into(), &path));
        };
        let parent =
            self.parent(parent, archive).map_err(|refusal| archive.refuse(refusal, &path))?;
        let existing = self.tree.directory(parent).and_then(|entries| entries.get(name));
        let refuse = |flaw: Flaw| archive.refuse(flaw.into(), &path);
        if let Some(existing) = existing {
            return self.again(existing, &kind, stat, fate, offset).map_err(refuse);
        }
        let content = match kind {
            Kind::HardLink(target) => {
                let ino = self.link_target(&target, &path, offset).map_err(refuse)?;
                self.enter(parent, name, ino);
                return self.linked(ino, fate, &path).map_err(|problem| match problem {
                    Unlinked::Flaw(flaw) => refuse(flaw),
                    Unlinked::Problem(problem) => problem,
                });
            }
            Kind::Directory => Content::Directory(Directory::new()),
            Kind::Symlink(target) => Content::Symlink(target.into()),
            Kind::CharDevice { rdev } => Content::CharDevice { rdev },
            Kind::BlockDevice { rdev } => Content::BlockDevice { rdev },
            Kind::Fifo => Content::Fifo,
            Kind::Regular => Content::Regular(Stored::Dropped { size }),
        };
        let mut inode = Inode { stat, content };
        if fate == Fate::Keep {
            check_kept(&inode).map_err(refuse)?;
        }
        let is_regular = matches!(inode.content, Content::Regular(_));
        if is_regular {
            inode.content = Content::Regular(self.store(size, fate, &path, archive)?);
        }
        let ino = self.add(inode, offset);
        self.enter(parent, name, ino);
        Ok(())
    }

    fn add(&mut self, inode: Inode<Stored<S::Content>>, offset: u64) -> Ino {
        self.offsets.push(offset);
        self.tree.add(inode)
    }

    /// A second entry of one name: legal for directories, where the later metadata wins (row 51).
    fn again(
        &mut self,
        ino: Ino,
        kind: &Kind,
        stat: Stat,
        fate: Fate,
        offset: u64,
    ) -> Result<(), Flaw> {
        let inode = self.tree.inode_mut(ino);
        if !matches!((&inode.content, kind), (Content::Directory(_), Kind::Directory)) {
            let (first, second) = (inode.content.type_name(), kind.name());
            return Err(Flaw::Duplicate { first, second });
        }
        inode.stat = stat;
        if let Some(last) = self.offsets.get_mut(ino.index()) {
            *last = offset;
        }
        self.implied.remove(&ino);
        if fate == Fate::Keep { check_kept(self.tree.inode(ino)) } else { Ok(()) }
    }

    /// The directory of a path, made with all above it where no entry has described them.
    fn parent<R: BufRead>(
        &mut self,
        path: &[u8],
        archive: &mut Archive<'_, R>,
    ) -> Result<Ino, Refusal> {
        if self.last_parent.0 == path {
            return Ok(self.last_parent.1);
        }
        let mut ino = Tree::<Stored<S::Content>>::ROOT;
        let mut so_far = Vec::new();
        for name in components(path) {
            so_far = join(&so_far, name);
            let existing = self.tree.directory(ino).and_then(|entries| entries.get(name));
            if let Some(existing) = existing {
                let content = &self.tree.inode(existing).content;
                if !matches!(content, Content::Directory(_)) {
                    let kind = content.type_name();
                    return Err(Flaw::Parent { parent: so_far.into(), kind }.into());
                }
                ino = existing;
                continue;
            }
            self.check_below(&so_far)?;
            archive.spend_entry()?;
            archive.spend_names(so_far.len())?;
            let content = Content::Directory(Directory::new());
            let made = self.add(Inode { stat: Stat::directory(), content }, archive.header_at());
            self.enter(ino, name, made);
            self.implied.insert(made, so_far.clone());
            ino = made;
        }
        self.last_parent = (path.to_vec(), ino);
        Ok(ino)
    }

    /// Nothing above a whiteout may be anything but a directory, as far as it is known.
    fn check_parents(&self, path: &[u8]) -> Result<(), Flaw> {
        let Some((parent, _)) = split(path) else { return Ok(()) };
        let mut so_far = Vec::new();
        for name in components(parent) {
            so_far = join(&so_far, name);
            let Some(ino) = self.tree.lookup(&so_far) else {
                self.check_below(&so_far)?;
                continue;
            };
            let content = &self.tree.inode(ino).content;
            if !matches!(content, Content::Directory(_)) {
                return Err(Flaw::Parent { parent: so_far.into(), kind: content.type_name() });
            }
        }
        Ok(())
    }

    /// A parent that this layer does not describe is what the layers below have: some would
    /// follow a symlink there, others put a directory in its place.
    fn check_below(&self, path: &[u8]) -> Result<(), Flaw> {
        let below = self.lower.and_then(|lower| Some(&lower.inode(lower.lookup(path)?).content));
        match below {
            None | Some(Content::Directory(_)) => Ok(()),
            Some(other) => Err(Flaw::Parent { parent: path.into(), kind: other.type_name() }),
        }
    }

    fn enter(&mut self, parent: Ino, name: &[u8], ino: Ino) {
        if let Some(entries) = self.tree.directory_mut(parent) {
            entries.insert(name, ino);
        }
    }

    /// The file that a hard link names: an earlier one of this layer, or of the extension's
    /// layers below it (row 50).
    fn link_target(&mut self, target: &[u8], path: &[u8], offset: u64) -> Result<Ino, Flaw> {
        if target == path {
            return Err(Flaw::LinkSelf);
        }
        if let Some(ino) = self.tree.lookup(target) {
            return match self.tree.inode(ino).content {
                Content::Directory(_) => Err(Flaw::LinkDirectory { target: target.into() }),
                _ => Ok(ino),
            };
        }
        let below = self.lower.and_then(|lower| Some((lower, lower.lookup(target)?)));
        let Some((lower, below)) = below else {
            return Err(Flaw::LinkMissing { target: target.into() });
        };
        let inode = lower.inode(below);
        if matches!(inode.content, Content::Directory(_)) {
            return Err(Flaw::LinkDirectory { target: target.into() });
        }
        // One for all names: a copy for each would cost more than the archive is charged for.
        let ino = if let Some(&ino) = self.stand_ins.get(&below) {
            ino
        } else {
            let ino = self.add(inode.clone(), offset);
            self.stand_ins.insert(below, ino);
            ino
        };
        self.foreign.entry(target.to_vec()).or_insert((ino, offset));
        Ok(ino)
    }

    /// What this layer links to in the layers below it must still be there above it: else it
    /// would depend on the order in which a layer's entries are taken.
    fn check_foreign(&self) -> Result<(), Problem> {
        if self.foreign.is_empty() {
            return Ok(());
        }
        let deleted = Deleted::new(&self.whiteouts);
        for (target, &(_, offset)) in &self.foreign {
            let is_own = self.tree.lookup(target).is_some() || is_covered(&self.tree, target);
            if deleted.hides(target) || is_own {
                let flaw = Flaw::LinkMissing { target: target.as_slice().into() };
                return Err(Problem::Archive { offset, path: None, flaw });
            }
        }
        Ok(())
    }

    /// A file got another name: its contents follow the best fate of all its names
    /// (design decision 2, R27).
    fn linked(&mut self, ino: Ino, fate: Fate, path: &[u8]) -> Result<(), Unlinked> {
        let inode = self.tree.inode(ino);
        if fate == Fate::Keep {
            check_kept(inode).map_err(Unlinked::Flaw)?;
        }
        let held = match &inode.content {
            Content::Regular(Stored::Held(held)) if fate == Fate::Keep => held.clone(),
            Content::Regular(Stored::Dropped { .. }) if fate != Fate::Drop => {
                self.want(ino, fate, path);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let content = held
            .store(self.sink)
            .map_err(|error| Unlinked::Problem(Problem::of_held(error, path)))?;
        self.tree.inode_mut(ino).content = Content::Regular(Stored::Sunk(content));
        Ok(())
    }

    /// Notes contents for the second pass.
    fn want(&mut self, ino: Ino, fate: Fate, path: &[u8]) {
        let Some(&offset) = self.offsets.get(ino.index()) else { return };
        let wanted =
            self.wanted.entry(offset).or_insert_with(|| Wanted { ino, fate, path: path.to_vec() });
        if fate == Fate::Keep && wanted.fate != Fate::Keep {
            *wanted = Wanted { ino, fate, path: path.to_vec() };
        }
    }

    /// Puts the contents of the archive's current entry where its fate says.
    fn store<R: BufRead>(
        &mut self,
        size: u64,
        fate: Fate,
        path: &[u8],
        archive: &mut Archive<'_, R>,
    ) -> Result<Stored<S::Content>, Problem> {
        if fate == Fate::Drop {
            return Ok(Stored::Dropped { size });
        }
        let mut body = archive.body();
        let result = match fate {
            Fate::Hold => self
                .holder
                .hold(size, &mut body)
                .map(Stored::Held)
                .map_err(super::hold::HoldError::into_problem),
            Fate::Keep | Fate::Drop => self
                .sink
                .store(size, &mut body)
                .map(Stored::Sunk)
                .map_err(|error| Problem::Sink { path: path.into(), error }),
        };
        if let Some(problem) = body.failure() {
            return Err(problem);
        }
        let unread = archive.unread();
        if result.is_ok() && unread > 0 {
            let error = io::Error::other(format!("{unread} of {size} bytes were not taken"));
            return Err(Problem::Sink { path: path.into(), error: SinkError::Write(error) });
        }
        result
    }
}

/// What a layer deletes from the layers below it.
#[derive(Debug, Default)]
pub(super) struct Deleted<'a> {
    pub(super) paths: HashSet<&'a [u8]>,
    pub(super) opaque: HashSet<&'a [u8]>,
}

impl<'a> Deleted<'a> {
    pub(super) fn new(whiteouts: impl IntoIterator<Item = &'a Whiteout>) -> Self {
        let mut deleted = Self::default();
        for Whiteout { path, opaque, .. } in whiteouts {
            let set = if *opaque { &mut deleted.opaque } else { &mut deleted.paths };
            set.insert(path);
        }
        deleted
    }

    /// Whether a path, or one above it, is deleted.
    pub(super) fn hides(&self, path: &[u8]) -> bool {
        self.paths.contains(path) || self.hides_above(path)
    }

    /// Whether a path is deleted with one above it.
    pub(super) fn hides_above(&self, path: &[u8]) -> bool {
        let mut at = path;
        while let Some((parent, _)) = split(at) {
            if self.paths.contains(parent) || self.opaque.contains(parent) {
                return true;
            }
            at = parent;
        }
        false
    }
}

/// Why a file cannot have another name.
enum Unlinked {
    Flaw(Flaw),
    Problem(Problem),
}

/// Whether an inode may be in an extension: files, directories and symlinks, without attributes
/// that an overlay obeys or that no file of an extension needs (rows 59 and 60, archive rule 10).
///
/// [`read`](super::read) asks this for every entry whose fate is [`Fate::Keep`]; who keeps an
/// entry whose fate was [`Fate::Hold`] must ask it then.
pub fn check_kept<C>(inode: &Inode<C>) -> Result<(), Flaw> {
    match &inode.content {
        Content::CharDevice { rdev: 0 } => return Err(Flaw::OverlayWhiteout),
        Content::Directory(_) | Content::Regular(_) | Content::Symlink(_) => {}
        other => return Err(Flaw::Special { kind: other.type_name() }),
    }
    for (name, _) in inode.stat.xattrs.iter() {
        let is_overlay = name.starts_with(b"user.overlay.");
        if is_overlay || !(name.starts_with(b"user.") || name.starts_with(b"security.")) {
            return Err(Flaw::Xattr { name: name.into() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    struct NoSink;

    impl ContentSink for NoSink {
        type Content = ();

        fn store(&mut self, _: u64, _: &mut dyn io::Read) -> Result<(), SinkError> {
            Ok(())
        }
    }

    /// Each link once cost a copy of what it links to.
    #[test]
    fn links_to_one_lower_file_have_one_stand_in() {
        let mut lower = Tree::new(Stat::directory());
        let content = Content::Symlink(vec![b't'; 4095].into());
        let ino = lower.add(Inode { stat: Stat::default(), content });
        assert!(lower.link(b"l", ino) && lower.link(b"m", ino));
        let (limits, fate) = (Limits::default(), |_: &[u8]| Fate::Hold);
        let options = LayerOptions { limits: &limits, fate: &fate, keep_ima: false };
        let (mut sink, mut holder) = (NoSink, Holder::new());
        let mut builder = Builder::new(&options, &mut sink, &mut holder, Some(&lower));
        let first = builder.link_target(b"l", b"1", 512).unwrap();
        for (target, path) in [(b"l", b"2"), (b"m", b"3"), (b"m", b"4")] {
            assert_eq!(builder.link_target(target, path, 1024).unwrap(), first);
        }
        assert_eq!(builder.tree.len(), 2);
        let foreign = [(b"l".to_vec(), (first, 512)), (b"m".to_vec(), (first, 1024))];
        assert_eq!(builder.foreign, BTreeMap::from(foreign));
    }
}
