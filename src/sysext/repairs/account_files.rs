//! Lines of passwd(5), group(5) and shadow(5) as a build left them.

/// A line of passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub name: Vec<u8>,
    pub uid: u32,
    pub gid: u32,
    pub comment: Vec<u8>,
    pub home: Vec<u8>,
    pub shell: Vec<u8>,
}

/// A line of group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub name: Vec<u8>,
    pub gid: u32,
    pub members: Vec<Vec<u8>>,
}

/// The users of a passwd file; lines that are none are skipped.
pub(super) fn users(text: &[u8]) -> Vec<User> {
    records(text)
        .filter_map(|fields| {
            let [name, _, uid, gid, comment, home, shell] = fields[..] else { return None };
            Some(User {
                name: name.to_vec(),
                uid: number(uid)?,
                gid: number(gid)?,
                comment: comment.to_vec(),
                home: home.to_vec(),
                shell: shell.to_vec(),
            })
        })
        .collect()
}

/// The groups of a group file; lines that are none are skipped.
pub(super) fn groups(text: &[u8]) -> Vec<Group> {
    records(text)
        .filter_map(|fields| {
            let [name, _, gid, members] = fields[..] else { return None };
            Some(Group { name: name.to_vec(), gid: number(gid)?, members: names(members) })
        })
        .collect()
}

/// The members that gshadow(5) lists, by group; its passwords are never looked at.
pub(super) fn shadow_members(text: &[u8]) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
    records(text)
        .filter_map(|fields| {
            let [name, _, _, members] = fields[..] else { return None };
            Some((name.to_vec(), names(members)))
        })
        .collect()
}

/// The names in a shadow file that could log in: their password field is neither `*` nor locked
/// by a `!` in front (an empty one lets everybody in).
pub(super) fn unlocked(text: &[u8]) -> Vec<Vec<u8>> {
    records(text)
        .filter(|fields| {
            fields
                .get(1)
                .is_some_and(|password| !password.starts_with(b"!") && !password.starts_with(b"*"))
        })
        .filter_map(|fields| fields.first().map(|name| name.to_vec()))
        .collect()
}

/// The names in the first field, which subuid(5) and subgid(5) have too.
pub(super) fn first_fields(text: &[u8]) -> Vec<Vec<u8>> {
    records(text).filter_map(|fields| fields.first().map(|name| name.to_vec())).collect()
}

fn records(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| line.split(|&byte| byte == b':').collect())
}

fn names(field: &[u8]) -> Vec<Vec<u8>> {
    let names = field.split(|&byte| byte == b',').filter(|name| !name.is_empty());
    names.map(<[u8]>::to_vec).collect()
}

fn number(field: &[u8]) -> Option<u32> {
    let is_decimal = !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(field).ok().filter(|_| is_decimal)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_or_skipped() {
        let found =
            users(b"a:x:1:2:c:/h:/s\nbad\n\n:x:+1:2:c:/h:/s\nb:x:-1:0:::\nc:x:1:2:c:/h:/s:more");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].uid, &found[0].home[..]), (1, &b"/h"[..]));
        assert_eq!(groups(b"g:x:5:a,,b\ng:x\n")[0].members, [b"a", b"b"]);
        assert_eq!(
            unlocked(b"a:!!:1\nb:*:1\nc:$6$x:1\nd::1\ne:!$6$x:1\nf"),
            [b"c".to_vec(), b"d".to_vec()]
        );
        assert_eq!(
            shadow_members(b"g:!::a,b"),
            [(b"g".to_vec(), vec![b"a".to_vec(), b"b".to_vec()])]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            users(&bytes);
            groups(&bytes);
            shadow_members(&bytes);
            unlocked(&bytes);
        }
    }
}
