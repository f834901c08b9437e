//! Homes of real nodes over real sockets on loopback, and what tests of names ask of them.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::path::Path;
use std::time::{Duration, Instant};

use p2p_api::{NewZone, Node, ResolveName, Resolved, RevokeZone, Revoking, SetRecord, ZoneInfo};
use p2p_node::{Config, NodeOptions, RunningNode, start};

/// How long two nodes may take to find each other.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn options(home: &Path, bootstrap: &[String]) -> NodeOptions {
    let mut config = Config::default();
    config.transport.mdns = false;
    config.transport.lan_tags = false;
    // All nodes of a test are one process, and each takes its memory for its own.
    config.transport.limits.memory_mib = 4_096;
    config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    // Real revocations take days.
    config.names.revocation_difficulty = 3;
    NodeOptions {
        home: home.join("home"),
        api: None,
        config,
        apps: Vec::new(),
        bootstrap: bootstrap.to_vec(),
        notices: Vec::new(),
        gateway: None,
    }
}

/// What of a node's settings is special.
type Settings = Box<dyn Fn(&mut Config)>;

pub(crate) struct Home {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) running: RunningNode,
    /// What of the settings is special; applied at every start.
    settings: Settings,
}

impl Home {
    pub(crate) async fn new(bootstrap: &[String]) -> Self {
        Self::with(bootstrap, |_| {}).await
    }

    pub(crate) async fn with(bootstrap: &[String], settings: impl Fn(&mut Config) + 'static) -> Self {
        let settings: Settings = Box::new(settings);
        let dir = tempfile::tempdir().expect("a directory");
        let mut options = options(dir.path(), bootstrap);
        settings(&mut options.config);
        let running = start(options).await.expect("starts");
        Self { dir, running, settings }
    }

    /// A counter of the metrics, over all its labels; 0 before it exists.
    pub(crate) async fn count(&self, counter: &str) -> u64 {
        let text = self.node().metrics().await.expect("metrics");
        let counted = |line: &str| line.strip_prefix(counter)?.rsplit(' ').next()?.parse::<u64>().ok();
        text.lines().filter_map(counted).sum()
    }

    pub(crate) fn node(&self) -> Node {
        self.running.node()
    }

    pub(crate) fn address(&self) -> String {
        let listen = self.running.listen().into_iter().next().expect("listens");
        format!("{listen}/p2p/{}", self.running.peer_id())
    }

    pub(crate) async fn restart(self, bootstrap: &[String]) -> Self {
        let Self { dir, running, settings } = self;
        running.shutdown().await;
        Self::again(dir, settings, bootstrap).await
    }

    /// Ends it for now.
    pub(crate) async fn stop(self) -> Stopped {
        self.running.shutdown().await;
        Stopped { dir: self.dir, settings: self.settings }
    }

    async fn again(dir: tempfile::TempDir, settings: Settings, bootstrap: &[String]) -> Self {
        let mut options = options(dir.path(), bootstrap);
        settings(&mut options.config);
        let running = start(options).await.expect("starts again");
        Self { dir, running, settings }
    }
}

/// A home whose node does not run.
pub(crate) struct Stopped {
    dir: tempfile::TempDir,
    settings: Settings,
}

impl Stopped {
    pub(crate) async fn start(self, bootstrap: &[String]) -> Home {
        Home::again(self.dir, self.settings, bootstrap).await
    }
}

/// Waits until a node has somebody in its DHT.
pub(crate) async fn connected(node: &Node) {
    let deadline = Instant::now() + PATIENCE;
    while node.info().await.expect("info").dht_peers == 0 {
        assert!(Instant::now() < deadline, "nobody came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An owner, a bootstrap node, and a stranger that knows only the bootstrap node.
pub(crate) async fn three() -> (Home, Home, Home) {
    let middle = Home::new(&[]).await;
    let owner = Home::new(&[middle.address()]).await;
    let stranger = Home::new(&[middle.address()]).await;
    for home in [&owner, &middle, &stranger] {
        connected(&home.node()).await;
    }
    (owner, middle, stranger)
}

pub(crate) async fn zone(node: &Node, name: &str) -> ZoneInfo {
    node.names().create_zone(NewZone { name: name.into(), kind: Default::default(), key: None }).await.expect("a zone")
}

pub(crate) fn record(label: &str, record_type: &str, value: &str) -> SetRecord {
    SetRecord { label: label.into(), record_type: record_type.into(), value: value.into(), ..SetRecord::default() }
}

pub(crate) async fn resolve(node: &Node, name: &str, fresh: bool) -> p2p_api::Result<Resolved> {
    let resolve = ResolveName { name: name.into(), fresh, timeout_s: Some(15.0), ..ResolveName::default() };
    node.names().resolve(resolve).await
}

pub(crate) async fn value(node: &Node, name: &str) -> String {
    resolve(node, name, false).await.map_or_else(|error| error.to_string(), |found| found.records[0].value.clone())
}

/// Asks again until the answer is as expected; how long that took.
pub(crate) async fn until(node: &Node, name: &str, expected: &str) -> Duration {
    let asked = Instant::now();
    loop {
        let found = value(node, name).await;
        if found == expected {
            return asked.elapsed();
        }
        assert!(asked.elapsed() < PATIENCE, "{name} is still {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks until the revocation is computed.
pub(crate) async fn revoke(node: &Node, zone: &str, asked: RevokeZone) -> Revoking {
    let deadline = Instant::now() + PATIENCE * 3;
    loop {
        let state = node.names().revoke_zone(zone, asked.clone()).await.expect("revokes");
        if state.message.is_some() {
            return state;
        }
        assert!(Instant::now() < deadline, "still {state:?}");
    }
}

/// Waits until a counter of a node is at least that; how long that took.
pub(crate) async fn counted(home: &Home, counter: &str, at_least: u64) -> Duration {
    let asked = Instant::now();
    loop {
        let count = home.count(counter).await;
        if count >= at_least {
            return asked.elapsed();
        }
        assert!(asked.elapsed() < PATIENCE, "{counter} is still {count}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
