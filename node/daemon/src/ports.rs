//! Which ports a node got, so that it keeps them (cli.md, "Everywhere").

use std::collections::HashSet;

/// The configured addresses with port 0 replaced by the port that was taken. `None` if there is nothing to keep: no
/// address asked for a free port, or none got one.
pub(crate) fn kept(configured: &[String], actual: &[String]) -> Option<Vec<String>> {
    let mut used = HashSet::new();
    let mut changed = false;
    let kept = configured
        .iter()
        .map(|address| {
            let Some(wanted) = Parts::of(address).filter(|parts| parts.port == "0") else { return address.clone() };
            let taken = actual
                .iter()
                .filter_map(|address| Parts::of(address))
                .find(|taken| taken.serves(&wanted) && !used.contains(&(taken.family, taken.protocol, taken.port)));
            let Some(taken) = taken else { return address.clone() };
            used.insert((taken.family, taken.protocol, taken.port));
            changed = true;
            wanted.with_port(taken.port)
        })
        .collect();
    changed.then_some(kept)
}

/// `/family/host/protocol/port/rest`.
#[derive(Clone, Copy)]
struct Parts<'a> {
    family: &'a str,
    host: &'a str,
    protocol: &'a str,
    port: &'a str,
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(address: &'a str) -> Option<Self> {
        let mut parts = address.strip_prefix('/')?.splitn(5, '/');
        let (family, host, protocol, port) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let rest = parts.next().unwrap_or_default();
        let is_socket = matches!(family, "ip4" | "ip6") && matches!(protocol, "tcp" | "udp");
        is_socket.then_some(Self { family, host, protocol, port, rest })
    }

    fn serves(&self, wanted: &Self) -> bool {
        let any = matches!(wanted.host, "0.0.0.0" | "::");
        self.port != "0"
            && (self.family, self.protocol) == (wanted.family, wanted.protocol)
            && (any || self.host == wanted.host)
            && transport(self.rest) == transport(wanted.rest)
    }

    fn with_port(&self, port: &str) -> String {
        let gap = if self.rest.is_empty() { "" } else { "/" };
        format!("/{}/{}/{}/{port}{gap}{}", self.family, self.host, self.protocol, self.rest)
    }
}

/// What follows the port, without the peer's id.
fn transport(rest: &str) -> &str {
    let before_id = rest.split("p2p/").next().unwrap_or(rest);
    before_id.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn ports_that_were_given_out_are_kept() {
        let configured =
            texts(&["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/tcp/0", "/ip6/::/udp/0/quic-v1"]);
        let actual = texts(&[
            "/ip6/::1/tcp/6001",
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/192.168.1.5/tcp/4001/p2p/12D3KooWx",
            "/ip4/127.0.0.1/udp/5001/quic-v1/p2p/12D3KooWx",
        ]);
        let expected = texts(&[
            "/ip4/0.0.0.0/tcp/4001",
            "/ip4/0.0.0.0/udp/5001/quic-v1",
            "/ip6/::/tcp/6001",
            // Nothing listens there, so the next start may try again.
            "/ip6/::/udp/0/quic-v1",
        ]);
        assert_eq!(kept(&configured, &actual), Some(expected));
    }

    #[test]
    fn two_addresses_for_any_port_get_one_each() {
        let configured = texts(&["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0"]);
        let actual = texts(&["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"]);
        assert_eq!(kept(&configured, &actual), Some(actual));
    }

    #[test]
    fn fixed_ports_and_failures_change_nothing() {
        assert_eq!(kept(&texts(&["/ip4/0.0.0.0/tcp/4001"]), &texts(&["/ip4/127.0.0.1/tcp/9"])), None);
        assert_eq!(kept(&texts(&["/ip4/0.0.0.0/tcp/0"]), &[]), None);
        assert_eq!(kept(&texts(&["/ip4/10.0.0.1/tcp/0"]), &texts(&["/ip4/127.0.0.1/tcp/9"])), None);
        assert_eq!(kept(&texts(&["/dns4/x/tcp/0", "memory", "/", ""]), &texts(&["/ip4/1.1.1.1/tcp/9"])), None);
    }
}
