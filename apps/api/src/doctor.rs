//! What is not as it should be, in sentences, with what to do about it. Decides only, from facts that the node told; the
//! dashboard and the command line say the same.

mod health;
mod nat;

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use self::health::rooms;
use crate::{
    BrowsedState, DhtMode, DriveInfo, DriveRole, Health, LanInfo, NodeInfo, PathKind, PeerInfo, PortMappingState,
    Reachability, StorageUsage,
};

/// A clock before this is wrong: the program is not older. 2026-09-01, seconds since 1970.
const NOT_BEFORE: u64 = 1_788_220_800;
/// A clock this far after that is wrong as well.
const NOT_AFTER: Duration = Duration::from_secs(50 * 365 * 24 * 3600);
/// Less free disk than this is told, in bytes.
const LITTLE_DISK_BYTES: u64 = 1024 * 1024 * 1024;
/// Fewer watched folders than this are told: a larger share is looked through once a minute instead.
const FEW_WATCHES: u64 = 65_536;
/// A node that began less long ago has had no time to find anybody.
const WARMING_UP_S: u64 = 60;

/// Memory at which a node begins to refuse strangers, where the settings do not say otherwise, in bytes.
const MUCH_MEMORY_BYTES: u64 = 256 * 1024 * 1024 / 10 * 8;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It does not work.
    Bad,
    /// It works, and could be better.
    Warn,
    /// Nobody can tell yet.
    Unknown,
    /// As it should be.
    Good,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// The node and its computer.
    Node,
    /// How it is reached from elsewhere.
    Nat,
    /// The local network.
    Lan,
    /// Memory.
    Memory,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What it is about.
    pub area: Area,
    /// In a word or two.
    pub title: &'static str,
    /// What is so: a sentence without its capital and its full stop.
    pub what: String,
    /// What can be done about it: another one.
    pub todo: Option<String>,
}

impl Finding {
    /// What is so, as a sentence.
    pub fn sentence(&self) -> String {
        sentence(&self.what)
    }

    /// What can be done about it, as a sentence.
    pub fn advice(&self) -> Option<String> {
        self.todo.as_deref().map(sentence)
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let end = if text.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), chars.as_str())
}

/// What a node told of itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The node.
    pub info: &'a NodeInfo,
    /// Connected peers.
    pub peers: &'a [PeerInfo],
    /// Drives known to it.
    pub drives: &'a [DriveInfo],
    /// What it stores, if it tells.
    pub usage: Option<&'a StorageUsage>,
    /// Its condition, if it tells.
    pub health: Option<&'a Health>,
}

/// What the computer itself tells.
#[derive(Clone, Debug)]
pub struct System {
    /// The time.
    pub now: SystemTime,
    /// Most folders that one user's programs can watch; `None` where the system does not say.
    pub watches: Option<u64>,
}

impl System {
    /// As it is now.
    pub fn look() -> Self {
        let text = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok();
        Self { now: SystemTime::now(), watches: text.and_then(|text| text.trim().parse().ok()) }
    }
}

/// All findings, the worst first.
pub fn findings(facts: Facts<'_>, system: &System) -> Vec<Finding> {
    let Facts { info, peers: connected, drives, usage, health } = facts;
    let mut all = vec![
        peers(info),
        directory(info),
        clock(system.now),
        Finding { area: Area::Nat, ..listening(info) },
        Finding { area: Area::Nat, ..reachability(info) },
        Finding { area: Area::Lan, ..neighbours(info, connected) },
    ];
    all.extend(info.locked.then(|| {
        let what = "the keys are locked: what needs one waits";
        finding(Level::Warn, "Keys", what, Some("unlock them with p2p unlock"))
    }));
    if let Some(lan) = &info.lan {
        all.extend(rungs(info, lan).into_iter().map(|finding| Finding { area: Area::Lan, ..finding }));
    }
    let ways = [router(info), relays(info), paths(info, connected)];
    let routers = nat::routers(info, connected);
    all.extend(ways.into_iter().flatten().chain(routers).map(|finding| Finding { area: Area::Nat, ..finding }));
    all.extend(info.notices.iter().map(|notice| finding(Level::Warn, "Since the start", notice.clone(), None)));
    all.extend(drives.iter().filter_map(copy));
    all.extend(usage.map(storage));
    all.extend(health.into_iter().flat_map(health::health));
    all.extend(system.watches.map(watches));
    all.extend(memory(info).map(|finding| Finding { area: Area::Memory, ..finding }));
    all.sort_by_key(|finding| finding.level);
    all
}

fn finding(level: Level, title: &'static str, what: impl Into<String>, todo: Option<&str>) -> Finding {
    Finding { level, area: Area::Node, title, what: what.into(), todo: todo.map(str::to_owned) }
}

fn count(number: u64, one: &str, more: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {more}") }
}

fn mib(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    if bytes < 10 * 1024 * MIB { format!("{} MiB", bytes / MIB) } else { format!("{} GiB", bytes / MIB / 1024) }
}

/// Peers of this network.
fn neighbours(info: &NodeInfo, peers: &[PeerInfo]) -> Finding {
    const TITLE: &str = "This network";
    let near = peers.iter().filter(|peer| peer.kind == PathKind::Lan).count() as u64;
    let silent = info.lan.as_ref().map_or(0, |lan| u64::from(lan.silent));
    match near {
        0 if silent > 0 => {
            let router = match info.lan.as_ref().and_then(|lan| lan.router_answers) {
                Some(true) => ", while the router does",
                _ => "",
            };
            let who = count(silent, "node that should be here does", "nodes that should be here do");
            finding(
                Level::Warn,
                TITLE,
                format!("{who} not answer{router}: this network keeps computers apart, or they are off"),
                Some(
                    "networks for guests keep computers apart (client isolation): turn that off in the router, or run a node \
                     on a computer that is plugged in by cable, with p2pnode start --relay, and connect both to it",
                ),
            )
        }
        0 if info.uptime_s < WARMING_UP_S => finding(Level::Unknown, TITLE, "neighbours are being looked for", None),
        0 => finding(
            Level::Unknown,
            TITLE,
            "no other node of this network is connected",
            Some(
                "if there is one, and it is not found: networks for guests keep computers apart, and some routers drop \
                 multicast; connect by its address then (p2p dial)",
            ),
        ),
        near => {
            finding(Level::Good, TITLE, format!("{} connected", count(near, "neighbour is", "neighbours are")), None)
        }
    }
}

/// Each way by which nodes of a local network are found, with what it has brought.
fn rungs(info: &NodeInfo, lan: &LanInfo) -> Vec<Finding> {
    vec![multicast(info, lan), remembered(lan), told(lan), near_relays(info, lan)]
}

fn multicast(info: &NodeInfo, lan: &LanInfo) -> Finding {
    const TITLE: &str = "Multicast";
    if !lan.mdns {
        let todo = "set transport.mdns in config.toml, or start without --no-mdns, to be found by it";
        return finding(Level::Unknown, TITLE, "nobody is asked by multicast (mDNS): it is off", Some(todo));
    }
    // What this node's multicast cannot do is told where it matters.
    let limits = match lan.virtual_interfaces.as_slice() {
        [] => String::new(),
        names => format!("; it goes to {} as well, where no other computer is", names.join(", ")),
    };
    match u64::from(lan.mdns_found) {
        0 if info.uptime_s < WARMING_UP_S => {
            finding(Level::Unknown, TITLE, format!("mDNS is asked who is here{limits}"), None)
        }
        0 => finding(
            Level::Unknown,
            TITLE,
            format!("nobody has answered to mDNS since the start{limits}"),
            Some(
                "where there is another node, a router drops multicast: connect once by address or link, it is remembered",
            ),
        ),
        found => {
            let who = count(found, "node has", "nodes have");
            finding(Level::Good, TITLE, format!("{who} answered to mDNS{limits}"), None)
        }
    }
}

fn remembered(lan: &LanInfo) -> Finding {
    const TITLE: &str = "Remembered addresses";
    let networks = match lan.networks.as_slice() {
        [] => "no local network".to_owned(),
        networks => networks.join(", "),
    };
    let asked = match lan.asked_s_ago {
        None => String::new(),
        Some(seconds) => format!(", {} asked for {seconds} s ago", lan.asked),
    };
    let refusing = match lan.refusing {
        0 => String::new(),
        _ => format!("; {} where no node runs", count(lan.refusing.into(), "computer answers", "computers answer")),
    };
    let known = count(lan.remembered.into(), "node is", "nodes are");
    let text = format!("{known} remembered in {networks}: {} connected{asked}{refusing}", lan.remembered_connected);
    let level = if lan.remembered_connected > 0 { Level::Good } else { Level::Unknown };
    finding(level, TITLE, text, None)
}

/// What others told: links, and friends behind the same router.
fn told(lan: &LanInfo) -> Finding {
    let (links, friends) = (u64::from(lan.linked), u64::from(lan.same_router));
    let text = format!(
        "links told {}; {} found behind the same router by what they told over a relay",
        count(links, "address", "addresses"),
        count(friends, "friend was", "friends were"),
    );
    finding(if links + friends > 0 { Level::Good } else { Level::Unknown }, "Addresses from others", text, None)
}

fn near_relays(info: &NodeInfo, lan: &LanInfo) -> Finding {
    const TITLE: &str = "Relay in this network";
    match lan.relays {
        0 if lan.silent > 0 && info.relays.is_empty() => finding(
            Level::Warn,
            TITLE,
            "there is none that reaches who is kept apart from this computer",
            Some("run p2pnode start --relay on a computer that both reach, such as one that is plugged in by cable"),
        ),
        0 => finding(Level::Unknown, TITLE, "none is in use", None),
        relays => {
            let who = count(relays.into(), "relay connects", "relays connect");
            finding(Level::Good, TITLE, format!("{who} this node to those that are kept apart from it"), None)
        }
    }
}

/// What the router was asked for, and did.
fn router(info: &NodeInfo) -> Option<Finding> {
    const TITLE: &str = "The router";
    const BY_HAND: &str = "forward the port in transport.listen of config.toml to this computer in the router";
    let mapping = info.port_mapping.as_ref()?;
    let is_reached = info.reachability == Reachability::Public;
    Some(match mapping.state {
        PortMappingState::Mapped => {
            let words: Vec<&str> = mapping.protocols.iter().map(|name| protocol_name(name)).collect();
            let what =
                format!("it leads {} to this node, asked for by {}", mapping.addresses.join(", "), words.join(" and "));
            finding(Level::Good, TITLE, what, None)
        }
        // Nobody misses it.
        _ if is_reached => return None,
        PortMappingState::Off => finding(
            Level::Unknown,
            TITLE,
            "it is not asked for a port, as the settings say",
            Some("set transport.port_mapping in config.toml, or start without --no-port-mapping"),
        ),
        PortMappingState::Asking => finding(Level::Unknown, TITLE, "it is being asked for a port", None),
        PortMappingState::Nested => finding(
            Level::Warn,
            TITLE,
            "it gave a port, but stands behind another router, so the port leads nowhere from outside",
            Some(
                "forward the port in both routers, use one of them as a mere bridge, or ask the provider for an address of \
                 your own; until then relays do what they can",
            ),
        ),
        PortMappingState::Refused => {
            let todo = format!(
                "allow UPnP, PCP or NAT-PMP in its settings, or {BY_HAND}; one behind another router has no port to give, \
                 until the other is set up too or made a mere bridge"
            );
            let what = "it does not give this node a port: it is not allowed to, or stands behind another router";
            finding(Level::Warn, TITLE, what, Some(&todo))
        }
        PortMappingState::Silent => {
            let todo =
                format!("turn one of them on in the router, or {BY_HAND}; without a router there is nothing to do");
            finding(Level::Unknown, TITLE, "no router answers to UPnP, PCP or NAT-PMP", Some(&todo))
        }
    })
}

fn protocol_name(name: &str) -> &str {
    match name {
        "upnp" => "UPnP",
        "pcp" => "PCP",
        "nat_pmp" => "NAT-PMP",
        other => other,
    }
}

/// Relays matter to a node that cannot be dialled, and to no other.
fn relays(info: &NodeInfo) -> Option<Finding> {
    const TITLE: &str = "Relays";
    match info.relays.len() as u64 {
        0 if info.reachability == Reachability::Private && info.uptime_s >= WARMING_UP_S => Some(finding(
            Level::Warn,
            TITLE,
            "no relay is in use, so who is behind a router of the same kind does not reach this node",
            Some(
                "name a relay in transport.relays of config.toml; any node of yours with a public address can be one: \
                 p2pnode start --relay trusted",
            ),
        )),
        0 => None,
        relays => Some(finding(
            Level::Good,
            TITLE,
            format!("{} this node reachable", count(relays, "relay keeps", "relays keep")),
            None,
        )),
    }
}

/// How the connections run.
fn paths(info: &NodeInfo, peers: &[PeerInfo]) -> Option<Finding> {
    const TITLE: &str = "Ways to other nodes";
    // A relay is reached directly by everybody, so it tells nothing about others.
    let is_relay = |peer: &PeerInfo| {
        let peer = peer.peer.to_string();
        info.relays.iter().any(|relay| relay.rsplit('/').next() == Some(peer.as_str()))
    };
    let of = |kind: PathKind| peers.iter().filter(|peer| peer.kind == kind && !is_relay(peer)).count() as u64;
    let (direct, relayed) = (of(PathKind::Direct), of(PathKind::Relayed));
    if direct + relayed == 0 {
        return None;
    }
    let text = format!("outside of this network, relays left out, {direct} directly, {relayed} through a relay");
    if relayed > 0 && direct == 0 && info.reachability == Reachability::Private {
        return Some(finding(
            Level::Warn,
            TITLE,
            format!("{text}: the routers on both sides let no direct connection through"),
            Some(
                "routers that give every connection another port (symmetric ones) cannot be got through; forward the port \
                 in transport.listen on one side, or turn on UPnP in its router",
            ),
        ));
    }
    Some(finding(Level::Good, TITLE, text, None))
}

fn memory(info: &NodeInfo) -> Option<Finding> {
    const TITLE: &str = "Memory";
    let text = format!("the node takes {}", mib(info.rss_bytes));
    match info.rss_bytes {
        0 => None,
        MUCH_MEMORY_BYTES.. => Some(finding(
            Level::Warn,
            TITLE,
            format!("{text}: from {} on strangers are refused", mib(MUCH_MEMORY_BYTES)),
            Some("look at p2p peers for what keeps it busy; limits.memory_mib in config.toml allows more"),
        )),
        _ => Some(finding(Level::Good, TITLE, text, None)),
    }
}

fn peers(info: &NodeInfo) -> Finding {
    const TITLE: &str = "Other nodes";
    match info.peers {
        0 if info.uptime_s < WARMING_UP_S => {
            finding(Level::Unknown, TITLE, "the node has just started and is looking for others", None)
        }
        0 => finding(
            Level::Warn,
            TITLE,
            "no other node is connected: nothing can be fetched, and nobody can fetch from here",
            Some(
                "start a node on another computer of this network, connect to one by its address (p2p dial), or name \
                 one in dht.bootstrap of config.toml; guest networks often keep computers apart",
            ),
        ),
        peers => {
            finding(Level::Good, TITLE, format!("{} connected", count(peers.into(), "node is", "nodes are")), None)
        }
    }
}

fn listening(info: &NodeInfo) -> Finding {
    const TITLE: &str = "Listening";
    match info.listen.len() {
        0 => finding(
            Level::Bad,
            TITLE,
            "the node listens at no address, so nobody can begin a connection to it",
            Some("look at transport.listen in config.toml; another program may have taken the port"),
        ),
        number => finding(
            Level::Good,
            TITLE,
            format!("the node can be reached within this network at {}", count(number as u64, "address", "addresses")),
            None,
        ),
    }
}

fn reachability(info: &NodeInfo) -> Finding {
    const TITLE: &str = "From the Internet";
    const FORWARD: &str = "forward the port in transport.listen of config.toml to this computer in the router, if people \
                           outside of this network are to fetch from here";
    match info.reachability {
        Reachability::Public => finding(Level::Good, TITLE, "others have reached this node from outside", None),
        Reachability::Private => {
            finding(Level::Warn, TITLE, "others cannot begin a connection to this node", Some(FORWARD))
        }
        Reachability::Unknown => {
            finding(Level::Unknown, TITLE, "nobody from outside has tried to reach this node so far", Some(FORWARD))
        }
    }
}

fn directory(info: &NodeInfo) -> Finding {
    const TITLE: &str = "The common directory";
    let does = match info.dht_mode {
        DhtMode::Server => "this node helps others to find things",
        DhtMode::Client => "this node asks others, and answers nobody",
    };
    match info.dht_peers {
        0 => finding(
            Level::Unknown,
            TITLE,
            format!("{does}, but knows no other node of the directory: links are found in this network only"),
            Some("it fills by itself once a node is connected that others can reach"),
        ),
        peers => {
            finding(Level::Good, TITLE, format!("{does}, and knows {}", count(peers.into(), "other", "others")), None)
        }
    }
}

fn clock(now: SystemTime) -> Finding {
    const TITLE: &str = "Clock";
    let floor = UNIX_EPOCH + Duration::from_secs(NOT_BEFORE);
    let is_plausible = now.duration_since(floor).is_ok_and(|age| age < NOT_AFTER);
    if is_plausible {
        return finding(Level::Good, TITLE, "the clock of this computer is plausible", None);
    }
    finding(
        Level::Bad,
        TITLE,
        "the clock of this computer is wrong: others will not find its drives, and names will seem to have expired",
        Some("set the clock, or let the system do so: timedatectl set-ntp true"),
    )
}

fn copy(drive: &DriveInfo) -> Option<Finding> {
    if drive.role != DriveRole::Mirror || drive.complete || drive.peers > 0 {
        return None;
    }
    let what = format!("the copy of {} is not complete, and nobody who has the rest is connected", title(drive));
    Some(finding(Level::Warn, "An unfinished copy", what, Some("it goes on when one of them is there; ask its owner")))
}

fn title(drive: &DriveInfo) -> String {
    if drive.title.is_empty() { drive.drive.to_string() } else { format!("{:?}", drive.title) }
}

fn storage(usage: &StorageUsage) -> Finding {
    const TITLE: &str = "Disk";
    if usage.browsed.state == BrowsedState::DiskFull {
        let what = "the disk is full: what is looked at is not kept, and copies cannot go on";
        return finding(Level::Bad, TITLE, what, Some("free some space; p2p du shows what the node holds"));
    }
    if usage.free_bytes > 0 && usage.free_bytes < LITTLE_DISK_BYTES {
        let what = format!("only {} of the disk are free", mib(usage.free_bytes));
        return finding(Level::Warn, TITLE, what, Some("free some space before copies stop"));
    }
    if usage.browsed.state == BrowsedState::Full {
        let what = "what is being looked at needs more than the cache may hold: the rest is fetched again each time";
        return finding(Level::Warn, TITLE, what, Some("raise browse_cache in config.toml"));
    }
    match usage.free_bytes {
        0 => finding(Level::Unknown, TITLE, "the system does not tell how much is free", None),
        free => finding(Level::Good, TITLE, format!("{} are free", mib(free)), None),
    }
}

fn watches(watches: u64) -> Finding {
    const TITLE: &str = "Watching folders";
    if watches >= FEW_WATCHES {
        let what = format!("the system can watch {} folders at a time", watches);
        return finding(Level::Good, TITLE, what, None);
    }
    let what = format!(
        "the system can watch {} folders at a time: in larger shares a change is noticed only within a minute",
        watches
    );
    finding(Level::Warn, TITLE, what, Some("raise it: sysctl -w fs.inotify.max_user_watches=524288"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeNode;

    fn system() -> System {
        System { now: UNIX_EPOCH + Duration::from_secs(NOT_BEFORE + 1_000), watches: Some(1_000_000) }
    }

    async fn info() -> NodeInfo {
        FakeNode::new().node().info().await.expect("the fake answers")
    }

    fn seen(info: &NodeInfo, system: &System) -> Vec<Finding> {
        findings(Facts { info, peers: &[], drives: &[], usage: None, health: None }, system)
    }

    fn level(all: &[Finding], title: &str) -> Level {
        all.iter().find(|finding| finding.title == title).unwrap_or_else(|| panic!("no {title} in {all:?}")).level
    }

    #[tokio::test]
    async fn a_lonely_node_is_told_what_to_do_once_it_had_time() {
        let mut node = info().await;
        assert_eq!(level(&seen(&node, &system()), "Other nodes"), Level::Unknown);
        node.uptime_s = 600;
        let all = seen(&node, &system());
        assert_eq!(level(&all, "Other nodes"), Level::Warn);
        assert_eq!(all[0].title, "Other nodes", "the worst comes first");
        assert!(all[0].todo.as_ref().is_some_and(|todo| todo.contains("dht.bootstrap")));
        node.peers = 2;
        assert_eq!(level(&seen(&node, &system()), "Other nodes"), Level::Good);
    }

    #[tokio::test]
    async fn a_wrong_clock_no_address_and_few_watches_are_found() {
        let mut node = info().await;
        node.listen.clear();
        node.notices.push("the web gateway is off: its port is taken".to_owned());
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let all = seen(&node, &System { now, watches: Some(8_192) });
        assert_eq!((level(&all, "Clock"), level(&all, "Listening")), (Level::Bad, Level::Bad));
        assert_eq!((level(&all, "Watching folders"), level(&all, "Since the start")), (Level::Warn, Level::Warn));
        let late = System { now: UNIX_EPOCH + Duration::from_secs(NOT_BEFORE) + NOT_AFTER, watches: None };
        assert_eq!(level(&seen(&node, &late), "Clock"), Level::Bad);
    }

    #[tokio::test]
    async fn storage_is_told_by_what_matters_most() {
        let mut usage = FakeNode::new().node().drives().usage().await.expect("the fake answers");
        for (free, state, expected) in [
            (0, BrowsedState::Off, Level::Unknown),
            (1 << 40, BrowsedState::Growing, Level::Good),
            (1 << 40, BrowsedState::Full, Level::Warn),
            (1 << 20, BrowsedState::Growing, Level::Warn),
            (1 << 40, BrowsedState::DiskFull, Level::Bad),
        ] {
            (usage.free_bytes, usage.browsed.state) = (free, state);
            assert_eq!(storage(&usage).level, expected, "{free} {state:?}");
        }
    }

    #[tokio::test]
    async fn ways_and_relays_are_told_to_who_cannot_be_dialled() {
        let fake = FakeNode::new();
        let mut node = info().await;
        (node.uptime_s, node.reachability) = (600, Reachability::Private);
        assert_eq!(level(&seen(&node, &system()), "Relays"), Level::Warn);
        node.relays.push("/ip4/192.0.2.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".into());
        assert_eq!(level(&seen(&node, &system()), "Relays"), Level::Good);
        fake.connect(p2p_identity::PeerId::from([3; 32]), PathKind::Relayed);
        let relay = p2p_identity::PeerId::from([6; 32]);
        node.relays.push(relay.to_string());
        fake.connect(relay, PathKind::Direct);
        let peers = fake.node().peers().list().await.expect("peers");
        let facts = |node, peers| Facts { info: node, peers, drives: &[], usage: None, health: None };
        let all = findings(facts(&node, &peers), &system());
        assert_eq!((level(&all, "Ways to other nodes"), level(&all, "This network")), (Level::Warn, Level::Unknown));
        fake.connect(p2p_identity::PeerId::from([4; 32]), PathKind::Direct);
        fake.connect(p2p_identity::PeerId::from([5; 32]), PathKind::Lan);
        let peers = fake.node().peers().list().await.expect("peers");
        let all = findings(facts(&node, &peers), &system());
        assert_eq!((level(&all, "Ways to other nodes"), level(&all, "This network")), (Level::Good, Level::Good));
        assert!(all.iter().filter(|finding| finding.area == Area::Nat).count() >= 4);
    }

    #[tokio::test]
    async fn a_network_that_keeps_computers_apart_is_named_as_the_cause() {
        let mut node = info().await;
        let mut lan = LanInfo { mdns: true, remembered: 1, asked: 1, asked_s_ago: Some(9), ..LanInfo::default() };
        lan.networks.push("eth0 192.168.1.5/24".into());
        (lan.silent, lan.router_answers) = (1, Some(true));
        (node.uptime_s, node.lan) = (600, Some(lan.clone()));
        let all = seen(&node, &system());
        let network = all.iter().find(|finding| finding.title == "This network").expect("a finding");
        assert_eq!(network.level, Level::Warn);
        assert!(network.what.contains("keeps computers apart") && network.what.contains("while the router does"));
        assert!(network.todo.as_ref().is_some_and(|todo| todo.contains("--relay")));
        assert_eq!((level(&all, "Relay in this network"), level(&all, "Multicast")), (Level::Warn, Level::Unknown));
        // A relay that both reach is the remedy.
        node.relays.push("relay".into());
        (lan.relays, lan.mdns_found, lan.remembered_connected) = (1, 1, 1);
        (lan.linked, lan.virtual_interfaces) = (3, vec!["docker0".into()]);
        node.lan = Some(lan);
        let all = seen(&node, &system());
        for title in ["Relay in this network", "Multicast", "Remembered addresses", "Addresses from others"] {
            assert_eq!(level(&all, title), Level::Good, "{title}");
        }
        assert!(all.iter().any(|finding| finding.what.contains("docker0")));
        node.lan = Some(LanInfo::default());
        let all = seen(&node, &system());
        assert!(all.iter().any(|finding| finding.title == "Multicast" && finding.what.contains("off")));
        assert_eq!(all.iter().filter(|finding| finding.area == Area::Lan).count(), 5, "one line a rung");
    }

    #[tokio::test]
    async fn what_the_router_did_is_told_with_what_to_do() {
        let mut node = info().await;
        node.reachability = Reachability::Private;
        let told = |node: &NodeInfo| seen(node, &system()).into_iter().find(|finding| finding.title == "The router");
        assert_eq!(told(&node), None);
        for (state, expected, word) in [
            (PortMappingState::Off, Level::Unknown, "transport.port_mapping"),
            (PortMappingState::Nested, Level::Warn, "both routers"),
            (PortMappingState::Refused, Level::Warn, "allow UPnP"),
            (PortMappingState::Silent, Level::Unknown, "forward the port"),
        ] {
            node.port_mapping = Some(crate::PortMapping { state, protocols: Vec::new(), addresses: Vec::new() });
            let finding = told(&node).expect("a finding");
            assert_eq!((finding.level, finding.area), (expected, Area::Nat), "{state:?}");
            assert!(finding.todo.is_some_and(|todo| todo.contains(word)), "{state:?}");
        }
        node.port_mapping = Some(crate::PortMapping {
            state: PortMappingState::Mapped,
            protocols: vec!["upnp".into(), "nat_pmp".into()],
            addresses: vec!["/ip4/9.9.9.9/tcp/1".into()],
        });
        let what = told(&node).expect("a finding").what;
        assert!(what.contains("/ip4/9.9.9.9/tcp/1") && what.contains("UPnP and NAT-PMP"), "{what}");
        (node.reachability, node.port_mapping) = (Reachability::Public, None);
        assert_eq!(told(&node), None);
    }

    #[tokio::test]
    async fn much_memory_is_told() {
        let mut node = info().await;
        for (bytes, expected) in [(30 << 20, Some(Level::Good)), (MUCH_MEMORY_BYTES, Some(Level::Warn)), (0, None)] {
            node.rss_bytes = bytes;
            assert_eq!(memory(&node).map(|finding| finding.level), expected);
        }
    }
}
