//! Reading a base: which paths are asked of the lower layers, and what is made of the answers.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::commit;
use super::follow::{Step, follow};
use super::layers::{Layers, Listings};
use super::ostree::{self, Objects, OstreeLabels};
use super::view::{Kind, Seen, View};
use super::wants::Wants;
use super::{Accounts, Base, BaseKind, BasePath, Error, Sources, accounts, os_release, policy};
use crate::layer::{LayerTree, Stored};
use crate::limits::Limits;
use crate::selinux::PolicyFiles;
use crate::tree::{Content, Stat, Tree, is_within, split};

/// How often the layers are read again because a symlink leads where nobody had asked.
const ROUNDS: usize = 8;

/// Paths that are asked of every base: merged-usr symlinks (R26), and the directories of what is
/// added (R1, R21 to R25).
const ALWAYS: &[&[u8]] = &[
    b"bin",
    b"lib",
    b"lib64",
    b"sbin",
    b"usr/sbin",
    b"usr/bin",
    b"usr/etc",
    b"usr/lib/extension-release.d",
    b"usr/lib/sysusers.d",
    b"usr/lib/systemd/system",
    b"usr/lib/systemd/user",
    b"usr/lib/tmpfiles.d",
    b"usr/share/factory/var",
];

/// Those of them that may be symlinks, which matters only to who has something in them (R26).
const MERGED: &[&[u8]] = &[b"bin", b"lib", b"lib64", b"sbin", b"usr/sbin"];

/// Where os-release is, and where that usually leads.
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
const OS_RELEASES: &[u8] = b"usr/lib/os.release.d";

/// Whether some extension may ask for the contents of a path: they are in every listing.
pub(super) fn is_foreseen(path: &[u8]) -> bool {
    policy::is_policy_file(path)
        || account_files().any(|known| path == known.as_bytes())
        || OS_RELEASE.iter().any(|known| path == known.as_bytes())
        || split(path).is_some_and(|(parent, _)| parent == OS_RELEASES)
        || ostree::is_metadata(path)
}

/// Where accounts are.
fn account_files() -> impl Iterator<Item = String> {
    accounts::DIRECTORIES
        .iter()
        .flat_map(|directory| ["passwd", "group"].map(|file| format!("{directory}/{file}")))
}

/// What is asked of a base.
#[derive(Debug)]
pub struct Query<'a, C> {
    /// The extension's own layers, merged.
    pub extension: &'a LayerTree<C>,
    /// How many layers are below them.
    pub lower_layers: usize,
    /// Whether the policy is wanted (`--selinux image`).
    pub policy: bool,
    /// The ostree commit that the base is of, if the image says so.
    pub ostree: Option<OstreeLabels<'a>>,
    /// Where the layers are looked for before they are fetched.
    pub sources: Sources<'a>,
    /// How much is read.
    pub limits: &'a Limits,
}

/// Reads the lower layers, from the top down. Every one of them, since what none has so far, such
/// as `file_contexts.local`, may be in the lowest; but of an ostree commit's only those that are
/// needed.
///
/// # Errors
/// What `layers` and the layers' reader say; [`Error`] for os-release and the policy.
pub fn read<C, L: Layers>(query: &Query<'_, C>, layers: &mut L) -> Result<Base, L::Error> {
    let alternatives = has_alternatives(&query.extension.tree);
    // Of what the extension's layers delete of each other, the base may have some, too.
    let deleted: HashSet<&[u8]> = query
        .extension
        .whiteouts
        .iter()
        .filter(|whiteout| whiteout.deletes_own)
        .map(|whiteout| whiteout.path.as_slice())
        .collect();
    let has = |path: &[u8]| query.extension.tree.lookup(path).is_some() || deleted.contains(path);
    let compared = |path: &[u8]| {
        is_compared(&has, path) || is_for_repairs(&query.extension.tree, path, alternatives)
    };
    let types = |path: &[u8]| needs_type(&query.extension.tree, path, alternatives);
    let mut wants = Wants::new(query.policy, &compared, &types);
    for path in ALWAYS.iter().chain(&ostree::MARKS) {
        wants.path(path);
    }
    for path in OS_RELEASE {
        wants.contents(path.as_bytes());
    }
    let mut listings = Listings::new(layers, query.sources, query.limits);
    for _ in 0..ROUNDS {
        let view = look(wants, query, &mut listings)?;
        match assemble(&view, query) {
            Ok(base) => return Ok(base),
            Err(Stop::Error(error)) => return Err(error.into()),
            Err(Stop::Unknown(path)) => {
                wants = view.into_wants();
                wants.contents(&path);
            }
            Err(Stop::Accounts) => {
                wants = view.into_wants();
                account_files().for_each(|path| wants.contents(path.as_bytes()));
            }
        }
    }
    Err(Error::TooManyLinks.into())
}

/// A view with all contents that are wanted.
fn look<'a, C, L: Layers>(
    wants: Wants<'a>,
    query: &Query<'a, C>,
    listings: &mut Listings<'_, L>,
) -> Result<View<'a>, L::Error> {
    let view = merge(wants, query, listings)?;
    let lacking = view.lacking();
    if lacking.is_empty() {
        return Ok(view);
    }
    for (index, paths) in lacking {
        listings.add_contents(index, &paths)?;
    }
    merge(view.into_wants(), query, listings)
}

/// A view of all layers, or of those of an ostree commit that are needed.
fn merge<'a, C, L: Layers>(
    mut wants: Wants<'a>,
    query: &Query<'a, C>,
    listings: &mut Listings<'_, L>,
) -> Result<View<'a>, L::Error> {
    let limits = query.limits;
    if let Some((commit, last)) = commit(query, listings) {
        let above = last + 1..query.lower_layers;
        if let Some(local) = query.sources.copies.and_then(|copies| copies.commit(commit, limits)) {
            let mut view = stacked(wants, above.clone(), limits, listings)?;
            if commit::add(&mut view, local, limits)? {
                return Ok(view);
            }
            wants = view.into_wants();
        }
        let mut view = stacked(wants, above, limits, listings)?;
        if add_commit(&mut view, commit, last, limits, listings)? {
            return Ok(view);
        }
        // The layers say what the commit does not.
        wants = view.into_wants();
    }
    stacked(wants, 0..query.lower_layers, limits, listings)
}

/// A view of some layers.
fn stacked<'a, L: Layers>(
    wants: Wants<'a>,
    layers: Range<usize>,
    limits: &'a Limits,
    listings: &mut Listings<'_, L>,
) -> Result<View<'a>, L::Error> {
    let mut view = View::new(wants, limits);
    for index in layers.rev() {
        view.add(listings.get(index)?, index)?;
    }
    Ok(view)
}

/// The checksum of the ostree commit that the lowest layers are of, and the last of these.
fn commit<'a, C, L: Layers>(
    query: &Query<'a, C>,
    listings: &Listings<'_, L>,
) -> Option<(&'a str, usize)> {
    let OstreeLabels { commit, final_diffid } = query.ostree?;
    let last = (0..query.lower_layers).find(|&index| {
        let layer = listings.descriptor(index);
        layer.is_some_and(|layer| layer.diff_id.to_string() == final_diffid)
    })?;
    Some((commit, last))
}

/// Adds the layers of an ostree commit, the lowest ones up to `last`, and reads of them only what
/// is needed: the first one tells what there is. Whether that worked.
fn add_commit<L: Layers>(
    view: &mut View<'_>,
    commit: &str,
    last: usize,
    limits: &Limits,
    listings: &mut Listings<'_, L>,
) -> Result<bool, L::Error> {
    let first = listings.get(0)?;
    let objects = Objects::of(first, limits)?;
    let files = match objects.files(commit, limits, &|path| view.wants(path)) {
        Ok(files) => files,
        Err(problem) => {
            tracing::debug!("the ostree commit {commit} is not used: {problem}");
            return Ok(false);
        }
    };
    view.add_with_files(first, 0, &files)?;
    // The commit does not say which layer has that.
    if view.leads_to(ostree::SYSROOT) {
        return Ok(false);
    }
    view.find_objects(first, 0)?;
    let mut left: Vec<usize> = (1..=last).collect();
    loop {
        let objects = view.objects();
        if objects.is_empty() {
            return Ok(true);
        }
        let named = |what: &dyn Fn(&str) -> bool| {
            left.iter().rposition(|&index| {
                let layer = listings.descriptor(index);
                layer
                    .and_then(|layer| layer.descriptor.annotations.get(ostree::COMPONENTS))
                    .is_some_and(|components| what(components))
            })
        };
        let owns = |components: &str| {
            objects.values().flatten().any(|path| ostree::may_own(components, path))
        };
        let next = named(&owns)
            .or_else(|| named(&ostree::is_unpackaged))
            .or_else(|| left.len().checked_sub(1));
        let Some(next) = next else { return Ok(false) };
        let index = left.remove(next);
        view.find_objects(listings.get(index)?, index)?;
    }
}

/// Whether it matters if a path of the base is a file or a symlink: where the extension has
/// something that stays, where links may lead elsewhere, and what is chosen among alternatives.
fn needs_type<C>(extension: &Tree<Stored<C>>, path: &[u8], alternatives: bool) -> bool {
    let content = |path: &[u8]| Some(&extension.inode(extension.lookup(path)?).content);
    if MERGED.contains(&path) {
        let from_sbin = || path == b"usr/sbin" && content(b"sbin").is_some();
        return alternatives || content(path).is_some() || from_sbin();
    }
    if is_within(path, b"etc") || is_within(path, b"usr/etc") || is_within(path, b"var") {
        return alternatives && path.windows(13).any(|part| part == b"/alternatives");
    }
    if let Some(copied) = path.strip_prefix(b"usr/share/factory/") {
        return content(copied).is_some() || content(path).is_some();
    }
    let is_dropped = matches!(content(path), Some(Content::Regular(Stored::Dropped { .. })));
    let has = |path: &[u8]| extension.lookup(path).is_some();
    ALWAYS.contains(&path) || (is_compared(&has, path) && !is_dropped)
}

/// Whether anybody asks who is who: an extension with accounts or state of its own, with anything
/// that is not root's, or in a directory of the base that is not (R15, R24, R25).
fn needs_accounts<C>(extension: &Tree<Stored<C>>, of_base: &BTreeMap<Vec<u8>, BasePath>) -> bool {
    let is_roots = |stat: &Stat| (stat.uid, stat.gid) == (0, 0);
    let has_own = extension.walk().any(|entry| {
        let is_account = || {
            matches!(split(&entry.path), Some((_, b"passwd" | b"group" | b"shadow" | b"gshadow")))
        };
        !is_roots(&entry.inode.stat) || entry.path.starts_with(b"var/") || is_account()
    });
    has_own || of_base.values().any(|path| !is_roots(&path.stat))
}

/// Whether a path of the base is one that an extension's is compared with: where that is, and
/// where it may move to (R21, R26).
fn is_compared(has: &dyn Fn(&[u8]) -> bool, path: &[u8]) -> bool {
    if is_within(path, b"var") {
        return has(path);
    }
    let Some(below) = path.strip_prefix(b"usr") else { return path.is_empty() };
    let Some(below) = below.strip_prefix(b"/") else { return below.is_empty() };
    let from_top = || {
        let tops: [&[u8]; 5] = [b"etc", b"bin", b"lib", b"lib64", b"sbin"];
        tops.iter().any(|top| is_within(below, top)) && has(below)
    };
    let from_sbin = || {
        let rest = below.strip_prefix(b"bin").filter(|rest| rest.starts_with(b"/"));
        rest.is_some_and(|rest| {
            has(&[b"sbin", rest].concat()) || has(&[b"usr/sbin", rest].concat())
        })
    };
    has(path) || from_top() || from_sbin()
}

/// Whether any link leads through the directory of alternatives.
fn has_alternatives<C>(extension: &Tree<Stored<C>>) -> bool {
    extension.walk().any(|entry| match &entry.inode.content {
        Content::Symlink(target) => target.windows(13).any(|part| part == b"/alternatives"),
        _ => false,
    })
}

/// Whether a path of the base is one that the repairs ask for: what it chooses for links (R23),
/// its own defaults (R21), directories of drop-ins (R22) and of what is copied to `var` (R25).
fn is_for_repairs<C>(extension: &Tree<Stored<C>>, path: &[u8], alternatives: bool) -> bool {
    let has = |path: &[u8]| extension.lookup(path).is_some();
    let below = |top: &[u8]| path.strip_prefix(top).filter(|rest| !rest.is_empty());
    if let Some(rest) = below(b"etc/") {
        return has(path)
            || has(&[b"usr/etc/", rest].concat())
            || (alternatives && rest.starts_with(b"alternatives"));
    }
    if let Some(rest) = below(b"usr/etc/") {
        return alternatives && rest.starts_with(b"alternatives");
    }
    if let Some(rest) = below(b"usr/share/factory/") {
        return rest == b"var" || (rest.starts_with(b"var/") && has(rest));
    }
    let is_drop_in = |directory: &[u8]| {
        let name = below(directory).and_then(|rest| rest.strip_prefix(b"/"));
        name.is_some_and(|name| !name.contains(&b'/') && name.ends_with(b".d"))
    };
    is_drop_in(b"usr/lib/systemd/system") || is_drop_in(b"usr/lib/systemd/user")
}

/// Why the view does not answer.
enum Stop {
    /// Nobody asked for this path.
    Unknown(Vec<u8>),
    /// Nobody asked for accounts.
    Accounts,
    Error(Error),
}

fn assemble<C>(view: &View<'_>, query: &Query<'_, C>) -> Result<Base, Stop> {
    // What the extension brings of os-release and accounts is not the base's.
    let lower = Merged::<C> { view, extension: None, limits: query.limits };
    let mut os_release = None;
    for path in OS_RELEASE {
        if let Some(text) = lower.open(path.as_bytes())? {
            let parsed = os_release::parse(&text);
            os_release = Some(parsed.map_err(|problem| {
                Stop::Error(Error::OsRelease { path: path.to_owned(), problem })
            })?);
            break;
        }
    }
    let (mut found, mut lower_policy) = (None, None);
    if query.policy {
        let all = Merged { view, extension: Some(query.extension), limits: query.limits };
        found = all.policy()?;
        let changes_policy = [policy::ETC, policy::USR_ETC]
            .iter()
            .any(|root| query.extension.tree.lookup(root.as_bytes()).is_some());
        if changes_policy {
            lower_policy = lower.policy()?;
        }
    }
    let paths: BTreeMap<_, _> = view
        .paths()
        .filter_map(|path| {
            let (stat, kind) = match view.look(path) {
                Seen::Node(node) => (node.stat.clone(), base_kind(&node.kind)),
                Seen::ImpliedDirectory => (Stat::directory(), BaseKind::ImpliedDirectory),
                Seen::Absent | Seen::Unknown => return None,
            };
            Some((path.clone(), BasePath { stat, kind }))
        })
        .collect();
    let mut of_base = Accounts::default();
    if needs_accounts(&query.extension.tree, &paths) {
        if !view.wants_contents(b"etc/passwd") {
            return Err(Stop::Accounts);
        }
        for path in account_files() {
            let text = lower.open(path.as_bytes())?.unwrap_or_default();
            let is_users = path.ends_with("passwd");
            let into = if is_users { &mut of_base.users } else { &mut of_base.groups };
            into.extend(accounts::parse(&text));
        }
    }
    Ok(Base {
        os_release,
        policy: found,
        lower_policy,
        accounts: of_base,
        is_ostree: query.ostree.is_some()
            || ostree::MARKS.iter().any(|mark| paths.contains_key(*mark)),
        paths,
        layers: query.lower_layers,
    })
}

fn base_kind(kind: &Kind) -> BaseKind {
    match kind {
        Kind::Directory => BaseKind::Directory,
        Kind::Symlink(target) => BaseKind::Symlink(target.to_vec()),
        Kind::Regular { .. } => BaseKind::Regular,
        Kind::Special | Kind::Elsewhere => BaseKind::Special,
        Kind::Object(_) => BaseKind::Unread,
    }
}

/// The lower layers, with the extension's over them if it counts.
struct Merged<'a, C> {
    view: &'a View<'a>,
    extension: Option<&'a LayerTree<C>>,
    limits: &'a Limits,
}

impl<C> Merged<'_, C> {
    /// The contents of the file that a path leads to.
    fn open(&self, path: &[u8]) -> Result<Option<Vec<u8>>, Stop> {
        let Some(path) = follow(path, |path, end| self.step(path, end))? else { return Ok(None) };
        if let Some(content) = self.of_extension(&path) {
            return match content {
                Content::Regular(stored) => self.read_stored(&path, stored).map(Some),
                _ => Ok(None),
            };
        }
        match self.view.look(&path) {
            Seen::Node(node) => match &node.kind {
                Kind::Regular { contents: Some(bytes), .. } => Ok(Some(bytes.to_vec())),
                Kind::Regular { contents: None, .. } | Kind::Object(_) => Err(Stop::Unknown(path)),
                _ => Ok(None),
            },
            Seen::Unknown => Err(Stop::Unknown(path)),
            Seen::Absent | Seen::ImpliedDirectory => Ok(None),
        }
    }

    /// What is at a path, on the way to `end`.
    fn step(&self, path: &[u8], end: &[u8]) -> Result<Step, Stop> {
        if let Some(content) = self.of_extension(path) {
            return Ok(match content {
                Content::Directory(_) => Step::Directory,
                Content::Symlink(target) => Step::Symlink(target.to_vec()),
                _ => Step::Other,
            });
        }
        if self.is_hidden(path) {
            return Ok(Step::Absent);
        }
        Ok(match self.view.look(path) {
            Seen::Node(node) => match &node.kind {
                Kind::Directory => Step::Directory,
                Kind::Symlink(target) => Step::Symlink(target.to_vec()),
                Kind::Regular { .. } | Kind::Special => Step::Other,
                Kind::Elsewhere => Step::Absent,
                Kind::Object(_) => return Err(Stop::Unknown(path.to_vec())),
            },
            Seen::ImpliedDirectory => Step::Directory,
            Seen::Absent => Step::Absent,
            Seen::Unknown => return Err(Stop::Unknown(end.to_vec())),
        })
    }

    fn of_extension(&self, path: &[u8]) -> Option<&Content<Stored<C>>> {
        let tree = &self.extension?.tree;
        Some(&tree.inode(tree.lookup(path)?).content)
    }

    /// Whether the extension deletes a path that it does not have.
    fn is_hidden(&self, path: &[u8]) -> bool {
        self.extension.is_some_and(|extension| {
            extension.whiteouts.iter().any(|whiteout| {
                is_within(path, &whiteout.path) && !(whiteout.opaque && path == whiteout.path)
            })
        })
    }

    fn read_stored(&self, path: &[u8], stored: &Stored<C>) -> Result<Vec<u8>, Stop> {
        let path = path.to_vec();
        let Stored::Held(held) = stored else {
            return Err(Stop::Error(Error::Unreadable { path }));
        };
        let (size, maximum) = (held.size(), self.limits.text_file);
        if size > maximum {
            return Err(Stop::Error(Error::TooLarge { path, size, maximum }));
        }
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut held.reader(), &mut bytes)
            .map_err(|error| Stop::Error(Error::Read { path, error }))?;
        Ok(bytes)
    }

    /// The policy: of `etc/selinux`, or on an ostree base of `usr/etc/selinux` with what
    /// `etc/selinux` has in its place (R30).
    fn policy(&self) -> Result<Option<PolicyFiles>, Stop> {
        let config = |root: &str| self.open(format!("{root}/config").as_bytes());
        let (config, roots) = match config(policy::ETC)? {
            Some(config) => (config, &[policy::ETC][..]),
            None => match config(policy::USR_ETC)? {
                Some(config) => (config, &[policy::ETC, policy::USR_ETC][..]),
                None => return Ok(None),
            },
        };
        let policy_type = policy::policy_type(&config).map_err(Stop::Error)?;
        let files = policy::gather(policy_type.clone(), |name| {
            for root in roots {
                let text = self.open(&policy::path(root, &policy_type, name))?;
                if text.is_some() {
                    return Ok(text);
                }
            }
            Ok(None)
        })?;
        match files {
            Some(files) => Ok(Some(files)),
            None => Err(Stop::Error(Error::NoFileContexts { policy_type })),
        }
    }
}
