//! SELinux policies: one pattern against PCRE2, and whole files.
//!
//! Input: a path, a line end, and the text of a `file_contexts`.
//!
//! - A policy of one pattern, if it is accepted, has a label for no path that PCRE2, asked as
//!   libselinux does, does not match; and for all that it does, if the pattern is of one component.
//! - Of a whole policy, only labels that are in its text are given, and `<<none>>` only if it is.
//! - A second look at the same path gives the same, and slashes at the end or twice do not count.

use oci2sysext::selinux::{FileContexts, Lookup, PolicyFiles};
use pcre2::bytes::RegexBuilder;

const LABEL: &[u8] = b"system_u:object_r:usr_t:s0";

fn policy(file_contexts: Vec<u8>) -> PolicyFiles {
    PolicyFiles { policy_type: "targeted".to_owned(), file_contexts, ..PolicyFiles::default() }
}

pub fn run(data: &[u8]) {
    let Some(end) = data.iter().position(|&byte| byte == b'\n') else { return };
    let (path, text) = (&data[..end], &data[end + 1..]);
    let first = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    if path.len() < 100 && first.len() < 100 {
        one(first, path);
    }
    let Ok(contexts) = FileContexts::parse(&policy(text.to_vec())) else { return };
    let label = contexts.lookup(path, 0o100_000);
    match label {
        Lookup::Label(label) => assert!(text.windows(label.len()).any(|found| found == label)),
        Lookup::None => assert!(text.windows(8).any(|found| found == b"<<none>>")),
        Lookup::NoMatch => {}
    }
    assert_eq!(contexts.lookup(path, 0o100_000), label);
    let slashes: Vec<u8> = path
        .iter()
        .flat_map(|&byte| if byte == b'/' { vec![byte; 2] } else { vec![byte] })
        .collect();
    if !path.is_empty() && contexts.check().is_ok() {
        assert_eq!(contexts.lookup(&slashes, 0o100_000), label);
    }
}

/// One pattern, as libselinux would match it.
fn one(pattern: &[u8], path: &[u8]) {
    let is_clean = !path.ends_with(b"/") && !path.windows(2).any(|pair| pair == b"//");
    // libselinux compares a pattern without metacharacters; a `$` passes over a final line end.
    if !is_clean || path.is_empty() || pattern.starts_with(b"#") || pattern.contains(&0x0b) {
        return;
    }
    let line = [pattern, b" ", LABEL, b"\n"].concat();
    let Ok(contexts) = FileContexts::parse(&policy(line)) else { return };
    let is_match = contexts.lookup(path, 0) == Lookup::Label(LABEL);
    if contexts.check().is_err() {
        return;
    }
    let pattern = std::str::from_utf8(pattern).unwrap();
    let regex = RegexBuilder::new().dotall(true).build(&format!("^{pattern}$"));
    let Ok(regex) = regex else { return };
    if let Ok(expected) = regex.is_match(path) {
        let shown = path.escape_ascii();
        assert!(expected || !is_match, "{pattern:?} {shown}");
        // libselinux looks for a path where the pattern's first components lead, so that the path
        // `/a` is never compared with the pattern `/a/*`, nor any path with `|a/b`, though PCRE2 takes
        // it for a match.
        if pattern.rfind('/').is_none_or(|last| last == 0) {
            assert!(is_match || !expected, "{pattern:?} {shown}");
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let patterns = [
        ("/usr/bin/ls", "/usr/bin/[^/]*  --  system_u:object_r:bin_t:s0\n/usr(/.*)? -d <<none>>\n"),
        ("/usr/lib/a.so", "/usr/lib/[^/]*\\.so(\\.[^/]*)* -- system_u:object_r:lib_t:s0\n"),
        ("/a/b", "/(a|b)+(?!c)/.{1,2}? system_u:object_r:a_t:s0\n"),
        ("/x-y", "/x\\-[[:alpha:]] system_u:object_r:a_t:s0\n# comment\n\n"),
        ("/a/a(", "|b/bx-y system_u:object_r:a_t:s0\n"),
        ("/etc/shadow", "/etc/shadow.* -- system_u:object_r:shadow_t:s0\n"),
    ];
    patterns.map(|(path, text)| format!("{path}\n{text}").into_bytes()).into()
}
