//! Paths that a pattern of file contexts matches, or nearly.

use super::generator::Random;

/// Items of a repetition without an end.
const MANY: usize = 3;

/// What a dot stands for, and a class that excludes some.
const CHARACTERS: &[u8] = b"aZ09._-+/x";

/// A path that a pattern matches; none if it has what is not understood here.
pub fn expansion(pattern: &str, random: &mut Random) -> Option<String> {
    let mut rest = pattern.as_bytes();
    let branches = branches(&mut rest)?;
    let mut text = String::new();
    expand(&branches, random, &mut text);
    (rest.is_empty() && text.starts_with('/')).then_some(text)
}

/// A path that is nearly the same.
pub fn changed(path: &str, random: &mut Random) -> String {
    let mut path = path.to_owned();
    match random.below(6) {
        0 => path.push_str("/x"),
        1 => path.push('x'),
        2 => path.push_str(".so.1"),
        3 if path.len() > 2 => _ = path.pop(),
        4 => path = format!("/usr{path}"),
        _ => path = path.replacen("/usr", "/usr/local", 1),
    }
    path
}

enum Item {
    OneOf(Vec<u8>),
    Group(Vec<Branch>),
}

/// Items, each with how often it may come.
type Branch = Vec<(Item, usize, usize)>;

fn expand(branches: &[Branch], random: &mut Random, text: &mut String) {
    for (item, min, max) in &branches[random.below(branches.len())] {
        for _ in 0..min + random.below(max - min + 1) {
            match item {
                Item::OneOf(bytes) => text.push(char::from(bytes[random.below(bytes.len())])),
                Item::Group(branches) => expand(branches, random, text),
            }
        }
    }
}

fn branches(rest: &mut &[u8]) -> Option<Vec<Branch>> {
    let mut branches = vec![Branch::new()];
    loop {
        match rest.split_first() {
            None | Some((b')', _)) => return Some(branches),
            Some((b'|', after)) => {
                *rest = after;
                branches.push(Branch::new());
            }
            Some(_) => {
                let item = item(rest)?;
                let (min, max) = quantifier(rest)?;
                branches.last_mut()?.push((item, min, max));
            }
        }
    }
}

fn next(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}

fn item(rest: &mut &[u8]) -> Option<Item> {
    Some(match next(rest)? {
        b'\\' => Item::OneOf(vec![next(rest).filter(u8::is_ascii_punctuation)?]),
        b'.' => Item::OneOf(CHARACTERS.to_vec()),
        b'[' => Item::OneOf(class(rest)?),
        b'(' => {
            if let Some(after) = rest.strip_prefix(b"?:") {
                *rest = after;
            } else if rest.starts_with(b"?") {
                return None;
            }
            let branches = branches(rest)?;
            next(rest)?;
            Item::Group(branches)
        }
        b'^' | b'$' | b'*' | b'+' | b'?' | b'{' => return None,
        byte => Item::OneOf(vec![byte]),
    })
}

fn class(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let negated = rest.first() == Some(&b'^');
    if negated {
        next(rest)?;
    }
    let mut bytes = Vec::new();
    loop {
        let start = match next(rest)? {
            b']' if !bytes.is_empty() => break,
            b'\\' => next(rest)?,
            byte => byte,
        };
        if let [b'-', end, ..] = **rest
            && end != b']'
        {
            *rest = &rest[2..];
            bytes.extend(start..=end);
        } else {
            bytes.push(start);
        }
    }
    if negated {
        bytes = CHARACTERS.iter().copied().filter(|byte| !bytes.contains(byte)).collect();
    }
    (!bytes.is_empty()).then_some(bytes)
}

fn quantifier(rest: &mut &[u8]) -> Option<(usize, usize)> {
    let (min, max) = match rest.first() {
        Some(b'*') => (0, MANY),
        Some(b'+') => (1, MANY),
        Some(b'?') => (0, 1),
        Some(b'{') => {
            let end = rest.iter().position(|&byte| byte == b'}')?;
            let counts = std::str::from_utf8(&rest[1..end]).ok()?;
            *rest = &rest[end..];
            let (min, max) = counts.split_once(',').unwrap_or((counts, counts));
            let min = min.parse().ok()?;
            (min, if max.is_empty() { min + MANY } else { max.parse().ok()? })
        }
        _ => return Some((1, 1)),
    };
    next(rest)?;
    Some((min, max))
}
