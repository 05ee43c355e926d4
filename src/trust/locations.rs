//! Where configuration is looked for: root's is the system's, everybody else's may be their own.
//!
//! As root neither the environment nor a home directory is asked: under sudo they are the
//! attacker's (verification.md §1.7).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The files that are read where the command line names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locations {
    /// A policy.json that must be there (`$CONTAINERS_POLICY_JSON`).
    pub named_policy: Option<PathBuf>,
    /// Where policy.json may be; the first that exists counts.
    pub policies: Vec<PathBuf>,
    /// Where registries.d may be; the first that exists counts.
    pub registries_d: Vec<PathBuf>,
    /// Where registries.conf and its directories are.
    pub registries_conf: RegistriesConfFiles,
    /// Where the state is kept; none if there is no place for it.
    pub state: Option<PathBuf>,
    /// Where `oci2sysext trust update` puts the trust root; none if there is no place for it.
    pub trusted_root: Option<PathBuf>,
    /// Where listings of base layers are kept; none if there is no place for them.
    pub cache: Option<PathBuf>,
    /// Where storages of container images are.
    pub storages: StorageFiles,
    /// Where ostree repositories may be.
    pub repositories: Vec<PathBuf>,
}

/// What says where storages of container images are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageFiles {
    /// Where storage.conf may be; the first that exists counts.
    pub files: Vec<StorageConf>,
    /// The storage where no such file names one.
    pub graphroot: Option<PathBuf>,
    /// More of them.
    pub more: Vec<PathBuf>,
}

/// A storage.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConf {
    /// Its path.
    pub path: PathBuf,
    /// Whether the storage that it names is this user's; the system's file names root's.
    pub is_own: bool,
}

/// The files that say where images are fetched from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistriesConfFiles {
    /// `registries.conf`
    pub main: Option<PathBuf>,
    /// Directories with more of them, the later ones with the last word.
    pub directories: Vec<PathBuf>,
}

/// A variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Locations {
    /// The places of a user, or of root.
    pub fn new(as_root: bool, env: Env<'_>) -> Self {
        Self::below(Path::new("/"), as_root, env)
    }

    /// The places of whoever runs this.
    pub fn of_user() -> Self {
        let as_root = rustix::process::geteuid().is_root();
        Self::new(as_root, &|name: &str| std::env::var_os(name))
    }

    /// The same with another root directory.
    fn below(root: &Path, as_root: bool, env: Env<'_>) -> Self {
        let etc = root.join("etc/containers");
        let system = Self {
            named_policy: None,
            policies: vec![etc.join("policy.json"), root.join("usr/share/containers/policy.json")],
            registries_d: vec![etc.join("registries.d")],
            registries_conf: RegistriesConfFiles {
                main: existing(etc.join("registries.conf")),
                directories: vec![etc.join("registries.conf.d")],
            },
            state: Some(root.join("var/lib/oci2sysext/state")),
            trusted_root: Some(root.join("var/lib/oci2sysext/trusted_root.json")),
            cache: Some(root.join("var/cache/oci2sysext")),
            storages: StorageFiles {
                files: [etc, root.join("usr/share/containers")]
                    .map(|place| StorageConf { path: place.join("storage.conf"), is_own: as_root })
                    .into(),
                graphroot: Some(root.join("var/lib/containers/storage")),
                more: vec![root.join("usr/lib/bootc/storage")],
            },
            repositories: ["ostree/repo", "sysroot/ostree/repo"].map(|path| root.join(path)).into(),
        };
        if as_root { system } else { system.and_own(env) }
    }

    /// What a user may say besides.
    fn and_own(mut self, env: Env<'_>) -> Self {
        let path = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // What is relative depends on where one is: the base directory specification ignores it.
        let base = |name: &str, below_home: &str| {
            path(name)
                .filter(|path| path.is_absolute())
                .or_else(|| Some(path("HOME")?.join(below_home)))
        };
        self.named_policy = path("CONTAINERS_POLICY_JSON");
        if let Some(own) = base("XDG_CONFIG_HOME", ".config").map(|own| own.join("containers")) {
            self.policies.insert(0, own.join("policy.json"));
            self.registries_d.insert(0, own.join("registries.d"));
            let conf = StorageConf { path: own.join("storage.conf"), is_own: true };
            self.storages.files.insert(0, conf);
            let directory = own.join("registries.conf.d");
            let conf = &mut self.registries_conf;
            match existing(own.join("registries.conf")) {
                Some(main) => {
                    *conf = RegistriesConfFiles { main: Some(main), directories: vec![directory] };
                }
                None => conf.directories.push(directory),
            }
        }
        if let Some(named) = path("CONTAINERS_REGISTRIES_CONF") {
            self.registries_conf.main = Some(named);
        }
        self.state = base("XDG_STATE_HOME", ".local/state").map(|own| own.join("oci2sysext"));
        self.trusted_root = base("XDG_DATA_HOME", ".local/share")
            .map(|own| own.join("oci2sysext/trusted_root.json"));
        self.cache = base("XDG_CACHE_HOME", ".cache").map(|own| own.join("oci2sysext"));
        self.storages.graphroot =
            base("XDG_DATA_HOME", ".local/share").map(|own| own.join("containers/storage"));
        self
    }
}

/// The path, unless there is nothing: what cannot be looked at is an error for its reader.
pub(super) fn existing(path: PathBuf) -> Option<PathBuf> {
    path.try_exists().unwrap_or(true).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn root_asks_neither_environment_nor_home() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("home/.config/containers");
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(root.path().join("etc/containers")).unwrap();
        for directory in [&own, &root.path().join("etc/containers")] {
            fs::write(directory.join("registries.conf"), "").unwrap();
        }
        let home = root.path().join("home");
        let env = |name: &str| match name {
            "HOME" => Some(home.clone().into_os_string()),
            "CONTAINERS_POLICY_JSON" => Some("named.json".into()),
            _ => None,
        };
        let etc = root.path().join("etc/containers");
        let usr = root.path().join("usr/share/containers/policy.json");
        let of_root = Locations::below(root.path(), true, &env);
        assert_eq!(of_root.named_policy, None);
        assert_eq!(of_root.policies, [etc.join("policy.json"), usr.clone()]);
        assert_eq!(of_root.registries_conf.main, Some(etc.join("registries.conf")));
        assert_eq!(of_root.state, Some(root.path().join("var/lib/oci2sysext/state")));
        let storage = |path: PathBuf, is_own| StorageConf { path, is_own };
        let confs = ["etc/containers", "usr/share/containers"]
            .map(|place| root.path().join(place).join("storage.conf"));
        assert_eq!(of_root.storages.files, confs.clone().map(|path| storage(path, true)));
        let graphroot = root.path().join("var/lib/containers/storage");
        assert_eq!(of_root.storages.graphroot, Some(graphroot));
        let of_system = root.path().join("var/lib/oci2sysext/trusted_root.json");
        assert_eq!(of_root.trusted_root, Some(of_system));

        let of_user = Locations::below(root.path(), false, &env);
        assert_eq!(of_user.named_policy, Some("named.json".into()));
        assert_eq!(of_user.policies, [own.join("policy.json"), etc.join("policy.json"), usr]);
        assert_eq!(of_user.registries_d, [own.join("registries.d"), etc.join("registries.d")]);
        let conf = &of_user.registries_conf;
        assert_eq!(conf.main, Some(own.join("registries.conf")));
        assert_eq!(conf.directories, [own.join("registries.conf.d")]);
        assert_eq!(of_user.state, Some(home.join(".local/state/oci2sysext")));
        let mut files = vec![storage(own.join("storage.conf"), true)];
        files.extend(confs.map(|path| storage(path, false)));
        assert_eq!(of_user.storages.files, files);
        let graphroot = home.join(".local/share/containers/storage");
        assert_eq!(of_user.storages.graphroot, Some(graphroot));
        let own_root = home.join(".local/share/oci2sysext/trusted_root.json");
        assert_eq!(of_user.trusted_root, Some(own_root));

        fs::remove_file(own.join("registries.conf")).unwrap();
        let conf = Locations::below(root.path(), false, &env).registries_conf;
        assert_eq!(conf.main, Some(etc.join("registries.conf")));
        let both = [etc.join("registries.conf.d"), own.join("registries.conf.d")];
        assert_eq!(conf.directories, both);

        let xdg = |name: &str| match name {
            "XDG_CONFIG_HOME" => Some("relative".into()),
            "XDG_STATE_HOME" => Some("/state".into()),
            _ => None,
        };
        let of_xdg = Locations::below(root.path(), false, &xdg);
        assert_eq!(of_xdg.policies.len(), 2);
        assert_eq!(of_xdg.state, Some("/state/oci2sysext".into()));
        assert_eq!(Locations::below(root.path(), false, &|_| None).state, None);
    }
}
