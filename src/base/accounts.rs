//! Users and groups by name, as passwd(5) and group(5) list them.

use std::collections::BTreeMap;

/// Where account files are: of the host, of an ostree deployment's defaults, of nss-altfiles.
pub const DIRECTORIES: [&str; 3] = ["etc", "usr/etc", "usr/lib"];

/// The accounts that a base has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// User ids by name.
    pub users: BTreeMap<Vec<u8>, u32>,
    /// Group ids by name.
    pub groups: BTreeMap<Vec<u8>, u32>,
}

/// Names and ids of a passwd or group file; lines that are neither are skipped.
pub fn parse(text: &[u8]) -> BTreeMap<Vec<u8>, u32> {
    text.split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b':');
            let (name, id) = (fields.next()?, fields.nth(1)?);
            let id = std::str::from_utf8(id).ok()?.parse().ok()?;
            (!name.is_empty()).then(|| (name.to_vec(), id))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_read() {
        let found =
            parse(b"root:x:0:0:root:/root:/bin/sh\n\nbad\nmc:x:977:\n+::::\nbig:x:99999999999:\n");
        assert_eq!(found, [(b"mc".to_vec(), 977), (b"root".to_vec(), 0)].into());
    }
}
