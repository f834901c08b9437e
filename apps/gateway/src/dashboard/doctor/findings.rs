//! From facts to findings. Decides only; nothing here asks anybody.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2p_api::{BrowsedState, DhtMode, DriveInfo, DriveRole, NodeInfo, Reachability, StorageUsage};

use crate::dashboard::parts;
use crate::human;

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

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Bad,
    Warn,
    Unknown,
    Good,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) title: &'static str,
    /// What is so.
    pub(super) what: String,
    /// What can be done about it.
    pub(super) todo: Option<String>,
}

/// What the computer itself tells.
#[derive(Clone, Debug)]
pub(super) struct System {
    pub(super) now: SystemTime,
    /// Most folders that one user's programs can watch; `None` where the system does not say.
    pub(super) watches: Option<u64>,
}

impl System {
    pub(super) fn look() -> Self {
        let text = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok();
        Self { now: SystemTime::now(), watches: text.and_then(|text| text.trim().parse().ok()) }
    }
}

/// All findings, the worst first.
pub(super) fn findings(
    info: &NodeInfo,
    drives: &[DriveInfo],
    usage: Option<&StorageUsage>,
    system: &System,
) -> Vec<Finding> {
    let mut all = vec![peers(info), listening(info), reachability(info), directory(info), clock(system.now)];
    all.extend(info.notices.iter().map(|notice| finding(Level::Warn, "Since the start", notice.clone(), None)));
    all.extend(drives.iter().filter_map(copy));
    all.extend(usage.map(storage));
    all.extend(system.watches.map(watches));
    all.sort_by_key(|finding| finding.level);
    all
}

fn finding(level: Level, title: &'static str, what: impl Into<String>, todo: Option<&str>) -> Finding {
    Finding { level, title, what: what.into(), todo: todo.map(str::to_owned) }
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
                "start a node on another computer of this network, connect to one by its address on the page Peers, or \
                 name one in dht.bootstrap of config.toml; guest networks often keep computers apart",
            ),
        ),
        peers => finding(
            Level::Good,
            TITLE,
            format!("{} connected", human::count(peers.into(), "node is", "nodes are")),
            None,
        ),
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
        count => finding(
            Level::Good,
            TITLE,
            format!(
                "the node can be reached within this network at {}",
                human::count(count as u64, "address", "addresses")
            ),
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
        peers => finding(
            Level::Good,
            TITLE,
            format!("{does}, and knows {}", human::count(peers.into(), "other", "others")),
            None,
        ),
    }
}

fn clock(now: SystemTime) -> Finding {
    const TITLE: &str = "Clock";
    let floor = UNIX_EPOCH + Duration::from_secs(NOT_BEFORE);
    let is_plausible = now.duration_since(floor).is_ok_and(|age| age < NOT_AFTER);
    if is_plausible {
        let text = format!("it says {}, which is plausible", httpdate::fmt_http_date(now));
        return finding(Level::Good, TITLE, text, None);
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
    let what = format!("the copy of {} is not complete, and nobody who has the rest is connected", parts::title(drive));
    Some(finding(Level::Warn, "An unfinished copy", what, Some("it goes on when one of them is there; ask its owner")))
}

fn storage(usage: &StorageUsage) -> Finding {
    const TITLE: &str = "Disk";
    if usage.browsed.state == BrowsedState::DiskFull {
        let what = "the disk is full: what is looked at is not kept, and copies cannot go on";
        return finding(Level::Bad, TITLE, what, Some("free some space; the page Storage shows what the node holds"));
    }
    if usage.free_bytes > 0 && usage.free_bytes < LITTLE_DISK_BYTES {
        let what = format!("only {} of the disk are free", human::bytes(usage.free_bytes));
        return finding(Level::Warn, TITLE, what, Some("free some space before copies stop"));
    }
    if usage.browsed.state == BrowsedState::Full {
        let what = "what is being looked at needs more than the cache may hold: the rest is fetched again each time";
        return finding(Level::Warn, TITLE, what, Some("raise browse_cache in config.toml"));
    }
    match usage.free_bytes {
        0 => finding(Level::Unknown, TITLE, "the system does not tell how much is free", None),
        free => finding(Level::Good, TITLE, format!("{} are free", human::bytes(free)), None),
    }
}

fn watches(watches: u64) -> Finding {
    const TITLE: &str = "Watching folders";
    if watches >= FEW_WATCHES {
        let what = format!("the system can watch {} folders at a time", human::grouped(watches));
        return finding(Level::Good, TITLE, what, None);
    }
    let what = format!(
        "the system can watch {} folders at a time: in larger shares a change is noticed only within a minute",
        human::grouped(watches)
    );
    finding(Level::Warn, TITLE, what, Some("raise it: sysctl -w fs.inotify.max_user_watches=524288"))
}

#[cfg(test)]
mod tests {
    use p2p_api::testing::FakeNode;

    use super::*;

    fn system() -> System {
        System { now: UNIX_EPOCH + Duration::from_secs(NOT_BEFORE + 1_000), watches: Some(1_000_000) }
    }

    async fn info() -> NodeInfo {
        FakeNode::new().node().info().await.unwrap()
    }

    fn level(all: &[Finding], title: &str) -> Level {
        all.iter().find(|finding| finding.title == title).unwrap_or_else(|| panic!("no {title} in {all:?}")).level
    }

    #[tokio::test]
    async fn a_lonely_node_is_told_what_to_do_once_it_had_time() {
        let mut node = info().await;
        assert_eq!(level(&findings(&node, &[], None, &system()), "Other nodes"), Level::Unknown);
        node.uptime_s = 600;
        let all = findings(&node, &[], None, &system());
        assert_eq!(level(&all, "Other nodes"), Level::Warn);
        assert_eq!(all[0].title, "Other nodes", "the worst comes first");
        assert!(all[0].todo.as_ref().is_some_and(|todo| todo.contains("dht.bootstrap")));
        node.peers = 2;
        assert_eq!(level(&findings(&node, &[], None, &system()), "Other nodes"), Level::Good);
    }

    #[tokio::test]
    async fn a_wrong_clock_no_address_and_few_watches_are_found() {
        let mut node = info().await;
        node.listen.clear();
        node.notices.push("the web gateway is off: its port is taken".to_owned());
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let all = findings(&node, &[], None, &System { now, watches: Some(8_192) });
        assert_eq!((level(&all, "Clock"), level(&all, "Listening")), (Level::Bad, Level::Bad));
        assert_eq!((level(&all, "Watching folders"), level(&all, "Since the start")), (Level::Warn, Level::Warn));
        let late = System { now: UNIX_EPOCH + Duration::from_secs(NOT_BEFORE) + NOT_AFTER, watches: None };
        assert_eq!(level(&findings(&node, &[], None, &late), "Clock"), Level::Bad);
    }

    #[tokio::test]
    async fn storage_is_told_by_what_matters_most() {
        let mut usage = FakeNode::new().node().drives().usage().await.unwrap();
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
}
