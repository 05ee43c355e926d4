//! What a directory names, in little memory: there may be a million names, or a million directories
//! with one each.

use std::fmt;

use super::Ino;
use crate::escape::Escaped;

/// Names and the inodes that they stand for, in order of the names' bytes.
///
/// A name is not empty, has no `/` and no NUL, and is neither `.` nor `..`; nobody checks that here,
/// nor whether it has more than the usual 255 bytes.
#[derive(Clone, Default)]
pub struct Directory {
    /// In order; none is empty.
    pages: Vec<Page>,
}

/// Entries in order: the number of the inode, the length of the name, the name. A length of a byte
/// stands for itself; 255 says that four bytes with the length follow.
#[derive(Clone, Default)]
struct Page(Vec<u8>);

/// A page with as many bytes and as many entries gets no more: what is changed at a time is little,
/// and so is the number of pages.
const FULL: (usize, usize) = (1 << 10, 32);

impl Directory {
    /// A directory without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// What a name stands for.
    pub fn get(&self, name: &[u8]) -> Option<Ino> {
        self.pages.get(self.page_of(name))?.find(name).ok().map(|(_, ino)| ino)
    }

    /// Gives a name to an inode; what had it before.
    ///
    /// # Panics
    /// At a name of 4 GiB, far above any limit that a caller sets.
    pub fn insert(&mut self, name: &[u8], ino: Ino) -> Option<Ino> {
        let mut index = self.page_of(name);
        if self.pages.is_empty() {
            // Most directories never need a second page.
            self.pages = Vec::with_capacity(1);
            self.pages.push(Page::default());
        }
        let pages = self.pages.len();
        let page = self.pages.get_mut(index)?;
        let mut at = match page.find(name) {
            Ok((at, old)) => {
                page.renumber(at, ino);
                return Some(old);
            }
            Err(at) => at,
        };
        if page.is_full() {
            let (more, behind) = if at == page.0.len() && index + 1 == pages {
                // Archives mostly have names in order.
                (Page::default(), true)
            } else {
                let middle = page.middle();
                (Page(page.0.split_off(middle)), at > middle)
            };
            page.0.shrink_to_fit();
            at -= if behind { page.0.len() } else { 0 };
            self.pages.insert(index + 1, more);
            index += usize::from(behind);
        }
        self.pages.get_mut(index)?.insert(at, name, ino);
        None
    }

    /// Removes a name; what it stood for.
    pub fn remove(&mut self, name: &[u8]) -> Option<Ino> {
        let index = self.page_of(name);
        let page = self.pages.get_mut(index)?;
        let (at, ino) = page.find(name).ok()?;
        page.remove(at);
        if page.0.is_empty() {
            self.pages.remove(index);
        }
        Some(ino)
    }

    /// Keeps what `keep` says, which may give a name to another inode.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &mut Ino) -> bool) {
        for page in &mut self.pages {
            let mut kept = Page(Vec::with_capacity(page.0.len()));
            for (name, mut ino) in Entries(&page.0) {
                if keep(name, &mut ino) {
                    kept.insert(kept.0.len(), name, ino);
                }
            }
            kept.0.shrink_to_fit();
            *page = kept;
        }
        self.pages.retain(|page| !page.0.is_empty());
    }

    /// Names and inodes, in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { entries: Entries(&[]), pages: self.pages.iter() }
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().map(|(name, _)| name)
    }

    /// The inodes, in order of their names.
    pub fn inos(&self) -> impl Iterator<Item = Ino> {
        self.iter().map(|(_, ino)| ino)
    }

    /// The page that has a name, if any has.
    fn page_of(&self, name: &[u8]) -> usize {
        let first = |page: &Page| Entries(&page.0).next().is_some_and(|(first, _)| first <= name);
        self.pages.partition_point(first).saturating_sub(1)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, ino)| (Escaped(name), ino))).finish()
    }
}

impl<'a> IntoIterator for &'a Directory {
    type Item = (&'a [u8], Ino);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The entries of a directory, in order.
#[derive(Clone)]
pub struct Iter<'a> {
    entries: Entries<'a>,
    pages: std::slice::Iter<'a, Page>,
}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], Ino);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(entry);
            }
            self.entries = Entries(&self.pages.next()?.0);
        }
    }
}

impl Page {
    fn is_full(&self) -> bool {
        self.0.len() >= FULL.0 && Entries(&self.0).nth(FULL.1 - 1).is_some()
    }

    /// Where a name is, and what it stands for; or where it should be.
    fn find(&self, name: &[u8]) -> Result<(usize, Ino), usize> {
        let mut entries = Entries(&self.0);
        loop {
            let at = self.0.len() - entries.0.len();
            match entries.next() {
                Some((found, ino)) if found == name => return Ok((at, ino)),
                Some((found, _)) if found < name => {}
                _ => return Err(at),
            }
        }
    }

    /// Where the second half of the entries starts. Half of the bytes might be one long name, with
    /// nothing behind it.
    fn middle(&self) -> usize {
        let mut entries = Entries(&self.0);
        let half = entries.clone().count() / 2;
        entries.by_ref().take(half).for_each(drop);
        self.0.len() - entries.0.len()
    }

    fn insert(&mut self, at: usize, name: &[u8], ino: Ino) {
        let length = u32::try_from(name.len()).expect("less than 4 GiB");
        let short = u8::try_from(length).unwrap_or(u8::MAX);
        let long = if short == u8::MAX { &length.to_ne_bytes()[..] } else { &[] };
        let parts = [&ino.0.to_ne_bytes(), &[short][..], long, name];
        if at == self.0.len() {
            for part in parts {
                self.0.extend_from_slice(part);
            }
        } else {
            self.0.splice(at..at, parts.concat());
        }
    }

    fn remove(&mut self, at: usize) {
        let mut rest = Entries(self.0.get(at..).unwrap_or_default());
        rest.next();
        let end = self.0.len() - rest.0.len();
        self.0.drain(at..end);
    }

    fn renumber(&mut self, at: usize, ino: Ino) {
        if let Some(number) = self.0.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *number = ino.0.to_ne_bytes();
        }
    }
}

/// What is left of a page.
#[derive(Clone)]
struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Ino);

    fn next(&mut self) -> Option<Self::Item> {
        let (&ino, rest) = self.0.split_first_chunk()?;
        let (&short, rest) = rest.split_first()?;
        let (length, rest) = if short == u8::MAX {
            let (&length, rest) = rest.split_first_chunk()?;
            (usize::try_from(u32::from_ne_bytes(length)).ok()?, rest)
        } else {
            (usize::from(short), rest)
        };
        let (name, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((name, Ino(u32::from_ne_bytes(ino))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What is done to a directory.
    #[derive(Clone, Debug)]
    enum Step {
        Insert(Vec<u8>, u32),
        Remove(Vec<u8>),
        Retain(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let name = prop_oneof![
            8 => "[a-d]{1,4}".prop_map(String::into_bytes),
            2 => "[a-d]{1,2}n{0,250}".prop_map(String::into_bytes),
            1 => (250..300usize).prop_map(|length| vec![b'l'; length]),
            1 => (1..5000usize).prop_map(|length| vec![b'c'; length]),
        ];
        prop_oneof![
            40 => (name.clone(), any::<u32>()).prop_map(|(name, ino)| Step::Insert(name, ino)),
            10 => name.prop_map(Step::Remove),
            1 => (2..9u32).prop_map(Step::Retain),
        ]
    }

    fn assert_equal(directory: &Directory, expected: &BTreeMap<Vec<u8>, Ino>) {
        assert_eq!(directory.is_empty(), expected.is_empty());
        let expected = expected.iter().map(|(name, &ino)| (name.as_slice(), ino));
        assert!(directory.iter().eq(expected));
        assert!(directory.pages.iter().all(|page| !page.0.is_empty()));
    }

    proptest! {
        #[test]
        fn it_is_what_a_map_is(steps in prop::collection::vec(step(), 0..600)) {
            let (mut directory, mut map) = (Directory::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(name, ino) => {
                        let old = directory.insert(&name, Ino(ino));
                        prop_assert_eq!(old, map.insert(name.clone(), Ino(ino)));
                        prop_assert_eq!(directory.get(&name), Some(Ino(ino)));
                    }
                    Step::Remove(name) => {
                        prop_assert_eq!(directory.get(&name), map.get(&name).copied());
                        prop_assert_eq!(directory.remove(&name), map.remove(&name));
                        prop_assert_eq!(directory.get(&name), None);
                    }
                    Step::Retain(part) => {
                        let keep = |ino: &mut Ino| {
                            ino.0 /= 3;
                            !ino.0.is_multiple_of(part)
                        };
                        directory.retain(|_, ino| keep(ino));
                        map.retain(|_, ino| keep(ino));
                    }
                }
                assert_equal(&directory, &map);
            }
        }
    }

    #[test]
    fn a_name_of_half_a_page_leaves_no_page_empty() {
        for long in ["0", "m", "z"] {
            let long = long.repeat(2000).into_bytes();
            let (mut directory, mut map) = (Directory::new(), BTreeMap::new());
            let short = (0..31).map(|n| format!("n{n:02}").into_bytes());
            let more = [&b"zz"[..], b"n05x", b"00", b"n30x"].map(<[u8]>::to_vec);
            for (name, n) in short.chain([long]).chain(more).zip(0..) {
                directory.insert(&name, Ino(n));
                map.insert(name, Ino(n));
                assert_equal(&directory, &map);
            }
        }
    }

    /// In order, all pages are full; in any other order, half full at least.
    #[test]
    fn pages_are_filled() {
        let names = |n: u32| format!("{n:07}").into_bytes();
        let bytes = 12 * 20_000;
        for (step, most) in [(1, bytes / FULL.0 + 1), (7919, 2 * bytes / FULL.0 + 1)] {
            let mut directory = Directory::new();
            for n in 0..20_000 {
                directory.insert(&names(n * step % 20_000), Ino(n));
            }
            assert_eq!(directory.iter().count(), 20_000);
            assert!(directory.pages.len() <= most, "{} {most}", directory.pages.len());
            assert!(directory.names().is_sorted());
        }
    }
}
