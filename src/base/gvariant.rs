//! `GVariant`s, as far as ostree's objects have them: members of variable size end where an offset
//! at the end of their container says (`GVariant` specification, 2.5).
//!
//! Nothing here is aligned: the objects' numbers come first in their containers.

/// A tuple, whose offsets are behind its members, that of the first one last.
pub(super) struct Tuple<'o> {
    bytes: &'o [u8],
    offsets: usize,
    size: usize,
}

impl<'o> Tuple<'o> {
    /// Takes bytes for a tuple with so many offsets.
    pub fn new(bytes: &'o [u8], offsets: usize) -> Option<Self> {
        let size = offset_size(bytes.len());
        (bytes.len() >= offsets * size).then_some(Self { bytes, offsets, size })
    }

    /// All bytes but the offsets.
    pub fn members(&self) -> &'o [u8] {
        let end = self.bytes.len() - self.offsets * self.size;
        self.bytes.get(..end).unwrap_or_default()
    }

    /// Where a member ends that has an offset.
    pub fn end(&self, number: usize) -> Option<usize> {
        let at = self.bytes.len().checked_sub((number + 1) * self.size)?;
        offset(self.bytes.get(at..at + self.size)?, self.members().len())
    }
}

/// The elements of an array, whose offsets are behind them, in order.
pub(super) fn array(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let size = offset_size(bytes.len());
    let last = bytes.len().checked_sub(size)?;
    let end = offset(bytes.get(last..)?, bytes.len())?;
    let (elements, offsets) = bytes.split_at_checked(end)?;
    if !offsets.len().is_multiple_of(size) {
        return None;
    }
    let mut start = 0;
    let mut found = Vec::with_capacity(offsets.len() / size);
    for end in offsets.chunks_exact(size) {
        let end = offset(end, elements.len())?;
        found.push(elements.get(start..end)?);
        start = end;
    }
    Some(found)
}

/// The text of a string, without the zero at its end.
pub(super) fn string(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_last() {
        Some((0, text)) if !text.contains(&0) => Some(text),
        _ => None,
    }
}

/// The number of four bytes at a place, as ostree stores it: the other way round than `GVariant`s.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A container of `body`, with the ends of those members that have offsets, in the order in which
/// the offsets are stored.
pub(super) fn container(mut body: Vec<u8>, ends: &[usize]) -> Vec<u8> {
    let size = [1, 2, 4].into_iter().find(|size| {
        let length = body.len() + size * ends.len();
        offset_size(length) <= *size
    });
    let size = size.unwrap_or(8);
    for end in ends {
        body.extend(end.to_le_bytes().iter().take(size));
    }
    body
}

/// How many bytes an offset in a container has.
fn offset_size(length: usize) -> usize {
    match length {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

fn offset(bytes: &[u8], maximum: usize) -> Option<usize> {
    let value = bytes.iter().rev().fold(0_u64, |n, &byte| n << 8 | u64::from(byte));
    usize::try_from(value).ok().filter(|&value| value <= maximum)
}
