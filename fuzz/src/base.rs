//! A base: what is asked of the lower layers of an image.
//!
//! Input: lines that say what the layers hold, the lowest first: `/` starts another layer, and
//! `TYPE PATH=CONTENTS` is an entry, with the type flag of tar; contents are the target of a link.
//!
//! - Reading ends, however symlinks and hard links lead.
//! - os-release is what one of the layers has as a file's contents.
//! - Other compression of a layer, and an empty layer anywhere, change nothing.

use oci2sysext::base::{self, Base, Query, Sources, os_release};
use oci2sysext::error::Error;
use oci2sysext::layer::{self, Fate, LayerOptions};
use oci2sysext::limits::Limits;

use super::blob::{Layer, MemorySink};
use super::layers;
use super::tars::Tar;

pub fn run(data: &[u8]) {
    let mut texts = Vec::new();
    let layers = layers::read(data, 4, &mut |contents| {
        let text = contents.split(|&byte| byte == b';').collect::<Vec<_>>().join(&b'\n');
        texts.push(text.clone());
        text
    });
    let base = read(&layers, Layer::tar);
    if let Ok(found) = &base {
        let variables = found.os_release();
        let is_of = |text: &Vec<u8>| os_release::parse(text).ok().as_ref() == variables;
        assert!(variables.is_none() || texts.iter().any(is_of));
    }
    let base = shown(base);
    assert_eq!(shown(read(&layers, Layer::gzip)), base);
    for place in 0..=layers.len() {
        let mut more = layers.clone();
        more.insert(place, Tar::new().end());
        assert_eq!(shown(read(&more, Layer::tar)), base);
    }
}

fn read(layers: &[Vec<u8>], pack: fn(&[u8]) -> Layer) -> Result<Base, Error> {
    let limits = Limits::default();
    let options = LayerOptions { limits: &limits, fate: &|_| Fate::Keep, keep_ima: false };
    let extension = Tar::new().file(b"usr/lib/a", b"").file(b"usr/sbin/b", b"").end();
    let extension = Layer::tar(&extension).blob();
    let extension = layer::read(&extension, &options, &mut MemorySink::default()).unwrap();
    let lower_layers = layers.len();
    let query = Query {
        extension: &extension,
        lower_layers,
        policy: true,
        ostree: None,
        sources: Sources::default(),
        limits: &limits,
    };
    base::read(&query, &mut |place: usize| Ok(pack(&layers[place]).blob()))
}

/// All that is to be compared.
fn shown(base: Result<Base, Error>) -> Option<String> {
    let base = base.ok()?;
    let paths: Vec<_> = ["usr", "usr/lib", "usr/sbin", "usr/sbin/b", "bin", "usr/lib/a"]
        .iter()
        .map(|path| base.path(path.as_bytes()))
        .collect();
    Some(format!("{:?} {:?} {:?} {paths:?}", base.os_release(), base.policy(), base.accounts()))
}

pub fn seeds() -> Vec<Vec<u8>> {
    super::testdata::texts(&[
        "5 usr/=\n0 usr/lib/os-release=ID=fedora;VERSION_ID=43\n2 etc/os-release=../usr/lib/os-release\n/\n0 etc/.wh.os-release=\n",
        "0 etc/selinux/config=SELINUXTYPE=targeted\n0 etc/selinux/targeted/contexts/files/file_contexts=/usr(/.*)? system_u:object_r:usr_t:s0\n0 usr/lib/os-release=ID=x\n",
        "2 etc=usr/etc\n2 usr/etc=../etc\n0 usr/lib/os-release=ID=x\n",
        "0 a=ID=y\n/\n1 usr/lib/os-release=a\n2 usr/sbin=bin\n5 usr/bin=\n",
        "0 a=ID=y\n/\n1 usr/lib/os-release=a\n/\n0 a=ID=z\n/\n1 usr/a=usr/lib/os-release\n0 .wh.a=\n",
        "0 usr/lib/passwd=root:x:0:0:::\n2 lib=usr/lib\n0 lib/os-release=ID=z\n/\n0 usr/.wh..wh..opq=\n",
    ])
}
