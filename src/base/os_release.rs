//! os-release(5): `NAME=value` lines, with the quoting of a shell and nothing else of it. As for
//! systemd, blanks need no quotes.

use std::collections::BTreeMap;

/// A line that os-release(5) does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    /// The line's number, from 1.
    pub line: usize,
    /// What was found, and what was expected.
    pub problem: &'static str,
}

/// Reads the variables; the last of a name counts, as for a shell.
pub fn parse(text: &[u8]) -> Result<BTreeMap<String, String>, SyntaxError> {
    let mut variables = BTreeMap::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let error = |problem| SyntaxError { line: index + 1, problem };
        let line =
            std::str::from_utf8(line).map_err(|_| error("found bytes that are not UTF-8"))?;
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let (name, value) =
            line.split_once('=').ok_or_else(|| error("found no =, expected NAME=value"))?;
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if name.is_empty() || !is_name {
            return Err(error("found a name that no shell variable can have"));
        }
        let value = unquote(value).map_err(error)?;
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

fn unquote(text: &str) -> Result<String, &'static str> {
    if text.contains('\0') {
        return Err("found NUL in a value");
    }
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            ('\\', None) => value.push(chars.next().ok_or("found a backslash at the end")?),
            ('\\', Some('"')) => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
                None => return Err("found a backslash at the end"),
            },
            _ => value.push(c),
        }
    }
    match quote {
        None => Ok(value),
        Some(_) => Err("found a quote that does not end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unquoted() {
        let text = b"# x\n; y=z\nID=fedora\n\nVERSION_ID='43'\nNAME=\"Fedora \\\"Linux\\\" \\$1 a\\b\"\nA=b\\ c d \r\nID=other\nE=\n";
        let found = parse(text).unwrap();
        let found: Vec<_> = found.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(
            found,
            [
                ("A", "b c d"),
                ("E", ""),
                ("ID", "other"),
                ("NAME", "Fedora \"Linux\" $1 a\\b"),
                ("VERSION_ID", "43"),
            ]
        );
    }

    #[test]
    fn nul_behind_a_backslash_is_refused() {
        for bad in ["ID=\0", "ID=\\\0", "ID=\"\\\0\"", "ID='\0'"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_assignment_is_refused() {
        for bad in ["ID", "=x", "1D=x", "I D=x", "ID=\"x", "ID=x\\", "ID='x", "ID=\"x\\"] {
            assert_eq!(parse(bad.as_bytes()).unwrap_err().line, 1, "{bad}");
        }
        assert!(parse(b"A=1\nB=\xff").is_err());
    }
}
