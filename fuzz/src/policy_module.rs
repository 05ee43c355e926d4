//! Policy modules: packages, perhaps compressed, and CIL; and a policy with what they add.
//!
//! Input: `p` or `c`, and the module.
//!
//! - A module that is read can be added to an empty policy, and what comes of it is a policy.
//! - Adding it again adds nothing.
//! - A module takes no more than its budget.

use oci2sysext::selinux::module::{Language, Merged, Module};
use oci2sysext::selinux::{FileContexts, PolicyFiles};

const BUDGET: u64 = 1 << 20;

pub fn run(data: &[u8]) {
    let Some((language, bytes)) = data.split_first() else { return };
    let language = if *language == b'c' { Language::Cil } else { Language::Package };
    let mut budget = BUDGET;
    let module = Module::read(bytes, language, &mut budget);
    assert!(budget <= BUDGET);
    let Ok(module) = module else { return };
    let mut merged = Merged::of(&PolicyFiles::default()).unwrap();
    let added = merged.add(&module).unwrap();
    assert!(added <= module.len() && (added > 0 || module.is_empty()));
    assert_eq!(merged.add(&module).unwrap(), 0);
    let policy = PolicyFiles { file_contexts: merged.file_contexts(), ..PolicyFiles::default() };
    FileContexts::parse(&policy).unwrap();
    let again = Merged::of(&policy).unwrap().file_contexts();
    assert_eq!(again, policy.file_contexts);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let contexts = b"/usr/bin/demo\t--\tu:r:t:s0\n/usr/lib/demo(/.*)? u:r:t\n/x <<none>>\n";
    let mut package = Vec::new();
    for number in [0xf97c_ff8f_u32, 1, 2, 20, 24, 0xf97c_ff8d, 0xf97c_ff90] {
        package.extend(number.to_le_bytes());
    }
    package.extend(contexts);
    let cil = "(type t) ; x\n(block b (type t) (filecon \"/a(/.*)?\" any (u r t ((s0) (s0)))))\n\
               (filecon \"/usr/x\" file ())\n(typealias o)\n(typealiasactual o b.t)\n\
               (filecon \"/o\" dir (u r o ((s0) (s0))))\n(optional o (allow t t (file (read))))";
    vec![[b"p", &package[..]].concat(), [b"c", cil.as_bytes()].concat()]
}
