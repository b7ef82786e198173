//! Where a redirect may lead. Credentials and rows go only there.
//!
//! In: the `Location` of a 307, or another address a server names. Out: a host and port that the policy allows, or why
//! not. Always: the host is a configured frontend, a node that the cluster itself listed over SQL, one that the
//! settings allow, or what the settings map it to; only scheme, host and port are taken from the answer, never path,
//! query or user. Not here: sending.
//!
//! - The map of the settings comes first.
//! - A backend that calls itself `127.0.0.1`, `::1` or `localhost` (StarRocks' all-in-one image does) is looked for at
//!   the frontend that named it, which is itself when the frontend is local.
//! - StarRocks writes `http://` into every redirect, also when the request came over https. Over https the scheme is
//!   therefore always kept: the backend must speak TLS too, or stand behind something that does. Credentials that were
//!   protected on the first hop are never sent in clear on the second.
//! - Link-local addresses (cloud metadata services among them) are refused whatever the settings say.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::options::Frontend;

/// Names that mean the machine itself.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// What may be gone to.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    /// Host names and addresses, lower case: frontends, and what the settings allow.
    allowed: BTreeSet<String>,
    /// From and to.
    map: Vec<(Place, Place)>,
}

/// A host, perhaps with a port. Lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: Option<u16>,
}

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the redirect has no usable address")]
    Malformed,
    #[error("it redirects to {0}, which is link-local")]
    LinkLocal(String),
    #[error("it redirects to {0}, which is none of the hosts allowed")]
    Foreign(String),
}

impl Policy {
    pub(super) fn new(frontends: &[Frontend], allow: &[String], map: &[(String, String)]) -> Policy {
        let places = |(from, to): &(String, String)| Some((place(from)?, place(to)?));
        let allow = allow.iter().filter_map(|text| place(text)).map(|place| place.host);
        Policy {
            allowed: frontends.iter().map(|frontend| frontend.host.to_ascii_lowercase()).chain(allow).collect(),
            map: map.iter().filter_map(places).collect(),
        }
    }

    /// Where a `Location` from `frontend` leads. `nodes` are the addresses the cluster listed, lower case.
    ///
    /// # Errors
    /// A [`Refusal`]; it names a host without control characters.
    pub(super) fn target(
        &self,
        frontend: &Frontend,
        location: &str,
        nodes: &BTreeSet<String>,
    ) -> Result<Frontend, Refusal> {
        let (https, named) = authority(location).ok_or(Refusal::Malformed)?;
        let port = named.port.unwrap_or(if https { 443 } else { 80 });
        let mapped = self.map.iter().find(|(from, _)| from.host == named.host && from.port.is_none_or(|p| p == port));
        let (host, port) = match mapped {
            Some((_, to)) => (to.host.clone(), to.port.unwrap_or(port)),
            None if LOOPBACK.contains(&named.host.as_str()) => (frontend.host.to_ascii_lowercase(), port),
            None => (named.host, port),
        };
        if is_link_local(&host) {
            return Err(Refusal::LinkLocal(host));
        }
        let known = mapped.is_some() || self.allowed.contains(&host) || nodes.contains(&host);
        match known {
            true => Ok(Frontend { https: https || frontend.https, host, port }),
            false => Err(Refusal::Foreign(host)),
        }
    }
}

/// Reads `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
fn place(text: &str) -> Option<Place> {
    let text = text.trim().to_ascii_lowercase();
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, ""))) => (host.to_owned(), None),
        Some(Some((host, after))) => (host.to_owned(), Some(after.strip_prefix(':')?)),
        Some(None) => return None,
        None if text.parse::<Ipv6Addr>().is_ok() => (text.clone(), None),
        None => text.split_once(':').map_or((text.clone(), None), |(host, port)| (host.to_owned(), Some(port))),
    };
    let port = match port {
        None => None,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some(port.parse().ok().filter(|port| *port != 0)?),
        Some(_) => return None,
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    (!host.is_empty() && host.bytes().all(legal)).then_some(Place { host, port })
}

/// Whether an absolute URL is https, and its host and port; what stands before an `@` is left out.
fn authority(url: &str) -> Option<(bool, Place)> {
    let url = url.trim();
    let (scheme, rest) = url.split_once("://")?;
    let https = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    // Readers of URLs disagree about backslashes and blanks, so there must be none.
    if url.bytes().any(|b| b <= b' ' || b == b'\\' || b == 0x7f) {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some((https, place(host)?))
}

fn is_link_local(host: &str) -> bool {
    let v4 = |address: Ipv4Addr| address.is_link_local() || address.is_unspecified() || address.is_broadcast();
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => v4(address) || address.is_multicast(),
        Ok(IpAddr::V6(address)) => {
            let metadata = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
            let inner = address.to_ipv4_mapped().is_some_and(v4);
            inner
                || address.is_unicast_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || address == metadata
        }
        Err(_) => host == "metadata.google.internal" || host == "metadata",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frontend(https: bool, host: &str) -> Frontend {
        Frontend { https, host: host.to_owned(), port: 8030 }
    }

    fn policy() -> Policy {
        let map = [("be-inside", "edge.example"), ("10.0.0.9:8040", "edge.example:18040"), ("10.9.9.9", "169.254.1.1")];
        let map = map.map(|(from, to)| (from.to_owned(), to.to_owned()));
        Policy::new(&[frontend(false, "Fe1"), frontend(false, "127.0.0.1")], &["be-allowed".to_owned()], &map)
    }

    #[test]
    fn redirects() {
        let nodes = BTreeSet::from(["10.0.0.5".to_owned()]);
        let cases = [
            // answered by   location                                            leads to
            ("fe1", "http://fe1:8040/api/db/t/_stream_load", Ok("fe1:8040")),
            ("fe1", "http://FE1:8040", Ok("fe1:8040")),
            ("fe1", "http://10.0.0.5:8040/x?y", Ok("10.0.0.5:8040")),
            ("fe1", "http://be-allowed:8040/", Ok("be-allowed:8040")),
            ("fe1", "http://be-inside:8040/", Ok("edge.example:8040")),
            ("fe1", "http://10.0.0.9:8040/", Ok("edge.example:18040")),
            ("fe1", "http://10.0.0.9:8041/", Err("foreign")),
            ("fe1", "http://127.0.0.1:8040/", Ok("fe1:8040")),
            ("fe1", "http://localhost:8040/", Ok("fe1:8040")),
            ("fe1", "http://[::1]:8040/", Ok("fe1:8040")),
            ("127.0.0.1", "http://localhost:8040/", Ok("127.0.0.1:8040")),
            ("127.0.0.1", "http://127.0.0.2:8040/", Err("foreign")),
            ("fe1", "http://root:secret@fe1:8040/", Ok("fe1:8040")),
            ("fe1", "http://fe1@evil.example:8040/", Err("foreign")),
            ("fe1", "http://fe1:8040@evil.example/", Err("foreign")),
            ("fe1", "http://evil.example:8040/?@fe1", Err("foreign")),
            ("fe1", "http://evil.example#@fe1:8040/", Err("foreign")),
            ("fe1", "http://fe1.:8040/", Err("foreign")),
            ("fe1", "http://2130706433:8040/", Err("foreign")),
            ("fe1", "http://169.254.169.254/latest", Err("link-local")),
            ("fe1", "http://10.9.9.9:8040/", Err("link-local")),
            ("fe1", "http://[fe80::1]:8040/", Err("link-local")),
            ("fe1", "http://[::ffff:169.254.169.254]/", Err("link-local")),
            ("fe1", "http://metadata.google.internal/", Err("link-local")),
            ("fe1", "http://0.0.0.0:8040/", Err("link-local")),
            ("fe1", "/api/db/t/_stream_load", Err("malformed")),
            ("fe1", "//fe1:8040/", Err("malformed")),
            ("fe1", "ftp://fe1:8040/", Err("malformed")),
            ("fe1", "http://evil.example\\@fe1:8040/", Err("malformed")),
            ("fe1", "http://fe1:8040\r\nX: y/", Err("malformed")),
            ("fe1", "http://fe1:0/", Err("malformed")),
            ("fe1", "http://fe1:99999/", Err("malformed")),
            ("fe1", "http://:8040/", Err("malformed")),
            ("fe1", "http://%66e1:8040/", Err("malformed")),
            ("fe1", "", Err("malformed")),
        ];
        for (from, location, want) in cases {
            let got = policy().target(&frontend(false, from), location, &nodes);
            let got = got.map(|target| target.to_string()).map_err(|refusal| match refusal {
                Refusal::Malformed => "malformed",
                Refusal::LinkLocal(_) => "link-local",
                Refusal::Foreign(_) => "foreign",
            });
            assert_eq!(got, want.map(str::to_owned), "{location:?} from {from}");
        }
    }

    #[test]
    fn https_stays_https() {
        let target = policy().target(&frontend(true, "fe1"), "http://fe1:8040/", &BTreeSet::new()).unwrap();
        assert!(target.https);
        let target = policy().target(&frontend(false, "fe1"), "https://fe1:8040/", &BTreeSet::new()).unwrap();
        assert!(target.https, "a stronger scheme is taken");
    }

    proptest! {
        #[test]
        fn never_leads_outside_the_policy(
            location in prop_oneof![
                any::<String>(),
                "https?://[a-z0-9.:@/\\\\#?%\\[\\] -]{0,40}",
                "http://(fe1|evil|127\\.0\\.0\\.1)[@:/#?\\\\]{0,3}(fe1|evil|10\\.0\\.0\\.5)?(:[0-9]{1,5})?/?",
            ],
        ) {
            let nodes = BTreeSet::from(["10.0.0.5".to_owned()]);
            if let Ok(target) = policy().target(&frontend(false, "fe1"), &location, &nodes) {
                let known = ["fe1", "127.0.0.1", "10.0.0.5", "be-allowed", "edge.example"];
                prop_assert!(known.contains(&target.host.as_str()), "{location:?} led to {}", target.host);
            }
        }
    }
}
