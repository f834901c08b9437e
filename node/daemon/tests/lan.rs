//! Two contacts on one local network, each a daemon in a network namespace of its own, find each other by tags that say
//! nothing to others. Needs root and iproute2; says so where it cannot run.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use p2p_api::{AcceptInvite, NewIdentity, NewInvite};
use p2p_client::Client;
use rustix::process::{Pid, Signal, kill_process};

/// Two namespaces with a link between them, removed when dropped.
struct Lan {
    names: [String; 2],
}

fn ip(arguments: &str) -> bool {
    let done = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

impl Lan {
    fn new() -> Option<Self> {
        let lan = Self { names: ["a", "b"].map(|side| format!("p2p-tags-{}-{side}", std::process::id())) };
        let [a, b] = &lan.names;
        let is_made = ip(&format!("netns add {a}"))
            && ip(&format!("netns add {b}"))
            && ip(&format!("-n {a} link add eth0 type veth peer name eth0 netns {b}"));
        is_made.then_some(lan)
    }

    /// Both sides get addresses in `net`, and lose those they had.
    fn address(&self, net: &str) {
        for (name, host) in self.names.iter().zip(["1", "2"]) {
            assert!(ip(&format!("-n {name} addr flush dev eth0")));
            assert!(ip(&format!("-n {name} addr add {net}.{host}/24 dev eth0")));
            assert!(ip(&format!("-n {name} link set lo up")));
            assert!(ip(&format!("-n {name} link set eth0 up")));
            assert!(ip(&format!("-n {name} route add default dev eth0")));
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}"));
        }
    }
}

struct Daemon {
    child: Child,
    client: Client,
}

impl Daemon {
    /// On ports of its own at each start, and silent but for tags.
    async fn start(home: &Path, namespace: &str) -> Self {
        let config = home.with_extension("toml");
        fs::write(&config, "dns = \"off\"\n[transport]\nmdns = false\nlan_tags = true\n").unwrap();
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            namespace,
            env!("CARGO_BIN_EXE_p2pnode"),
            "start",
            "--json",
            "--gateway",
            "off",
        ]);
        command.args(["--no-port-mapping", "--listen", "/ip4/0.0.0.0/tcp/0", "--listen", "/ip4/0.0.0.0/udp/0/quic-v1"]);
        command.arg("--config").arg(config).arg("--home").arg(home).env_remove("P2PNODE_API");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("ready"), "{line}");
        Self { child, client: Client::connect(home.join("api.sock")).await.unwrap() }
    }

    async fn until_contact(&self, is_it: impl Fn(&p2p_api::ContactInfo) -> bool, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.client.node().people().contacts().await.unwrap().iter().any(&is_it) {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn stop(mut self) {
        // `ip netns exec` becomes the daemon.
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_find_each_other_in_a_new_network_by_tags_alone() {
    let Some(lan) = Lan::new() else {
        eprintln!("skipped: network namespaces need root and iproute2");
        return;
    };
    lan.address("10.78.0");
    let folder = tempfile::tempdir().unwrap();
    let homes = ["a", "b"].map(|side| folder.path().join(side));
    let (alice, bob) = (Daemon::start(&homes[0], &lan.names[0]).await, Daemon::start(&homes[1], &lan.names[1]).await);
    for (daemon, name) in [(&alice, "Alice"), (&bob, "Bob")] {
        let new = NewIdentity { name: name.into(), zone: None };
        daemon.client.node().people().create_identity(new).await.unwrap();
    }
    let invite = alice.client.node().people().invite(NewInvite::default()).await.unwrap();
    let accept = AcceptInvite { link: invite.link, name: None, in_person: false, wait_s: Some(20.0) };
    let accepted = bob.client.node().people().accept(accept).await.unwrap();
    assert!(accepted.contact.is_some(), "{accepted:?}");
    alice.until_contact(|contact| contact.name == "bob", "alice does not know bob").await;
    alice.stop();
    bob.stop();

    // Other addresses and other ports: nothing that one remembers of the other is true any more.
    lan.address("10.79.0");
    let (alice, bob) = (Daemon::start(&homes[0], &lan.names[0]).await, Daemon::start(&homes[1], &lan.names[1]).await);
    for daemon in [&alice, &bob] {
        daemon.until_contact(|contact| contact.connected, "they do not find each other").await;
    }
    let peers = alice.client.node().peers().list().await.unwrap();
    assert!(peers.iter().any(|peer| peer.address.contains("10.79.0.2")), "{peers:?}");
    alice.stop();
    bob.stop();
}
