//! Where inodes go: none wider than a block crosses one, and small ones fill the gaps.

use std::collections::BTreeMap;

use super::BLOCK;
use super::format::EROFS_ISLOTBITS;

/// The unit of inode numbers, in bytes.
const SLOT: u64 = 1 << EROFS_ISLOTBITS;

/// What an inode needs, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The inode and what stands behind it without being bound to a block.
    pub free: u64,
    /// The tail behind that, which must lie in one block.
    pub tail: u64,
}

/// Gives places to inodes, one after the other.
#[derive(Debug)]
pub struct Layout {
    end: u64,
    /// Gaps within blocks by their length: where they start.
    gaps: BTreeMap<u64, Vec<u64>>,
}

impl Layout {
    /// An empty area. Inode number 0 stays free: some programs take it for a deleted entry.
    pub fn new() -> Self {
        Self { end: SLOT, gaps: BTreeMap::new() }
    }

    /// The place of the next inode, in bytes from the start of the area.
    pub fn place(&mut self, need: Need) -> u64 {
        let total = need.free + need.tail;
        let fitting = self.gaps.range_mut(total..).next();
        if let Some((&length, starts)) = fitting {
            let start = starts.pop();
            if starts.is_empty() {
                self.gaps.remove(&length);
            }
            if let Some(start) = start {
                let used = total.next_multiple_of(SLOT);
                self.add_gap(start + used, length.saturating_sub(used));
                return start;
            }
        }
        self.append(need)
    }

    /// A place behind all others.
    pub fn append(&mut self, need: Need) -> u64 {
        let total = need.free + need.tail;
        let mut start = self.end;
        let left = BLOCK - start % BLOCK;
        if total <= BLOCK {
            if total > left {
                start += left;
            }
        } else {
            // Ends, because a tail leaves 64 bytes: of two places in a row one is good.
            while !fits(start, need) {
                start += SLOT;
            }
        }
        self.add_gap(self.end, start - self.end);
        self.end = (start + total).next_multiple_of(SLOT);
        start
    }

    /// The end of the area.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Remembers a gap, cut at the block that ends in it, if one does.
    fn add_gap(&mut self, start: u64, length: u64) {
        let first = length.min(BLOCK - start % BLOCK);
        for (start, length) in [(start, first), (start + first, length - first)] {
            if length >= SLOT {
                self.gaps.entry(length).or_default().push(start);
            }
        }
    }
}

/// Whether the inode and the tail are in one block each.
fn fits(start: u64, need: Need) -> bool {
    let inode = start % BLOCK + 2 * SLOT <= BLOCK;
    inode && (need.tail == 0 || (start + need.free) % BLOCK + need.tail <= BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps_and_tails_stay_in_their_block() {
        let mut layout = Layout::new();
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for n in 0..3000u64 {
            let need = match n % 7 {
                0 => Need { free: 32, tail: n * 37 % 4000 },
                1 => Need { free: 64 + n * 11 % 9000, tail: 0 },
                2 => Need { free: 64 + n * 13 % 9000 / 4 * 4, tail: n * 17 % 4032 },
                _ => Need { free: 48, tail: n % 100 },
            };
            let start = layout.place(need);
            assert_eq!(start % SLOT, 0);
            assert!(start >= SLOT && start % BLOCK + 32 <= BLOCK);
            if need.tail > 0 {
                assert!((start + need.free) % BLOCK + need.tail <= BLOCK, "{need:?} at {start}");
            }
            taken.push((start, start + need.free + need.tail));
        }
        taken.sort_unstable();
        assert!(taken.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        assert!(taken.last().unwrap().1 <= layout.end());
        let used: u64 = taken.iter().map(|(start, end)| end - start).sum();
        assert!(layout.end() < used + used / 20, "{} for {used}", layout.end());
    }
}
