//! How a router treats the ports of a node, measured (RFC 4787, sections 4.1 and 5), and what follows for two nodes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which port of the router's a port of the node's gets (RFC 4787, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NatMapping {
    /// Its own: nothing is translated.
    None,
    /// The same one whoever is spoken to, so that others can be told where to dial.
    EndpointIndependent,
    /// Another one for each peer: a symmetric router.
    EndpointDependent,
}

/// Whose packets the router hands to that port (RFC 4787, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NatFiltering {
    /// Anybody's: a full cone, a port that was forwarded, or no router.
    EndpointIndependent,
    /// Those of hosts that were written to, from any port.
    AddressDependent,
    /// Those of hosts and ports that were written to.
    AddressAndPortDependent,
}

/// How the router treats one transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NatTransport {
    /// `null` while fewer than two peers of the world have told where they see this node.
    pub mapping: Option<NatMapping>,
    /// `null` while nobody has tried to come in unasked.
    pub filtering: Option<NatFiltering>,
    /// Nothing gets out at all: peers that answer by the other transport do not answer by this one. Or the node does not listen
    /// by it.
    pub blocked: bool,
    /// Hosts of the world that told where they see this node, at present.
    pub seen_by: u32,
}

impl NatTransport {
    /// Whether there is nothing left to find out.
    pub fn is_known(&self) -> bool {
        self.blocked || (self.mapping.is_some() && self.filtering.is_some())
    }
}

/// How the router treats the node: measured over IPv4 by what peers of the world see of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NatInfo {
    /// QUIC.
    pub udp: NatTransport,
    /// TCP.
    pub tcp: NatTransport,
}

impl NatInfo {
    /// Whether there is nothing left to find out.
    pub fn is_known(&self) -> bool {
        self.udp.is_known() && self.tcp.is_known()
    }
}

/// Whether two nodes can get a direct connection through both of their routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Not enough was measured.
    Unknown,
    /// It can: by itself within seconds.
    Possible,
    /// Both routers take another port for each peer.
    BothChange,
    /// Ours takes another port for each peer, and theirs hands on nothing from a port that was not written to.
    OursChanges,
    /// The other way round.
    TheirsChanges,
    /// A transport that both could use is blocked.
    Blocked,
}

impl Outlook {
    /// For this node and a peer.
    pub fn new(ours: &NatInfo, theirs: &NatInfo) -> Self {
        let udp = Self::of_transport(&ours.udp, &theirs.udp);
        let tcp = Self::of_transport(&ours.tcp, &theirs.tcp);
        match (udp, tcp) {
            (Self::Possible, _) | (_, Self::Possible) => Self::Possible,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Blocked, tcp) => tcp,
            (udp, _) => udp,
        }
    }

    fn of_transport(ours: &NatTransport, theirs: &NatTransport) -> Self {
        if ours.blocked || theirs.blocked {
            return Self::Blocked;
        }
        let (Some(our_mapping), Some(their_mapping)) = (ours.mapping, theirs.mapping) else { return Self::Unknown };
        // Who takes in anybody is dialled, whatever the other one's router does.
        let takes_anybody = |side: &NatTransport| side.filtering == Some(NatFiltering::EndpointIndependent);
        let changes = |mapping| mapping == NatMapping::EndpointDependent;
        // From a host that was written to the port does not matter, so that it may change.
        let takes_any_port = |side: &NatTransport| match side.filtering {
            Some(NatFiltering::AddressAndPortDependent) => Some(false),
            Some(_) => Some(true),
            None => None,
        };
        let one = |strict: &NatTransport, otherwise| match takes_any_port(strict) {
            Some(true) => Self::Possible,
            Some(false) => otherwise,
            None => Self::Unknown,
        };
        match (changes(our_mapping), changes(their_mapping)) {
            (false, false) => Self::Possible,
            _ if takes_anybody(ours) || takes_anybody(theirs) => Self::Possible,
            (true, true) => Self::BothChange,
            (true, false) => one(theirs, Self::OursChanges),
            (false, true) => one(ours, Self::TheirsChanges),
        }
    }

    /// Why the two are not connected directly: a sentence without its capital and its full stop. `None` where that is not
    /// known.
    pub fn why_relayed(self) -> Option<&'static str> {
        Some(match self {
            Self::Unknown => return None,
            Self::Possible => {
                "both routers would let a direct connection through, and none has come so far: it is tried when the two meet, and once \
                 more after that"
            }
            Self::BothChange => {
                "both routers take another port for each peer (symmetric), so neither node can tell the other where to dial"
            }
            Self::OursChanges => {
                "the router here takes another port for each peer (symmetric), and the one over there hands on nothing from \
                 a port that it does not know"
            }
            Self::TheirsChanges => {
                "the router over there takes another port for each peer (symmetric), and the one here hands on nothing from \
                 a port that it does not know"
            }
            Self::Blocked => "what both could use, UDP or TCP, is blocked by one of the networks",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(mapping: NatMapping, filtering: NatFiltering) -> NatTransport {
        NatTransport { mapping: Some(mapping), filtering: Some(filtering), blocked: false, seen_by: 2 }
    }

    #[test]
    fn two_routers_are_got_through_where_one_of_them_is_told_where_to_dial() {
        use NatFiltering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        use NatMapping as M;
        let cone = side(M::EndpointIndependent, EndpointIndependent);
        let by_address = side(M::EndpointIndependent, AddressDependent);
        let restricted = side(M::EndpointIndependent, AddressAndPortDependent);
        let symmetric = side(M::EndpointDependent, AddressAndPortDependent);
        let public = side(M::None, EndpointIndependent);
        let blocked = NatTransport { blocked: true, ..NatTransport::default() };
        let both = |side| NatInfo { udp: side, tcp: side };
        let no_udp = |tcp| NatInfo { udp: blocked, tcp };
        for (ours, theirs, outlook) in [
            (both(restricted), both(restricted), Outlook::Possible),
            (both(symmetric), both(cone), Outlook::Possible),
            (both(symmetric), both(public), Outlook::Possible),
            (both(symmetric), both(by_address), Outlook::Possible),
            (both(symmetric), both(restricted), Outlook::OursChanges),
            (both(restricted), both(symmetric), Outlook::TheirsChanges),
            (both(symmetric), both(symmetric), Outlook::BothChange),
            (no_udp(restricted), both(restricted), Outlook::Possible),
            (no_udp(symmetric), both(symmetric), Outlook::BothChange),
            (no_udp(blocked), both(restricted), Outlook::Blocked),
            (NatInfo::default(), both(restricted), Outlook::Unknown),
            (NatInfo { udp: NatTransport::default(), tcp: symmetric }, both(symmetric), Outlook::Unknown),
        ] {
            assert_eq!(Outlook::new(&ours, &theirs), outlook, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn an_outlook_turns_around_with_the_sides() {
        let mappings = [None, Some(NatMapping::EndpointIndependent), Some(NatMapping::EndpointDependent)];
        let filterings = [None, Some(NatFiltering::AddressDependent), Some(NatFiltering::AddressAndPortDependent)];
        let sides = || {
            let pairs = mappings.into_iter().flat_map(|mapping| filterings.map(|filtering| (mapping, filtering)));
            pairs.map(|(mapping, filtering)| NatTransport { mapping, filtering, blocked: false, seen_by: 0 })
        };
        for (one, other) in sides().flat_map(|one| sides().map(move |other| (one, other))) {
            let (one, other) = (NatInfo { udp: one, tcp: one }, NatInfo { udp: other, tcp: other });
            let turned = match Outlook::new(&other, &one) {
                Outlook::OursChanges => Outlook::TheirsChanges,
                Outlook::TheirsChanges => Outlook::OursChanges,
                same => same,
            };
            assert_eq!(Outlook::new(&one, &other), turned);
        }
    }
}
