//! containers-storage on this host: where podman, buildah and skopeo keep the layers that they have
//! pulled, unpacked, with what is needed to assemble each one's archive anew.
//!
//! `layers.json` tells which layers there are, and of which `diff_id`. It is replaced whole whenever
//! it changes, and what is found by it counts only if it has that `diff_id` to the last byte: so no
//! lock is taken. What another program deletes meanwhile is fetched.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use super::beneath::{self, Directory};
use super::tar_split::{Assembly, Parts};
use crate::escape::Escaped;
use crate::json;
use crate::layer::{self, Assembled, Compression};
use crate::limits::Limits;
use crate::oci::Digest;

/// Where a driver has what: the list of layers with their archives, and the files of a layer, which
/// are below its ID, and maybe below another name.
const DRIVERS: [(&str, &str, &str); 2] =
    [("overlay-layers", "overlay", "/diff"), ("vfs-layers", "vfs/dir", "")];

/// The lists: of layers that stay, and of those that need not outlive a reboot.
const LISTS: [&str; 2] = ["layers.json", "volatile-layers.json"];

/// Bytes of such a list.
const MAX_LIST: u64 = 32 << 20;

/// How many layers of one `diff_id` are looked at: the same files above different ones below.
const MAX_PLACES: usize = 8;

/// A storage.
#[derive(Debug)]
pub struct Storage {
    directory: Directory,
    layers: HashMap<Digest, Vec<Place>>,
}

/// Where a layer is.
#[derive(Clone, Debug)]
struct Place {
    /// The archive without the contents of files.
    tar_split: String,
    /// The directory with the files.
    files: String,
}

/// A layer that a storage has.
#[derive(Debug)]
pub struct Archive {
    tar_split: beneath::Place,
    files: Directory,
}

impl Storage {
    /// Opens the storage in a directory.
    ///
    /// # Errors
    /// It cannot be read. A directory that is no storage has no layers.
    pub fn open(path: &Path) -> io::Result<Self> {
        let directory = Directory::open(path)?;
        let mut layers: HashMap<_, Vec<_>> = HashMap::new();
        for (list, files, below) in DRIVERS {
            for name in LISTS {
                let bytes = match directory.read(&format!("{list}/{name}"), MAX_LIST) {
                    Ok(bytes) => bytes,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                let found = parse(&bytes)
                    .map_err(|problem| io::Error::other(format!("{list}/{name}: {problem}")))?;
                for (diff_id, id) in found {
                    layers.entry(diff_id).or_default().push(Place {
                        tar_split: format!("{list}/{id}.tar-split.gz"),
                        files: format!("{files}/{id}{below}"),
                    });
                }
            }
        }
        Ok(Self { directory, layers })
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The layers that it says have a `diff_id`, each to be opened.
    pub fn layers(&self, diff_id: Digest) -> impl Iterator<Item = io::Result<Archive>> {
        self.layers.get(&diff_id).into_iter().flatten().take(MAX_PLACES).map(|place| {
            let tar_split = self.directory.look(place.tar_split.as_bytes())?;
            Ok(Archive { tar_split, files: self.directory.directory(&place.files)? })
        })
    }
}

impl Assembled for Archive {
    fn open<'a>(&'a self, limits: &'a Limits) -> io::Result<Box<dyn Read + 'a>> {
        // Members may be empty, and the file may grow while it is read.
        let stored = self.tar_split.open()?.take(limits.layer_size);
        let lines = layer::decompress(stored, Compression::Gzip, limits);
        let lines = BufReader::new(lines.map_err(io::Error::other)?);
        let open = |name: &[u8], size: u64| {
            self.contents(name, size).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", Escaped(name)))
            })
        };
        Ok(Box::new(Assembly::new(Parts::new(lines, limits), Box::new(open))))
    }
}

impl Archive {
    fn contents(&self, name: &[u8], size: u64) -> io::Result<Box<dyn Read>> {
        let place = self.files.look(name)?;
        let file = place.open()?;
        if place.size() != size {
            let found = place.size();
            return Err(io::Error::other(format!("found {found} bytes, expected {size}")));
        }
        Ok(Box::new(file))
    }
}

/// A layer of a list, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Listed {
    id: String,
    /// Not there while a layer is being unpacked, and of layers that somebody made.
    #[serde(default)]
    diff_digest: String,
}

/// The layers that a list has, by their `diff_id`, and the ID of each.
pub fn parse(bytes: &[u8]) -> Result<Vec<(Digest, String)>, String> {
    let listed: Vec<Listed> = json::from_slice(bytes).map_err(|error| json::message(&error))?;
    let mut found = Vec::new();
    for Listed { id, diff_digest } in listed {
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            let id: String = id.chars().take(80).collect();
            return Err(format!("found the ID {id:?}, expected 64 hexadecimal digits"));
        }
        // Other algorithms than the image's are of no use.
        if let Ok(diff_id) = diff_digest.parse() {
            found.push((diff_id, id));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_found_by_their_diff_id() {
        let digest = Digest::of(b"layer");
        let id = "a".repeat(64);
        let text = format!(
            r#"[{{"id":"{id}","diff-digest":"{digest}","diff-size":9,"uidset":[0]}},
                {{"id":"{id}"}}, {{"id":"{id}","diff-digest":"sha512:00"}}]"#
        );
        assert_eq!(parse(text.as_bytes()).unwrap(), [(digest, id)]);
        assert!(parse(b"[]").unwrap().is_empty());
    }

    #[test]
    fn what_a_list_has_fills_no_log() {
        let long = "x".repeat(1 << 20);
        for text in [format!("\"{long}\""), format!(r#"[{{"id":"{long}"}}]"#)] {
            assert!(parse(text.as_bytes()).unwrap_err().len() < 400);
        }
    }

    #[test]
    fn a_tar_split_of_nothing_but_members_has_an_end() {
        use std::fs;

        let place = tempfile::tempdir().unwrap();
        let (diff_id, id) = (Digest::of(b"layer"), "a".repeat(64));
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("overlay-layers")).unwrap();
        fs::create_dir_all(path(&format!("overlay/{id}/diff"))).unwrap();
        let list = format!(r#"[{{"id":"{id}","diff-digest":"{diff_id}"}}]"#);
        fs::write(path("overlay-layers/layers.json"), list).unwrap();
        let member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        let members = member.finish().unwrap().repeat(1000);
        fs::write(path(&format!("overlay-layers/{id}.tar-split.gz")), members).unwrap();
        let storage = Storage::open(place.path()).unwrap();
        let archive = storage.layers(diff_id).next().unwrap().unwrap();
        let read = |layer_size| {
            let limits = Limits { layer_size, ..Limits::default() };
            archive.open(&limits).and_then(|mut bytes| bytes.read_to_end(&mut Vec::new()))
        };
        assert_eq!(read(1 << 20).unwrap(), 0);
        assert!(read(1 << 10).is_err());
    }

    #[test]
    fn named_rejects() {
        for (text, expected) in [
            ("", "EOF while parsing a value"),
            ("{}", "invalid type: map"),
            ("[{}]", "missing field `id`"),
            ("[[\"a\"]]", "invalid type: sequence"),
            (r#"[{"id":"../../etc","diff-digest":""}]"#, "found the ID \"../../etc\""),
            (r#"[{"id":1}]"#, "invalid type: integer"),
            ("[] []", "trailing characters"),
        ] {
            let found = parse(text.as_bytes()).unwrap_err();
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
