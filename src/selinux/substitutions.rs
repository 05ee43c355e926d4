//! Path prefixes that are looked up as others: `file_contexts.subs` and `.subs_dist`.

use std::borrow::Cow;

use super::{Error, parse};

/// Bytes of one line: libselinux reads longer ones in pieces.
const MAX_LINE: usize = 1022;
/// Substitutions of one file, which are all tried for every path; Fedora has about 40.
const MAX_SUBSTITUTIONS: usize = 1000;

/// The substitutions of one file, in the order in which they are tried: last line first.
#[derive(Debug, Default)]
pub(super) struct Substitutions(Vec<Substitution>);

#[derive(Debug)]
struct Substitution {
    from: Box<[u8]>,
    to: Box<[u8]>,
}

impl Substitutions {
    /// Reads a file. A line with one field only means nothing, as in libselinux.
    pub(super) fn parse(file: &'static str, text: &[u8]) -> Result<Self, Error> {
        let mut list = Vec::new();
        for (place, line) in parse::lines(file, text)? {
            let mut fields = parse::fields(line);
            let Some(from) = fields.next().filter(|from| !from.starts_with(b"#")) else {
                continue;
            };
            if line.contains(&0) {
                return Err(place.error("found a NUL byte, expected text".to_owned()));
            }
            if line.len() > MAX_LINE {
                return Err(
                    place.error(format!("found {} bytes, expected at most {MAX_LINE}", line.len()))
                );
            }
            if let Some(to) = fields.next() {
                list.push(Substitution { from: from.into(), to: to.into() });
            }
        }
        if list.len() > MAX_SUBSTITUTIONS {
            let (found, limit) = (list.len(), MAX_SUBSTITUTIONS);
            return Err(Error::TooBig { file, found, unit: "substitutions", limit });
        }
        list.reverse();
        Ok(Self(list))
    }

    /// Replaces the first prefix that fits, once.
    pub(super) fn apply<'a>(&self, path: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        self.0.iter().find_map(|substitution| substitution.apply(&path)).map_or(path, Cow::Owned)
    }
}

impl Substitution {
    fn apply(&self, path: &[u8]) -> Option<Vec<u8>> {
        let rest = path.strip_prefix(&*self.from)?;
        let rest = match rest.split_first() {
            Some((b'/', below)) if *self.to == *b"/" => below,
            None | Some((b'/', _)) => rest,
            Some(_) => return None,
        };
        Some([&self.to, rest].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(text: &str, path: &str) -> String {
        let list = Substitutions::parse("subs", text.as_bytes()).unwrap();
        String::from_utf8(list.apply(Cow::Borrowed(path.as_bytes())).into_owned()).unwrap()
    }

    #[test]
    fn a_prefix_ends_at_a_component() {
        assert_eq!(apply("/run /var/run", "/run"), "/var/run");
        assert_eq!(apply("/run /var/run", "/run/x"), "/var/run/x");
        assert_eq!(apply("/run /var/run", "/runx"), "/runx");
        assert_eq!(apply("/run/ /var/run", "/run/x"), "/run/x");
        assert_eq!(apply("/ /root", "/"), "/root");
        assert_eq!(apply("/ /root", "/x"), "/x");
    }

    #[test]
    fn the_last_line_wins_and_is_applied_once() {
        assert_eq!(apply("/a /b\n/b /a\n/a /c\n", "/a/x"), "/c/x");
        assert_eq!(apply("/a /b\n/b /a\n/a /c\n", "/b/x"), "/a/x");
        assert_eq!(apply("/a/b /x\n/a /y\n", "/a/b/c"), "/y/b/c");
    }

    #[test]
    fn the_root_takes_no_second_slash() {
        assert_eq!(apply("/sysroot /", "/sysroot"), "/");
        assert_eq!(apply("/sysroot /", "/sysroot/a"), "/a");
        assert_eq!(apply("/sysroot /a/", "/sysroot/b"), "/a//b");
    }

    #[test]
    fn more_substitutions_than_can_be_tried_for_every_path_are_refused() {
        assert!(Substitutions::parse("subs", "/a /b\n".repeat(1000).as_bytes()).is_ok());
        let found = Substitutions::parse("subs", "/a /b\n".repeat(1001).as_bytes());
        assert!(matches!(found, Err(Error::TooBig { found: 1001, .. })));
    }

    #[test]
    fn comments_and_odd_lines_mean_nothing() {
        assert_eq!(apply(" # /a /b\n\n/a\n\t/a\t/c more words\r\n", "/a"), "/c");
        assert!(Substitutions::parse("subs", b"/a /b\0c").is_err());
        assert!(Substitutions::parse("subs", &[b'a'; 1023]).is_err());
    }
}
