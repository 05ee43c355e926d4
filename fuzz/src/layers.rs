//! Layers in a language of lines: `FLAG PATH=CONTENTS` is an entry, `/` begins the next layer.

use super::tars::Tar;

/// At most `most` layers; `text` gives what a file is to have for its contents in the line.
pub fn read(data: &[u8], most: usize, text: &mut dyn FnMut(&[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut layers = vec![Tar::new()];
    for line in data.split(|&byte| byte == b'\n').take(40) {
        if line == b"/" && layers.len() < most {
            layers.push(Tar::new());
            continue;
        }
        let Some(equals) = line.iter().position(|&byte| byte == b'=') else { continue };
        let ([flag, b' ', path @ ..], contents) = (&line[..equals], &line[equals + 1..]) else {
            continue;
        };
        if path.len() > 99 || contents.len() > 99 {
            continue;
        }
        let tar = layers.pop().unwrap_or_default();
        layers.push(match flag {
            b'1' => tar.hard_link(path, contents),
            b'2' => tar.symlink(path, contents),
            b'5' => tar.dir(path),
            _ => tar.file(path, &text(contents)),
        });
    }
    layers.into_iter().map(Tar::end).collect()
}
