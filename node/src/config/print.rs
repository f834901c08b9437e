//! The settings as text, with what each of them does.

use serde::Serialize;

use super::Config;

pub(super) fn commented(config: &Config) -> String {
    let mut page = Page::default();
    page.note("Settings of a p2pnode. What is left out has its default; unknown names are refused.");
    page.value(
        "network",
        &config.network,
        "Name of the overlay network: 1 to 32 of a-z, 0-9 and -. Nodes of different networks never meet.",
    );
    page.value(
        "cache_mib",
        &config.cache_mib,
        "Memory in MiB for the store of what can be fetched or computed again. More makes large drives faster.",
    );
    page.value(
        "browse_cache",
        &config.browse_cache,
        "How much of drives that are only looked at is kept on disk: auto (10 GB, or 5 % of the free disk if that is \
         less), off, or a size like 500 MB or 2 GiB. The drive not looked at for longest makes room.",
    );
    page.value(
        "history_mib",
        &config.history_mib,
        "Room in MiB for copies of what shared files held in earlier versions, where the file system has no reflinks.",
    );
    page.value(
        "gateway",
        &config.gateway,
        "Where the web gateway listens: a loopback address and port, localhost:PORT for both families, or off. The port \
         is part of every site's origin.",
    );
    page.value(
        "dns",
        &config.dns,
        "Where ordinary programs ask for names by DNS: a loopback address and port, localhost:PORT for both families, or off.",
    );
    page.value(
        "dns_forward",
        &config.dns_forward,
        "The resolver to which the DNS listener passes on questions for other names: an IP address, with a port if it is not \
         53, or off. Names below .alt never go there.",
    );
    page.value(
        "api_tcp",
        &config.api_tcp,
        "Where the local API answers over TCP as well, for apps that cannot open a unix socket: a loopback address and \
         port, or off. Every call there needs the token of an app.",
    );
    page.value(
        "lock_after_minutes",
        &config.lock_after_minutes,
        "The keys are locked by themselves when nobody has used the node for so many minutes and there is a passphrase; 0: \
         never.",
    );
    page.value(
        "lock",
        &config.lock,
        "How much locking closes: identity, the keys alone, and the node goes on for others; or full, the whole node: it \
         leaves the network, its transport key lies behind the passphrase too, and after every start it waits for p2p unlock.",
    );
    page.value(
        "app_mib_per_second",
        &config.app_mib_per_second,
        "MiB a second that the streams of all apps with a token move together; each of those that move something gets the \
         same share. 0 = no limit.",
    );
    transport(&mut page, &config.transport);
    dht(&mut page, &config.dht);
    names(&mut page, &config.names);
    page.text
}

fn names(page: &mut Page, config: &crate::NamesConfig) {
    page.section("names", "The name system.");
    page.value(
        "suffixes",
        &config.suffixes,
        "Zones of others under names of your own, each as \"SUFFIX=zTLD\". They win over the names of own zones.",
    );
    page.value(
        "dns",
        &config.dns,
        "Whether DNS is asked where a GNS2DNS record, or a REDIRECT out of GNS, demands it: on or off.",
    );
    page.value(
        "resolver",
        &config.resolver,
        "The resolver for DNS names that no zone names servers for: system, or an IP address, with a port if it is not 53.",
    );
    page.value("dns_port", &config.dns_port, "The port at which DNS servers that zones name are asked.");
    page.value(
        "revocation_difficulty",
        &config.revocation_difficulty,
        "Leading zero bits that the proofs of work of a revocation have on average. The same in all nodes of a network.",
    );
}

fn transport(page: &mut Page, config: &p2p_transport::Config) {
    page.section("transport", "How other nodes are reached.");
    page.value(
        "listen",
        &config.listen,
        "Multiaddrs to listen on. Port 0 takes a free port; the first start writes the ports it got into this file.",
    );
    page.value(
        "port_mapping",
        &config.port_mapping,
        "Ask the router for a port (UPnP, PCP and NAT-PMP), so that others can dial this node. Renewed while the node runs, \
         given back when it stops.",
    );
    page.value(
        "relay",
        &config.relay,
        "Be a relay for others: off, trusted (the peers of limits.trusted_peers, without caps) or public (anybody, at most 32 \
         circuits of 256 MiB and an hour each).",
    );
    page.value(
        "relays",
        &config.relays,
        "Relays of your own, as multiaddrs that end in /p2p/<peer id>: asked before those that are found.",
    );
    page.value("mdns", &config.mdns, "Look for nodes in the local network by mDNS. This announces the peer id there.");
    page.value(
        "lan_tags",
        &config.lan_tags,
        "Recognise contacts in the local network by tags that change every hour and say nothing to others. With mdns = false \
         they are all that is announced.",
    );
    page.value(
        "idle_timeout_s",
        &config.idle_timeout_s,
        "Connections without any stream close after this many seconds. Longer keeps more sockets, shorter dials again.",
    );

    let limits = &config.limits;
    page.section(
        "transport.limits",
        "Bounds of what strangers can make grow. Rules by address count global addresses only.",
    );
    page.value(
        "profile",
        &limits.profile,
        "home, server (four times as many connections, new ones and hosts dialled), or auto: server while this node is \
         reached at a global address of its own.",
    );
    page.value("established_in", &limits.established_in, "Established inbound connections.");
    page.value("established_out", &limits.established_out, "Established outbound connections.");
    page.value("established", &limits.established, "Established connections in all.");
    page.value("pending_in", &limits.pending_in, "Inbound connections that are still being negotiated.");
    page.value("pending_out", &limits.pending_out, "Dials under way.");
    page.value("per_peer", &limits.per_peer, "Connections to one peer.");
    page.value("per_ipv4", &limits.per_ipv4, "Inbound connections from one IPv4 address.");
    page.value("per_ipv6_56", &limits.per_ipv6_56, "Inbound connections from one IPv6 /56.");
    page.value("per_ipv6_48", &limits.per_ipv6_48, "Inbound connections from one IPv6 /48.");
    page.value(
        "new_per_second",
        &limits.new_per_second,
        "New inbound connections a second; the burst is five times that.",
    );
    page.value(
        "new_per_second_per_ip",
        &limits.new_per_second_per_ip,
        "New inbound connections a second from one address group; the burst is eight times that.",
    );
    page.value(
        "new_hosts_per_second",
        &limits.new_hosts_per_second,
        "New global hosts a second that this node dials unasked; what you name and trusted peers do not count. 0 = no limit.",
    );
    page.value(
        "memory_mib",
        &limits.memory_mib,
        "Above this many resident MiB new inbound connections are refused; an eighth more, and idle ones of strangers are \
         closed. 0 = 80 % of the smaller of 256 MiB and an eighth of the memory.",
    );
    page.value(
        "trusted_peers",
        &limits.trusted_peers,
        "Peer ids that meet no limit but the total and per_peer, e.g. your other nodes. A quarter of all connections is kept \
         for them.",
    );
}

fn dht(page: &mut Page, config: &p2p_dht::Config) {
    page.section("dht", "The table by which nodes find each other and who has what.");
    page.value(
        "mode",
        &config.mode,
        "Whether this node answers queries: \"server\", \"client\", or \"auto\": while no server at a global address is \
         connected, and once strangers are known to reach it.",
    );
    page.value("bootstrap", &config.bootstrap, "Multiaddrs, ending in /p2p/<peer id>, of nodes to start from.");
    page.value(
        "requests_per_second",
        &config.requests_per_second,
        "Requests a second that one peer may send; five times that at once. Who sends more is disconnected, unless it is a \
         trusted peer. 0 = no limit.",
    );
    page.value(
        "requests_per_second_per_group",
        &config.requests_per_second_per_group,
        "The same for all peers at neighbouring global addresses together (an IPv4 /24 or an IPv6 /48).",
    );
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// Widest line of a comment, in characters.
    const WIDTH: usize = 100;

    fn section(&mut self, name: &str, comment: &str) {
        self.text.push('\n');
        self.note(comment);
        self.text.push_str(&format!("[{name}]\n"));
    }

    fn value(&mut self, key: &str, value: &impl Serialize, comment: &str) {
        // Behind the name of a section there is no empty line, behind a list there is one.
        let is_first = self.text.ends_with("]\n") && !self.text.ends_with("\n]\n") && !self.text.ends_with("[]\n");
        if !is_first {
            self.text.push('\n');
        }
        self.note(comment);
        self.text.push_str(&format!("{key} = {}\n", toml_value(value)));
    }

    fn note(&mut self, comment: &str) {
        let mut line = String::from("#");
        for word in comment.split_whitespace() {
            if line.len() + 1 + word.len() > Self::WIDTH {
                self.text.push_str(&line);
                self.text.push('\n');
                line = String::from("#");
            }
            line.push(' ');
            line.push_str(word);
        }
        self.text.push_str(&line);
        self.text.push('\n');
    }
}

/// A value as TOML writes it; lists of several items take a line each.
pub(super) fn toml_value(value: &impl Serialize) -> String {
    let value = toml::Value::try_from(value).expect("settings are numbers, texts, truth values and lists of texts");
    match value {
        toml::Value::Array(items) if items.len() > 1 => {
            let lines: String = items.iter().map(|item| format!("    {item},\n")).collect();
            format!("[\n{lines}]")
        }
        value => value.to_string(),
    }
}
