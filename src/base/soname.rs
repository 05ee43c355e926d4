//! The name by which programs ask for a library (`DT_SONAME`, ELF gABI): another one, and they do
//! not find it.

use elf::ElfBytes;
use elf::abi::{DT_SONAME, DT_STRSZ, DT_STRTAB, PT_LOAD};
use elf::endian::AnyEndian;

/// The name in a library's bytes; none if it has none, or is no ELF file that can be read.
pub fn soname(bytes: &[u8]) -> Option<String> {
    let file = ElfBytes::<AnyEndian>::minimal_parse(bytes).ok()?;
    let (mut name, mut table, mut length) = (None, None, None);
    for entry in file.dynamic().ok()?? {
        match entry.d_tag {
            DT_SONAME => name = Some(entry.d_val()),
            DT_STRTAB => table = Some(entry.d_ptr()),
            DT_STRSZ => length = Some(entry.d_val()),
            _ => {}
        }
    }
    let (name, table, length) = (name?, table?, length?);
    // The table is told by where it is in memory.
    let offset = file.segments()?.iter().find_map(|segment| {
        let within = table.checked_sub(segment.p_vaddr)?;
        let is_there = segment.p_type == PT_LOAD && within < segment.p_filesz;
        is_there.then(|| segment.p_offset.checked_add(within))?
    })?;
    let table = slice(bytes, offset, length)?;
    let rest = table.get(usize::try_from(name).ok()?..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    let name = std::str::from_utf8(rest.get(..end)?).ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn slice(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let end = usize::try_from(offset.checked_add(length)?).ok()?;
    bytes.get(usize::try_from(offset).ok()?..end)
}
