//! Which repairs the user wants: `--repairs all|none|LIST`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// One repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repair {
    /// What the build enabled starts on the host (R22).
    Units,
    /// Links through `/etc/alternatives` lead to their ends (R23).
    Alternatives,
    /// Accounts that the layer adds exist on the host (R24).
    Users,
    /// What the layer has in `var` appears on the host (R25).
    State,
    /// Defaults of `etc` appear on the host (R21).
    Etc,
    /// Caches are computed anew on the host (R19).
    Caches,
    /// Policy modules are loaded on the host (R34).
    Selinux,
}

impl Repair {
    /// Every repair, in the order in which they are made.
    pub const EVERY: [Self; 7] = [
        Self::Units,
        Self::Alternatives,
        Self::Users,
        Self::State,
        Self::Etc,
        Self::Caches,
        Self::Selinux,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Units => "units",
            Self::Alternatives => "alternatives",
            Self::Users => "users",
            Self::State => "state",
            Self::Etc => "etc",
            Self::Caches => "caches",
            Self::Selinux => "selinux",
        }
    }

    /// Whether it is part of `all`: it runs nothing on the host but what every host runs.
    fn is_usual(self) -> bool {
        !matches!(self, Self::Caches | Self::Selinux)
    }
}

/// A choice of repairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs(BTreeSet<Repair>);

impl Repairs {
    /// No repair.
    pub fn none() -> Self {
        Self::default()
    }

    /// The repairs of `all`: every one that runs no programs of its own on the host.
    pub fn all() -> Self {
        Self(Repair::EVERY.into_iter().filter(|repair| repair.is_usual()).collect())
    }

    /// Whether a repair is wanted.
    pub fn has(&self, repair: Repair) -> bool {
        self.0.contains(&repair)
    }
}

impl FromStr for Repairs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::none());
        }
        let mut chosen = Self::none();
        for word in text.split(',') {
            if word == "all" {
                chosen.0.extend(Self::all().0);
                continue;
            }
            let repair = Repair::EVERY.into_iter().find(|repair| repair.name() == word);
            let repair = repair.ok_or_else(|| {
                let names: Vec<_> = Repair::EVERY.iter().map(|repair| repair.name()).collect();
                format!("expected all, none, or some of {}", names.join(","))
            })?;
            chosen.0.insert(repair);
        }
        Ok(chosen)
    }
}

impl fmt::Display for Repairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|repair| repair.name()).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_list() {
        let of = |text: &str| text.parse::<Repairs>().map(|repairs| repairs.to_string());
        assert_eq!(of("all").unwrap(), "units,alternatives,users,state,etc");
        assert_eq!(of("all,caches").unwrap(), "units,alternatives,users,state,etc,caches");
        assert_eq!(of("selinux,units").unwrap(), "units,selinux");
        assert_eq!(of("none").unwrap(), "none");
        for bad in ["", "none,units", "unit", "units,", "ALL"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
