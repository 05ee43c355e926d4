//! os-release.
//!
//! - Names are names of shell variables, and no value has a NUL or a line end.
//! - All variables, written with every quote and backslash escaped and read again, are the same.

use std::fmt::Write;

use oci2sysext::base::os_release;

pub fn run(data: &[u8]) {
    let Ok(variables) = os_release::parse(data) else { return };
    let mut text = String::new();
    for (name, value) in &variables {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        assert!(!name.is_empty() && !name.as_bytes()[0].is_ascii_digit());
        assert!(!value.contains(['\0', '\n']));
        let mut quoted = String::new();
        for c in value.chars() {
            quoted.extend(matches!(c, '"' | '\\' | '$' | '`').then_some('\\'));
            quoted.push(c);
        }
        writeln!(text, "{name}=\"{quoted}\"").unwrap();
    }
    assert_eq!(os_release::parse(text.as_bytes()).unwrap(), variables);
}

pub fn seeds() -> Vec<Vec<u8>> {
    super::testdata::texts(&[
        "# x\n; y=z\nID=fedora\n\nVERSION_ID='43'\nE=\n",
        "NAME=\"Fedora \\\"Linux\\\" \\$1 a\\b\"\r\nA=b\\ c d \nID=other",
        "ID=\"x\nID=x\\\nID='x",
    ])
}
