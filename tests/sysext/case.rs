//! An image in a few words, and its way through the rooms.
//!
//! A layer is lines such as `f PATH CONTENTS` (`\n` is a newline), `d PATH [MODE]`,
//! `l PATH TARGET`, `h PATH TARGET` (a hard link), `p PATH` (a fifo), `w PATH` (a whiteout),
//! `o PATH` (an opaque directory).

use oci2sysext::base::{self, Base};
use oci2sysext::error::{self, Error};
use oci2sysext::layer::{self, LayerOptions};
use oci2sysext::limits::Limits;
use oci2sysext::oci::Platform;
use oci2sysext::report::Changes;
use oci2sysext::selinux::FileContexts;
use oci2sysext::sysext::{self, Fates, Labeller, Repair, Sysext, SysextOptions};
use oci2sysext::tree::{Timestamp, split};
use oci2sysext::verify::{Blob, Verified};

use crate::blob::{Layer, MemorySink};
use crate::tars::{Header, Tar};

/// The tar of a layer.
pub fn tar(text: &str) -> Vec<u8> {
    let mut tar = Tar::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let (kind, path) = (words.next().unwrap(), words.next().unwrap().as_bytes());
        let rest = words.next().unwrap_or_default();
        let (parent, name) = split(path).unwrap();
        let mark = |name: &[u8]| {
            let parent = if parent.is_empty() { Vec::new() } else { [parent, b"/"].concat() };
            [&parent[..], b".wh.", name].concat()
        };
        tar = match kind {
            "f" => tar.file(path, rest.replace("\\n", "\n").as_bytes()),
            "d" => {
                let mode = u16::from_str_radix(rest, 8).unwrap_or(0o755);
                let header = Header::new(b'5', path, 0);
                tar.header(header.with(100, format!("{mode:07o}\0").as_bytes()))
            }
            "l" => tar.symlink(path, rest.as_bytes()),
            "h" => tar.hard_link(path, rest.as_bytes()),
            "p" => tar.header(Header::new(b'6', path, 0)),
            "w" => tar.file(&mark(name), b""),
            "o" => tar.file(&[path, b"/.wh..wh..opq"].concat(), b""),
            _ => panic!("{line}"),
        };
    }
    tar.end()
}

/// An image: lower layers, lowest first, and the extension's.
pub struct Image {
    pub lower: Vec<Layer>,
    pub extension: Layer,
}

/// What came of an image.
pub struct Done {
    pub sysext: Sysext<Vec<u8>>,
    pub changes: Changes,
    pub sink: MemorySink,
}

impl Image {
    pub fn new(lower: &[&str], extension: &str) -> Self {
        let layer = |text: &&str| Layer::tar(&tar(text));
        Self { lower: lower.iter().map(layer).collect(), extension: layer(&extension) }
    }

    /// The base, and how often a layer was asked for.
    pub fn base(&self, policy: bool) -> (Result<Base, Error>, Vec<usize>) {
        let limits = Limits::default();
        let mut asked = Vec::new();
        let fates = Fates::default();
        let options =
            LayerOptions { limits: &limits, fate: &|path| fates.fate(path), keep_ima: false };
        let blob = self.extension.blob();
        let extension = match layer::read(&blob, &options, &mut MemorySink::default()) {
            Ok(extension) => extension,
            Err(error) => return (Err(error.into()), asked),
        };
        let query = base::Query {
            extension: &extension,
            lower_layers: self.lower.len(),
            policy,
            ostree: None,
            sources: base::Sources::default(),
            limits: &limits,
        };
        let base = base::read(&query, &mut |index| {
            asked.push(index);
            Ok::<Verified<Blob>, Error>(self.lower[index].blob())
        });
        (base, asked)
    }

    /// The whole way from the layers to the extension; labels where `policy` says so.
    pub fn convert(&self, options: &SysextOptions<'_>, policy: bool) -> Result<Done, Error> {
        let base = self.base(policy).0?;
        let contexts = if policy {
            let contexts = FileContexts::parse(base.require_policy()?)?;
            contexts.check()?;
            Some(contexts)
        } else {
            None
        };
        let lookup = contexts
            .as_ref()
            .map(|contexts| move |path: &[u8], file_type: u16| contexts.lookup(path, file_type));
        let labeller = lookup.as_ref().map(|lookup| -> &Labeller<'_> { lookup });
        let options = SysextOptions { labeller, ..options.clone() };
        let fates =
            Fates { keep_caches: options.keep_caches, state: options.repairs.has(Repair::State) };
        let layer_options = LayerOptions {
            limits: &options.limits,
            fate: &|path| fates.fate(path),
            keep_ima: false,
        };
        let (mut sink, mut changes) = (MemorySink::default(), Changes::default());
        let layer = layer::read(&self.extension.blob(), &layer_options, &mut sink)?;
        let sysext = sysext::convert(layer, &base, &options, &mut sink, &mut changes)?;
        Ok(Done { sysext, changes, sink })
    }
}

pub fn options() -> SysextOptions<'static> {
    let platform =
        Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None };
    SysextOptions::plain("x", platform, Timestamp { sec: 77, nsec: 0 })
}

/// The exit code of an error as a number.
pub fn exit(error: &Error) -> u8 {
    use error::ExitCode as E;
    match error.fault().exit_code() {
        E::Usage => 2,
        E::Identity => 5,
        E::Malformed => 7,
        E::Audit => 8,
        E::Limit => 9,
        other => panic!("{other:?}"),
    }
}
