//! Which host stands for what (specs/drives.md, 13.1): a site, the dashboard, or this computer.
//!
//! Only hosts that are known here are answered: a web page that lets its own name point to loopback (DNS rebinding)
//! still sends that name.

use p2p_api::gateway::{DASHBOARD_HOST, SITE_HOST_SUFFIX};
use p2p_api::wire::encode_path;
use p2p_api::{DriveId, Link, LinkError, Target};

/// Names will live at `<name>.n.p2p.localhost`.
const NAMES: &str = ".n.p2p.localhost";

/// What a host stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The site of a drive.
    Site(DriveId),
    /// An address of a site that cannot be shown, and why.
    NoSite(NoSite),
    /// The dashboard.
    Dashboard,
    /// This computer by its usual names: only leads to the others.
    Local,
}

/// Why a host below `p2p.localhost` has no site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSite {
    /// A character of the id is wrong.
    Damaged,
    /// A name, snapshot or blob; what this version cannot show yet.
    Later(&'static str),
}

/// What `authority` (`host[:port]`) stands for at a gateway on `port`; `None` for everything that is not ours.
pub(crate) fn place(authority: &str, port: u16) -> Option<Place> {
    let (host, at) = split(authority)?;
    if at != port {
        return None;
    }
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        DASHBOARD_HOST => return Some(Place::Dashboard),
        "localhost" | "127.0.0.1" | "[::1]" => return Some(Place::Local),
        _ => {}
    }
    if host.strip_suffix(NAMES).is_some_and(|name| !name.is_empty()) {
        return Some(Place::NoSite(NoSite::Later("a name")));
    }
    let id = host.strip_suffix(SITE_HOST_SUFFIX)?;
    if id.contains('.') {
        // A secret never belongs into a host.
        return None;
    }
    match id.parse::<Link>() {
        Ok(link) => Some(match link.target {
            Target::Drive(drive) => Place::Site(drive),
            Target::Snapshot(_) => Place::NoSite(NoSite::Later("a snapshot")),
            Target::Blob(_) => Place::NoSite(NoSite::Later("a single file")),
            Target::WriterInvitation(_) => Place::NoSite(NoSite::Later("an invitation")),
        }),
        Err(LinkError::DamagedId) => Some(Place::NoSite(NoSite::Damaged)),
        Err(LinkError::UnknownType(_)) => Some(Place::NoSite(NoSite::Later("a newer kind of link"))),
        Err(_) => None,
    }
}

fn split(authority: &str) -> Option<(&str, u16)> {
    let has_port = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
    match has_port {
        None => Some((authority, 80)),
        Some(colon) => {
            let port = &authority[colon + 1..];
            let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            Some((&authority[..colon], is_number.then(|| port.parse().ok())??))
        }
    }
}

/// Makes addresses at this gateway's port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Urls {
    port: u16,
}

impl Urls {
    pub(crate) fn new(port: u16) -> Self {
        Self { port }
    }

    pub(crate) fn port(self) -> u16 {
        self.port
    }

    fn origin(self, host: &str) -> String {
        match self.port {
            80 => format!("http://{host}"),
            port => format!("http://{host}:{port}"),
        }
    }

    /// The origin of a place, as browsers send it; `None` for this computer, which has several.
    pub(crate) fn origin_of(self, place: Place) -> Option<String> {
        match place {
            Place::Site(drive) => Some(self.site_origin(drive)),
            Place::Dashboard => Some(self.dashboard_origin()),
            Place::NoSite(_) | Place::Local => None,
        }
    }

    pub(crate) fn dashboard_origin(self) -> String {
        self.origin(DASHBOARD_HOST)
    }

    pub(crate) fn site_origin(self, drive: DriveId) -> String {
        self.origin(&format!("{drive}{SITE_HOST_SUFFIX}"))
    }

    /// The address of a path (not encoded, without a slash in front) in a drive.
    pub(crate) fn site(self, drive: DriveId, path: &str) -> String {
        format!("{}/{}", self.site_origin(drive), encode_path(path))
    }

    /// The address of what a link leads to, with its version.
    pub(crate) fn of_link(self, link: &Link) -> Option<String> {
        let Target::Drive(drive) = link.target else { return None };
        let version = link.version.as_ref().map(|version| format!("?v={version}")).unwrap_or_default();
        Some(format!("{}{version}", self.site(drive, &link.path)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> DriveId {
        DriveId::from([7; 32])
    }

    #[test]
    fn each_host_has_one_meaning() {
        let site = format!("{}.p2p.localhost:8642", id());
        for (authority, expected) in [
            (site.as_str(), Some(Place::Site(id()))),
            (&site.to_uppercase(), Some(Place::Site(id()))),
            ("p2pnode.localhost:8642", Some(Place::Dashboard)),
            ("localhost:8642", Some(Place::Local)),
            ("127.0.0.1:8642", Some(Place::Local)),
            ("[::1]:8642", Some(Place::Local)),
            ("docs-alice.n.p2p.localhost:8642", Some(Place::NoSite(NoSite::Later("a name")))),
        ] {
            assert_eq!(place(authority, 8642), expected, "{authority}");
        }
    }

    #[test]
    fn everybody_elses_names_are_nobody_here() {
        for authority in [
            "",
            ":8642",
            "example.org:8642",
            "p2pnode.localhost",
            "p2pnode.localhost:80",
            "p2pnode.localhost:",
            "p2pnode.localhost:+8642",
            "p2pnode.localhost:8642:8642",
            "p2pnode.localhost.example.org:8642",
            "p2pnode.localhost.:8642",
            "p2p.localhost:8642",
            ".p2p.localhost:8642",
            ".n.p2p.localhost:8642",
            "evil.p2p.localhost:8642",
            "127.0.0.1.example.org:8642",
            "127.0.0.2:8642",
            "user@p2pnode.localhost:8642",
        ] {
            assert_eq!(place(authority, 8642), None, "{authority}");
        }
    }

    #[test]
    fn a_damaged_id_is_told_from_a_strange_host() {
        let mut text = id().to_string();
        let last = text.pop().unwrap();
        text.push(if last == 'y' { 'b' } else { 'y' });
        assert_eq!(place(&format!("{text}.p2p.localhost:1"), 1), Some(Place::NoSite(NoSite::Damaged)));
        let snapshot = Target::Snapshot([1; 32]).to_id_text();
        let later = Some(Place::NoSite(NoSite::Later("a snapshot")));
        assert_eq!(place(&format!("{snapshot}.p2p.localhost:1"), 1), later);
    }

    #[test]
    fn a_secret_in_a_host_is_refused() {
        let host = format!("{}.{}.p2p.localhost:8642", id(), "y".repeat(52));
        assert_eq!(place(&host, 8642), None);
    }

    #[test]
    fn links_become_addresses() {
        let link: Link = format!("p2p://{}/a b/ü?v=3", id()).parse().unwrap();
        let expected = format!("http://{}.p2p.localhost:8642/a%20b/%C3%BC?v=3", id());
        assert_eq!(Urls::new(8642).of_link(&link), Some(expected));
        assert_eq!(Urls::new(80).dashboard_origin(), "http://p2pnode.localhost");
    }

    proptest! {
        #[test]
        fn any_host_is_read_or_refused(host in "\\PC{0,80}|[a-z0-9.:\\[\\]]{0,80}") {
            let _ = place(&host, 8642);
        }

        #[test]
        fn a_site_is_found_at_its_own_origin(key: [u8; 32], port: u16) {
            let origin = Urls::new(port).site_origin(DriveId::from(key));
            let authority = origin.strip_prefix("http://").unwrap();
            prop_assert_eq!(place(authority, port), Some(Place::Site(DriveId::from(key))));
        }
    }
}
