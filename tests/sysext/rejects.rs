//! Named rejects: `testdata/reject/sysext/NAME/case.txt` is an image in the words of [`case`]
//! (sections `base`, which may be there several times, lowest first, and `layer`), options, and
//! what the run must end with.

use std::path::PathBuf;

use oci2sysext::sysext::Whiteouts;

use crate::case::{Image, exit, options};

#[derive(Default)]
struct Case {
    layers: Vec<String>,
    extension: String,
    options: String,
    expect: String,
}

fn parse(text: &str) -> Case {
    let mut case = Case::default();
    let mut section = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            if section == "base" {
                case.layers.push(String::new());
            }
            continue;
        }
        let into = match section {
            "base" => case.layers.last_mut().unwrap(),
            "layer" => &mut case.extension,
            "options" => &mut case.options,
            "expect" => &mut case.expect,
            other => panic!("{other:?}: {line}"),
        };
        into.push_str(line);
        into.push('\n');
    }
    case
}

#[test]
fn every_named_reject_is_refused() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/reject/sysext");
    let mut names: Vec<_> =
        std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert!(names.len() >= 15);
    for name in names {
        let case = parse(&std::fs::read_to_string(root.join(&name).join("case.txt")).unwrap());
        let lower: Vec<&str> = case.layers.iter().map(String::as_str).collect();
        let mut options = options();
        let mut policy = false;
        for option in case.options.split_whitespace() {
            match option {
                "--selinux=image" => policy = true,
                "--any-host" => options.any_host = true,
                "--deny=setuid" => options.deny.setuid = true,
                "--whiteouts=refuse" => options.whiteouts = Whiteouts::Refuse,
                other => panic!("{other}"),
            }
        }
        let result = Image::new(&lower, &case.extension).convert(&options, policy);
        let Err(error) = result else { panic!("{} was accepted", name.display()) };
        let fault = error.fault();
        let found =
            format!("exit {}\nid {}\n{fault}\n{}\n", exit(&error), fault.id(), fault.advice());
        if std::env::var_os("O2S_BLESS").is_some() {
            let path = root.join(&name).join("case.txt");
            let text = std::fs::read_to_string(&path).unwrap();
            let (head, _) = text.split_once("[expect]\n").unwrap();
            std::fs::write(path, format!("{head}[expect]\n{found}")).unwrap();
        } else {
            assert_eq!(found, case.expect, "{}", name.display());
        }
        assert_eq!(fault.to_string().lines().count(), 1, "{}", name.display());
    }
}
