//! A simple model of a build: a flat list of paths that steps change, and what each step leaves as
//! a layer. It knows nothing of how the program merges layers.

use std::collections::{BTreeMap, BTreeSet};

use crate::tars::{Header, Tar};

/// A path of the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Directory {
        mode: u16,
    },
    Symlink {
        target: String,
    },
    /// Files of one number are one file.
    File {
        number: usize,
        contents: String,
    },
}

/// What a step wants to do; what makes no sense is left out.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// One of [`ACTIONS`].
    pub action: u8,
    pub path: u8,
    pub other: u8,
}

pub const ACTIONS: u8 = 9;

/// A build: what the paths are now, and the layers of the steps so far.
#[derive(Clone, Debug)]
pub struct Build {
    pub paths: BTreeMap<Vec<String>, Node>,
    pub layers: Vec<Vec<u8>>,
    files: usize,
}

/// What the step that is being taken has touched: no path twice.
struct Step {
    tar: Tar,
    given: BTreeSet<Vec<String>>,
    linked: BTreeSet<Vec<String>>,
}

impl Build {
    pub fn new() -> Self {
        Self { paths: BTreeMap::new(), layers: Vec::new(), files: 0 }
    }

    /// Takes a step.
    pub fn step(&mut self, wishes: &[Wish]) {
        let (given, linked) = (BTreeSet::new(), BTreeSet::new());
        let mut step = Step { tar: Tar::new(), given, linked };
        for top in ["etc", "opt", "usr"] {
            let path = vec![top.to_owned()];
            step.tar = step.tar.dir(top.as_bytes());
            self.paths.insert(path, Node::Directory { mode: 0o755 });
        }
        for wish in wishes {
            self.act(*wish, &mut step);
        }
        self.layers.push(step.tar.end());
    }

    fn act(&mut self, wish: Wish, step: &mut Step) {
        let path = path(wish.path);
        let parent = path[..path.len() - 1].to_vec();
        let name = path.join("/");
        let tar = std::mem::take(&mut step.tar);
        step.tar = tar.clone();
        let is_directory = |path: &Vec<String>| {
            path.is_empty() || matches!(self.paths.get(path), Some(Node::Directory { .. }))
        };
        let is_free = |path: &Vec<String>| {
            let below = |given: &Vec<String>| given.starts_with(path);
            !step.given.iter().any(below) && !step.linked.iter().any(below)
        };
        if !is_directory(&parent) || !is_free(&path) {
            return;
        }
        let node = match wish.action {
            0..=2 => {
                self.files += 1;
                let contents = format!("file {} {}", self.files, "x".repeat(wish.other.into()));
                step.tar = tar.file(name.as_bytes(), contents.as_bytes());
                Node::File { number: self.files, contents }
            }
            3 => {
                let mode = 0o700 | u16::from(wish.other & 0o77);
                let header = Header::new(b'5', name.as_bytes(), 0);
                step.tar = tar.header(header.with(100, format!("{mode:07o}\0").as_bytes()));
                if is_directory(&path) {
                    // Its entries stay.
                    self.paths.insert(path.clone(), Node::Directory { mode });
                    step.given.insert(path);
                    return;
                }
                Node::Directory { mode }
            }
            4 => {
                let target = format!("{}", wish.other);
                step.tar = tar.symlink(name.as_bytes(), target.as_bytes());
                Node::Symlink { target }
            }
            5 | 6 => {
                let target = self::path(wish.other);
                let Some(node) = self.paths.get(&target).filter(|_| target != path) else { return };
                if matches!(node, Node::Directory { .. }) || target.starts_with(&path) {
                    return;
                }
                let node = node.clone();
                step.tar = tar.hard_link(name.as_bytes(), target.join("/").as_bytes());
                step.linked.insert(target);
                node
            }
            7 => {
                // Of the base, where the extension has nothing.
                let whiteout = format!("{}/.wh.{}", parent.join("/"), path.last().unwrap());
                step.tar = tar.file(whiteout.as_bytes(), b"");
                self.remove(&path);
                step.given.insert(path);
                return;
            }
            _ => {
                if !is_directory(&path) {
                    return;
                }
                step.tar =
                    tar.dir(name.as_bytes()).file(format!("{name}/.wh..wh..opq").as_bytes(), b"");
                self.remove(&path);
                Node::Directory { mode: 0o755 }
            }
        };
        self.remove(&path);
        self.paths.insert(path.clone(), node);
        step.given.insert(path);
    }

    fn remove(&mut self, path: &[String]) {
        self.paths.retain(|other, _| !other.starts_with(path));
    }

    /// What the build leaves where it makes one layer only: in the order in which builders walk a
    /// directory, a file under its first name.
    pub fn whole(&self) -> Vec<u8> {
        let mut first: BTreeMap<usize, String> = BTreeMap::new();
        let mut tar = Tar::new();
        for (path, node) in &self.paths {
            let name = path.join("/");
            tar = match node {
                Node::Directory { mode } => {
                    let header = Header::new(b'5', name.as_bytes(), 0);
                    tar.header(header.with(100, format!("{mode:07o}\0").as_bytes()))
                }
                Node::Symlink { target } => tar.symlink(name.as_bytes(), target.as_bytes()),
                Node::File { number, contents } => {
                    let target = first.entry(*number).or_insert_with(|| name.clone());
                    if *target == name {
                        tar.file(name.as_bytes(), contents.as_bytes())
                    } else {
                        tar.hard_link(name.as_bytes(), target.as_bytes())
                    }
                }
            };
        }
        tar.end()
    }

    /// Each path with what it is: type, mode, contents or target, and the file's first name.
    pub fn list(&self) -> BTreeMap<String, String> {
        let mut first: BTreeMap<usize, String> = BTreeMap::new();
        let line = |(path, node): (&Vec<String>, &Node)| {
            let name = path.join("/");
            let line = match node {
                Node::Directory { mode } => format!("directory {mode:o}"),
                Node::Symlink { target } => format!("symlink {target}"),
                Node::File { number, contents } => {
                    let first = first.entry(*number).or_insert_with(|| name.clone());
                    format!("file {contents} of {first}")
                }
            };
            (name, line)
        };
        self.paths.iter().map(line).collect()
    }
}

/// One of a few paths, so that steps meet.
pub fn path(number: u8) -> Vec<String> {
    let number = usize::from(number);
    let top = ["usr", "usr", "usr", "etc", "opt"][number % 5];
    let mut path = vec![top.to_owned()];
    let mut rest = number / 5;
    for _ in 0..=rest % 3 {
        path.push(["a", "b", "a-b", "c"][rest / 3 % 4].to_owned());
        rest /= 2;
    }
    path
}
