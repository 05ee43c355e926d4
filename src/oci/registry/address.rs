//! How far an address reaches: this host, this network, everywhere.
//!
//! A public registry that redirects to an address that only we can reach wants us to ask a
//! server it cannot ask itself: a cloud's metadata service, a router (row 78).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// How far an address reaches, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// This link: link-local, multicast and the metadata services of clouds.
    Link,
    /// This host.
    Loopback,
    /// Private networks (RFC 1918, RFC 4193, RFC 6598).
    Private,
    /// Everywhere.
    Public,
}

impl Reach {
    /// The reach of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => match embedded_v4(v6) {
                Some(v4) => Self::of_v4(v4),
                None => Self::of_v6(v6),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        // Azure's metadata service has a public address.
        if address.is_link_local()
            || address.is_multicast()
            || address.is_broadcast()
            || address == Ipv4Addr::new(168, 63, 129, 16)
        {
            return Self::Link;
        }
        match address.octets() {
            [127 | 0, ..] => Self::Loopback,
            [10, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [100, 64..=127, ..]
            | [198, 18 | 19, ..]
            | [192, 0, 0, _] => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_loopback() || address.is_unspecified() {
            Self::Loopback
        } else if address.is_unicast_link_local() || address.is_multicast() {
            Self::Link
        } else if address.is_unique_local() || matches!(address.octets(), [0xfe, 0xc0..=0xff, ..]) {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// The reach that a host tells without being looked up.
    pub fn of_host(url: &Url) -> Option<Self> {
        match url.host()? {
            Host::Ipv4(address) => Some(Self::of(address.into())),
            Host::Ipv6(address) => Some(Self::of(address.into())),
            Host::Domain(name) => {
                let name = name.trim_end_matches('.');
                (name == "localhost" || name.ends_with(".localhost")).then_some(Self::Loopback)
            }
        }
    }

    /// Whether a registry of this reach may send us to an address of reach `target`: not to
    /// one that is nearer to us than itself.
    pub fn may_send_to(self, target: Self) -> bool {
        target >= self
    }
}

/// The IPv4 address that is spoken to behind NAT64 and 6to4 addresses.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
        | [0x20, 0x02, a, b, c, d, ..] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

/// The reach of the registry, known once it has answered; until then, the strictest.
#[derive(Clone, Debug, Default)]
pub(super) struct RegistryReach(Arc<OnceLock<Reach>>);

impl RegistryReach {
    pub fn get(&self) -> Reach {
        self.0.get().copied().unwrap_or(Reach::Public)
    }

    /// Remembers the first answer's.
    pub fn learn(&self, reach: Reach) {
        let _ = self.0.set(reach);
    }
}

/// Looks up names, and gives only those addresses that the registry may send us to.
///
/// The check is here and not before the lookup, so that no second lookup can answer otherwise.
#[derive(Debug)]
pub(super) struct Guard(pub RegistryReach);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let registry = self.0.get();
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found
                .iter()
                .copied()
                .filter(|address| registry.may_send_to(Reach::of(address.ip())))
                .collect();
            match (allowed.is_empty(), found.first()) {
                (true, Some(address)) => Err(Forbidden(address.ip()).into()),
                _ => Ok::<Addrs, _>(Box::new(allowed.into_iter())),
            }
        })
    }
}

/// A name that leads to an address that the registry may not send us to.
#[derive(Debug, thiserror::Error)]
#[error("found the address {0}, which is nearer to this host than the registry is")]
pub(super) struct Forbidden(pub IpAddr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_reach() {
        for (address, reach) in [
            ("127.0.0.1", Reach::Loopback),
            ("0.0.0.0", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("169.254.169.254", Reach::Link),
            ("::ffff:169.254.169.254", Reach::Link),
            ("64:ff9b::a9fe:a9fe", Reach::Link),
            ("2002:a9fe:a9fe::1", Reach::Link),
            ("168.63.129.16", Reach::Link),
            ("fe80::1", Reach::Link),
            ("224.0.0.1", Reach::Link),
            ("10.1.2.3", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("172.32.0.1", Reach::Public),
            ("192.168.1.1", Reach::Private),
            ("100.100.100.200", Reach::Private),
            ("fd00:ec2::254", Reach::Private),
            ("8.8.8.8", Reach::Public),
            ("2001:4860:4860::8888", Reach::Public),
        ] {
            assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
        }
    }

    #[test]
    fn a_registry_may_not_send_us_nearer_than_itself() {
        use Reach::{Link, Loopback, Private, Public};
        for (registry, target, allowed) in [
            (Public, Public, true),
            (Public, Private, false),
            (Public, Loopback, false),
            (Public, Link, false),
            (Private, Public, true),
            (Private, Private, true),
            (Private, Loopback, false),
            (Loopback, Private, true),
            (Loopback, Loopback, true),
            (Loopback, Link, false),
        ] {
            assert_eq!(registry.may_send_to(target), allowed, "{registry:?} {target:?}");
        }
    }

    #[test]
    fn a_name_that_leads_too_near_is_not_found() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let resolve = |registry: Reach| {
            let reach = RegistryReach::default();
            reach.learn(registry);
            let name: Name = "localhost".parse().unwrap();
            runtime.block_on(Guard(reach).resolve(name)).map(Iterator::count)
        };
        assert!(resolve(Reach::Public).err().unwrap().is::<Forbidden>());
        assert!(resolve(Reach::Private).err().unwrap().is::<Forbidden>());
        assert!(resolve(Reach::Loopback).unwrap() > 0);
    }

    #[test]
    fn some_hosts_need_no_lookup() {
        let reach = |url: &str| Reach::of_host(&url.parse().unwrap());
        assert_eq!(reach("https://localhost./"), Some(Reach::Loopback));
        assert_eq!(reach("https://a.localhost:1/"), Some(Reach::Loopback));
        assert_eq!(reach("https://0xa9fea9fe/"), Some(Reach::Link));
        assert_eq!(reach("https://[::1]/"), Some(Reach::Loopback));
        assert_eq!(reach("https://quay.io/"), None);
    }
}
