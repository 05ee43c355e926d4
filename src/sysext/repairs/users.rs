//! Accounts that scripts of packages added to the build (R24) become lines of sysusers.d(5) with
//! their ids pinned, unless a packaged file makes them. Never those of the base, of root, of
//! people, or whose password is not locked: a password never leaves the layer.

use std::collections::{BTreeMap, BTreeSet};

use super::account_files::{self, Group, User};
use super::{Repair, packaged, quote};
use crate::base::{Accounts, Base, accounts};
use crate::escape::Escaped;
use crate::report::Changes;
use crate::sysext::work::{Work, read_held};
use crate::sysext::{Error, SysextOptions, rules};
use crate::tree::{Content, Ino};

/// The first id of people (login.defs(5), `UID_MIN`); below it are the system's.
const FIRST_OF_PEOPLE: u32 = 1000;

/// As long as useradd(8) and systemd take a name.
const LONGEST_NAME: usize = 31;

/// Names of owners by their ids: what a file's owner is called on the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub users: BTreeMap<u32, String>,
    pub groups: BTreeMap<u32, String>,
}

/// What the layer says of accounts, of all places where it may.
#[derive(Default)]
struct Found {
    users: Vec<(String, User)>,
    groups: Vec<(String, Group)>,
    memberships: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    unlocked: BTreeSet<Vec<u8>>,
    ranges: BTreeSet<Vec<u8>>,
}

impl Found {
    fn read<C>(work: &Work<C>, options: &SysextOptions<'_>, changes: &mut Changes) -> Self {
        let mut found = Self::default();
        for directory in accounts::DIRECTORIES {
            let path = |file: &str| format!("{directory}/{file}");
            let mut read =
                |file: &str| read_file(work, &path(file), options.limits.text_file, changes);
            let users = account_files::users(&read("passwd"));
            found.users.extend(users.into_iter().map(|user| (path("passwd"), user)));
            let groups = account_files::groups(&read("group"));
            found.groups.extend(groups.into_iter().map(|group| (path("group"), group)));
            found.memberships.extend(account_files::shadow_members(&read("gshadow")));
            found.unlocked.extend(account_files::unlocked(&read("shadow")));
            for file in ["subuid", "subgid"] {
                found.ranges.extend(account_files::first_fields(&read(file)));
            }
        }
        found
    }
}

/// The text of a file of accounts; nothing where it is none. Contents that have another name in
/// the image went there, and are not here any more.
fn read_file<C>(work: &Work<C>, path: &str, limit: u64, changes: &mut Changes) -> Vec<u8> {
    let text = read_held(&work.tree, path.as_bytes(), limit);
    let is_file = |ino| matches!(work.tree.inode(ino).content, Content::Regular(_));
    if text.is_none() && work.tree.lookup(path.as_bytes()).is_some_and(is_file) {
        changes.warn("R24", format!("{path} is not read: it is in the image, perhaps by another name, or has more than {limit} bytes; what it adds to the base's accounts is left out"));
    }
    text.unwrap_or_default()
}

/// Passwords stay in the layer, whatever other names their files have there.
pub(super) fn refuse_password_links<C>(work: &Work<C>) -> Result<(), Error> {
    let is_password = |path: &[u8]| rules::below_etc(path).is_some_and(rules::has_passwords);
    let mut files: BTreeMap<Ino, Vec<u8>> = BTreeMap::new();
    for entry in work.tree.walk().filter(|entry| is_password(&entry.path)) {
        if matches!(entry.inode.content, Content::Regular(_)) {
            files.insert(entry.ino, entry.path);
        }
    }
    for entry in work.tree.walk().filter(|entry| !is_password(&entry.path)) {
        if let Some(of) = files.get(&entry.ino) {
            return Err(Error::Passwords { path: entry.path, of: of.clone() });
        }
    }
    Ok(())
}

pub(super) fn run<C>(
    work: &mut Work<C>,
    base: &Base,
    options: &SysextOptions<'_>,
    changes: &mut Changes,
) -> Result<Names, Error> {
    let found = Found::read(work, options, changes);
    let of_base = base.accounts();
    let covered = packaged::accounts(work, &options.limits);
    let mut names = Names::default();
    // What packages and the base make has a name on the host, whatever its id is there.
    for (_, user) in &found.users {
        let is_known = covered.contains(&user.name) || of_base.users.contains_key(&user.name);
        if is_known && let Some(name) = account_name(&user.name) {
            names.users.insert(user.uid, name.to_owned());
        }
    }
    for (_, group) in &found.groups {
        let is_known = covered.contains(&group.name) || of_base.groups.contains_key(&group.name);
        if is_known && let Some(name) = account_name(&group.name) {
            names.groups.insert(group.gid, name.to_owned());
        }
    }
    names.add(of_base);
    if !options.repairs.has(Repair::Users) {
        tell(&found, of_base, &covered, changes);
        return Ok(names);
    }

    let mut lines = Lines { text: Vec::new(), causes: Vec::new() };
    let mut seen = BTreeSet::new();
    for (path, group) in &found.groups {
        if of_base.groups.contains_key(&group.name) || covered.contains(&group.name) {
            continue;
        }
        if !seen.insert(&group.name) {
            continue;
        }
        let taken = names.groups.get(&group.gid);
        match new_account(&group.name, group.gid, taken) {
            Ok(name) => {
                names.groups.insert(group.gid, name.to_owned());
                lines.add(
                    format!("g {name} {}", group.gid),
                    format!("the group {name} is added by {path}"),
                );
            }
            Err(problem) => left_out("group", &group.name, path, &problem, changes),
        }
    }
    let mut made: BTreeSet<&[u8]> = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (path, user) in &found.users {
        if of_base.users.contains_key(&user.name) || covered.contains(&user.name) {
            continue;
        }
        if !seen.insert(&user.name) {
            continue;
        }
        match new_user(user, &found.unlocked, &names) {
            Ok((name, line)) => {
                if !user.comment.is_empty() && quote::sysusers(&user.comment).is_none() {
                    changes.warn("R24", format!("{path} adds the user {name}, whose comment no line can hold: it is left out"));
                }
                names.users.insert(user.uid, name.to_owned());
                made.insert(&user.name);
                lines.add(line, format!("the user {name} is added by {path}"));
            }
            Err(problem) => left_out("user", &user.name, path, &problem, changes),
        }
    }
    memberships(&found, &made, &covered, of_base, &names, &mut lines, changes);
    for name in
        found.ranges.iter().filter(|name| made.contains(&name[..]) || covered.contains(*name))
    {
        if !of_base.users.contains_key(name) {
            changes.warn("R24", format!("{} has ranges of subordinate ids, which sysusers.d cannot give: give them on the host (usermod --add-subuids, --add-subgids)", Escaped(name)));
        }
    }
    if !lines.text.is_empty() {
        let path = format!("usr/lib/sysusers.d/{}-sysext.conf", options.name);
        let mut text = lines.text.join("\n");
        text.push('\n');
        work.add_file(
            &path,
            text.into_bytes(),
            options.created,
            ("R24", lines.causes.join("; ")),
            changes,
        )?;
    }
    Ok(names)
}

impl Names {
    fn add(&mut self, of_base: &Accounts) {
        for (known, into) in
            [(&of_base.users, &mut self.users), (&of_base.groups, &mut self.groups)]
        {
            for (name, id) in known {
                if let Some(name) = account_name(name) {
                    into.entry(*id).or_insert_with(|| name.to_owned());
                }
            }
        }
    }
}

/// Lines of the file, and why each is there.
struct Lines {
    text: Vec<String>,
    causes: Vec<String>,
}

impl Lines {
    fn add(&mut self, line: String, cause: String) {
        self.text.push(line);
        self.causes.push(cause);
    }
}

/// A name that systemd and shadow-utils take (`systemd.io/USER_NAMES`), so that it needs no quotes.
fn account_name(name: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(name).ok()?;
    let mut rest = text.bytes();
    let starts_well = rest.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (starts_well && rest.all(plain) && text.len() <= LONGEST_NAME).then_some(text)
}

/// A name and an id that an account of the extension may have.
fn new_account<'a>(name: &'a [u8], id: u32, taken: Option<&String>) -> Result<&'a str, String> {
    let name = account_name(name).ok_or("found no name that systemd takes")?;
    if id == 0 {
        return Err("found the id 0, which is root's".to_owned());
    }
    if id >= FIRST_OF_PEOPLE {
        return Err(format!(
            "found the id {id}, expected one of the system's, below {FIRST_OF_PEOPLE}"
        ));
    }
    if let Some(other) = taken {
        return Err(format!("found the id {id}, which is that of {other}"));
    }
    Ok(name)
}

/// The line of a user.
fn new_user<'a>(
    user: &'a User,
    unlocked: &BTreeSet<Vec<u8>>,
    names: &Names,
) -> Result<(&'a str, String), String> {
    let name = new_account(&user.name, user.uid, names.users.get(&user.uid))?;
    if unlocked.contains(&user.name) {
        return Err("found a password, expected a locked account".to_owned());
    }
    let group = names.groups.get(&user.gid);
    let group = group.ok_or_else(|| format!("found the group {}, which nobody has", user.gid))?;
    let id = if group == name && user.gid == user.uid {
        user.uid.to_string()
    } else {
        format!("{}:{group}", user.uid)
    };
    let comment = if user.comment.is_empty() { None } else { quote::sysusers(&user.comment) };
    let comment = comment.unwrap_or_else(|| "-".to_owned());
    let path = |what, path: &[u8]| match path {
        b"" => Ok("-".to_owned()),
        path if is_normal(path) => quote::sysusers(path)
            .ok_or_else(|| format!("found the {what} {}, which no line can hold", Escaped(path))),
        path => Err(format!("found the {what} {}, expected an absolute path", Escaped(path))),
    };
    let (home, shell) = (path("home", &user.home)?, path("shell", &user.shell)?);
    if user.shell.ends_with(b"/") {
        return Err(format!("found the shell {}, expected a file", Escaped(&user.shell)));
    }
    Ok((name, format!("u {name} {id} {comment} {home} {shell}")))
}

/// As long as the kernel takes a path, less the NUL.
const LONGEST_PATH: usize = 4095;

/// Whether a path is absolute, without `.` and `..`, and not too long (systemd refuses a whole
/// line for them).
fn is_normal(path: &[u8]) -> bool {
    path.starts_with(b"/")
        && path.len() <= LONGEST_PATH
        && !path.split(|&byte| byte == b'/').any(|name| matches!(name, b"." | b".."))
}

/// Memberships of the extension's users, in groups of theirs or of the base.
fn memberships(
    found: &Found,
    made: &BTreeSet<&[u8]>,
    covered: &BTreeSet<Vec<u8>>,
    of_base: &Accounts,
    names: &Names,
    lines: &mut Lines,
    changes: &mut Changes,
) {
    let of_groups = found.groups.iter().map(|(_, group)| (&group.name, &group.members));
    let of_shadow = found.memberships.iter().map(|(name, members)| (name, members));
    let mut seen = BTreeSet::new();
    for (group, members) in of_groups.chain(of_shadow) {
        for member in members {
            // A member of another name than the base's users is nobody's before this extension.
            if of_base.users.contains_key(member) && of_base.groups.contains_key(group) {
                continue;
            }
            if !seen.insert((group, member)) {
                continue;
            }
            let is_own = made.contains(&member[..])
                || (covered.contains(member) && !of_base.users.contains_key(member));
            let is_group =
                account_name(group).filter(|name| names.groups.values().any(|known| known == name));
            match (account_name(member).filter(|_| is_own), is_group) {
                (Some(member), Some(group)) => lines.add(
                    format!("m {member} {group}"),
                    format!("{member} is a member of {group} in the layer"),
                ),
                _ => changes.warn("R24", format!("{} is a member of {} in the layer, but no account of the extension: add it on the host, if it is wanted", Escaped(member), Escaped(group))),
            }
        }
    }
}

fn left_out(what: &str, name: &[u8], path: &str, problem: &str, changes: &mut Changes) {
    let name = Escaped(name);
    changes.warn("R24", format!("{path} adds the {what} {name}, which is left out: {problem}"));
}

/// With `--repairs none`: which accounts the host will not have.
fn tell(found: &Found, of_base: &Accounts, covered: &BTreeSet<Vec<u8>>, changes: &mut Changes) {
    let users = found.users.iter().map(|(path, user)| (path, "user", &user.name, user.uid));
    let groups = found.groups.iter().map(|(path, group)| (path, "group", &group.name, group.gid));
    for (path, what, name, id) in users.chain(groups) {
        let known = if what == "user" { &of_base.users } else { &of_base.groups };
        if !known.contains_key(name) && !covered.contains(name) {
            let name = Escaped(name);
            changes.warn(
                "R24",
                format!(
                    "{path} adds the {what} {name} ({id}), which no sysusers.d file of the layer makes: the host will not have it"
                ),
            );
        }
    }
}
