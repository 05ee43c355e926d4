//! `etc`: the state of one machine is dropped, from `usr/etc` too (R20); the defaults that are
//! left move to `usr/etc` (R21), where a name may be only once (row 68).

use super::Error;
use super::rules::{self, Rule};
use super::work::Work;
use crate::layer::Stored;
use crate::report::Changes;
use crate::tree::{Ino, Tree};

const DEFAULTS: Rule = Rule { id: "R21", reason: "a default of the extension" };

pub(super) fn run<C>(work: &mut Work<C>, changes: &mut Changes) -> Result<(), Error> {
    work.drop_where(rules::etc_state, changes);
    let Some(etc) = work.tree.lookup(b"etc") else { return Ok(()) };
    match work.tree.directory(etc) {
        // Not a directory: it is dropped with whatever else is outside usr.
        None => return Ok(()),
        Some(entries) if entries.is_empty() => {
            let rule = Rule { id: "R21", reason: "nothing is left in it" };
            work.drop_path(b"etc", rule, changes);
            return Ok(());
        }
        Some(_) => {}
    }
    work.move_directory(b"etc", b"usr/etc", DEFAULTS, changes, &mut |tree, path, there| {
        Err(two_places(tree, path, there))
    })
}

fn two_places<C>(tree: &Tree<Stored<C>>, path: (&[u8], Ino), there: (&[u8], Ino)) -> Error {
    Error::TwoPlaces {
        path: path.0.to_vec(),
        found: tree.inode(path.1).content.type_name(),
        target: there.0.to_vec(),
        there: tree.inode(there.1).content.type_name(),
    }
}
