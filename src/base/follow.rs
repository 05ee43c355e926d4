//! Following a path through symlinks, as a process inside the file system would: never above its
//! root, and no more links than the kernel follows.

use crate::tree::{components, join, split};

/// As many symlinks as the kernel follows (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// What is at one place on the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Directory,
    Symlink(Vec<u8>),
    Other,
    Absent,
}

/// The path at the end of the symlinks; none if nothing is there, or the links go in a circle.
/// `look` tells what is at a path whose parent is a directory; it also gets where the way goes
/// on to if that is one too.
pub(super) fn follow<E>(
    path: &[u8],
    mut look: impl FnMut(&[u8], &[u8]) -> Result<Step, E>,
) -> Result<Option<Vec<u8>>, E> {
    let mut pending = reversed(path);
    let mut at: Vec<u8> = Vec::new();
    let mut links = 0;
    while let Some(name) = pending.pop() {
        match &name[..] {
            b"." => continue,
            b".." => {
                at = split(&at).map(|(parent, _)| parent.to_vec()).unwrap_or_default();
                continue;
            }
            _ => {}
        }
        let next = join(&at, &name);
        let rest = pending.iter().rev().fold(next.clone(), |path, name| join(&path, name));
        match look(&next, &rest)? {
            Step::Directory => at = next,
            Step::Symlink(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Ok(None);
                }
                if target.starts_with(b"/") {
                    at.clear();
                }
                pending.extend(reversed(&target));
            }
            Step::Other if pending.is_empty() => return Ok(Some(next)),
            Step::Other | Step::Absent => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let mut names: Vec<_> = components(path).map(<[u8]>::to_vec).collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn end(path: &str) -> Option<String> {
        let look = |path: &[u8], _: &[u8]| {
            Ok::<_, Infallible>(match path {
                b"etc" | b"usr" | b"usr/lib" => Step::Directory,
                b"etc/os-release" => Step::Symlink(b"../usr/lib/os-release".to_vec()),
                b"etc/up" => Step::Symlink(b"../../../../usr/lib/os-release".to_vec()),
                b"lib" => Step::Symlink(b"/usr/./lib".to_vec()),
                b"etc/loop" => Step::Symlink(b"loop".to_vec()),
                b"etc/dangling" => Step::Symlink(b"nowhere/x".to_vec()),
                b"usr/lib/os-release" => Step::Other,
                _ => Step::Absent,
            })
        };
        let Ok(end) = follow(path.as_bytes(), look);
        end.map(|end| String::from_utf8(end).unwrap())
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        for path in ["etc/os-release", "etc/up", "lib/os-release", "usr/lib/os-release"] {
            assert_eq!(end(path).as_deref(), Some("usr/lib/os-release"), "{path}");
        }
        for path in ["etc/loop", "etc/dangling", "usr/lib/os-release/x", "nowhere"] {
            assert_eq!(end(path), None, "{path}");
        }
        assert_eq!(end("lib").as_deref(), Some("usr/lib"));
    }
}
