//! What routers did about a port (overlay.md, 8.1).

use libp2p::{Multiaddr, upnp};
use p2p_api::{PortMapping, PortMappingState};
use p2p_transport::{AddressScope, MappingEvent, MappingProtocol, scope};

use super::Actor;

/// Addresses kept; a router gives one for each port listened on, in each protocol.
const MAX_HELD: usize = 16;

/// What one of the two ways came to: UPnP, or PCP with NAT-PMP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Answer {
    #[default]
    None,
    Silent,
    Refused,
    Nested,
}

/// What is held, and what was answered.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    is_on: bool,
    held: Vec<(&'static str, Multiaddr)>,
    upnp: Answer,
    pcp: Answer,
    given: [u64; 3],
    renewed: u64,
    lost: u64,
    refused: u64,
}

const NAMES: [&str; 3] = ["upnp", "pcp", "nat_pmp"];

impl Mappings {
    pub(super) fn new(is_on: bool) -> Self {
        Self { is_on, ..Self::default() }
    }

    /// Another network: what was held is not.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        (self.upnp, self.pcp) = (Answer::None, Answer::None);
    }

    fn on_upnp(&mut self, event: upnp::Event) {
        match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => self.hold(0, external_addr),
            upnp::Event::ExpiredExternalAddr { external_addr, .. } => self.lose(&external_addr),
            upnp::Event::GatewayNotFound => self.upnp = Answer::Silent,
            upnp::Event::NonRoutableGateway => self.upnp = Answer::Nested,
        }
    }

    fn on_pcp(&mut self, event: MappingEvent) {
        match event {
            MappingEvent::Mapped { address, .. } if scope(&address) != AddressScope::Global => {
                self.pcp = Answer::Nested;
            }
            MappingEvent::Mapped { address, protocol } => {
                self.hold(if protocol == MappingProtocol::Pcp { 1 } else { 2 }, address);
            }
            MappingEvent::Renewed => self.renewed += 1,
            MappingEvent::Lost { address } => self.lose(&address),
            MappingEvent::Refused { code } => {
                tracing::debug!(code, "the router gives no port");
                self.refused += 1;
                self.pcp = Answer::Refused;
            }
            MappingEvent::NoAnswer => self.pcp = Answer::Silent,
        }
    }

    fn hold(&mut self, protocol: usize, address: Multiaddr) {
        let Some(name) = NAMES.get(protocol) else { return };
        if let Some(given) = self.given.get_mut(protocol) {
            *given += 1;
        }
        tracing::info!(%address, protocol = name, "the router leads a port to this node");
        let entry = (*name, address);
        if !self.held.contains(&entry) && self.held.len() < MAX_HELD {
            self.held.push(entry);
        }
    }

    fn lose(&mut self, address: &Multiaddr) {
        self.lost += 1;
        self.held.retain(|(_, held)| held != address);
    }

    /// Whether UPnP gave something that has to be given back.
    pub(super) fn is_by_upnp(&self) -> bool {
        self.held.iter().any(|(name, _)| *name == NAMES[0])
    }

    /// As it is told.
    pub(super) fn told(&self) -> PortMapping {
        let answers = [self.upnp, self.pcp];
        let state = match answers {
            _ if !self.is_on => PortMappingState::Off,
            _ if !self.held.is_empty() => PortMappingState::Mapped,
            _ if answers.contains(&Answer::Nested) => PortMappingState::Nested,
            _ if answers.contains(&Answer::Refused) => PortMappingState::Refused,
            [Answer::Silent, Answer::Silent] => PortMappingState::Silent,
            _ => PortMappingState::Asking,
        };
        let is_held = |name: &&str| self.held.iter().any(|(held, _)| held == name);
        let mut addresses: Vec<String> = self.held.iter().map(|(_, address)| address.to_string()).collect();
        addresses.sort();
        addresses.dedup();
        PortMapping { state, protocols: NAMES.into_iter().filter(is_held).map(str::to_owned).collect(), addresses }
    }

    pub(super) fn counters(&self) -> Vec<(String, u64)> {
        let given = NAMES.iter().zip(self.given);
        let mut counters: Vec<(String, u64)> =
            given.map(|(name, count)| (format!("port_mappings_{name}"), count)).collect();
        counters.push(("port_mappings_renewed".into(), self.renewed));
        counters.push(("port_mappings_lost".into(), self.lost));
        counters.push(("port_mappings_refused".into(), self.refused));
        counters
    }
}

impl Actor {
    pub(super) fn on_upnp(&mut self, event: upnp::Event) {
        tracing::debug!(?event, "UPnP");
        if let upnp::Event::NewExternalAddr { external_addr, .. } = &event {
            // What the router says is not tested by that.
            self.swarm.behaviour_mut().transport.tested.test(external_addr);
        }
        self.mappings.on_upnp(event);
        self.refresh();
    }

    pub(super) fn on_port_mapping(&mut self, event: MappingEvent) {
        tracing::debug!(?event, "PCP and NAT-PMP");
        self.mappings.on_pcp(event);
        self.refresh();
    }

    /// Gives back what routers gave, at the end.
    pub(super) async fn give_ports_back(&mut self) {
        let listening: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        let by_upnp = self.mappings.is_by_upnp();
        self.swarm.behaviour_mut().transport.give_ports_back(&listening, by_upnp).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(text: &str, protocol: MappingProtocol) -> MappingEvent {
        MappingEvent::Mapped { address: text.parse().expect("a multiaddr"), protocol }
    }

    #[test]
    fn what_the_router_did_is_told() {
        let told = |mappings: &Mappings| mappings.told().state;
        assert_eq!(told(&Mappings::new(false)), PortMappingState::Off);
        let mut mappings = Mappings::new(true);
        assert_eq!(told(&mappings), PortMappingState::Asking);
        mappings.on_pcp(MappingEvent::NoAnswer);
        assert_eq!(told(&mappings), PortMappingState::Asking, "UPnP may still answer");
        mappings.on_upnp(upnp::Event::GatewayNotFound);
        assert_eq!(told(&mappings), PortMappingState::Silent);
        mappings.on_pcp(MappingEvent::Refused { code: 2 });
        assert_eq!(told(&mappings), PortMappingState::Refused);
        mappings.on_pcp(mapped("/ip4/100.64.0.2/tcp/1", MappingProtocol::Pcp));
        assert_eq!(told(&mappings), PortMappingState::Nested);
        mappings.on_pcp(mapped("/ip4/9.9.9.9/tcp/1", MappingProtocol::NatPmp));
        let all = mappings.told();
        assert_eq!((all.state, all.protocols), (PortMappingState::Mapped, vec!["nat_pmp".to_owned()]));
        mappings.on_pcp(MappingEvent::Lost { address: "/ip4/9.9.9.9/tcp/1".parse().expect("a multiaddr") });
        assert_eq!(told(&mappings), PortMappingState::Nested);
        mappings.forget();
        assert_eq!(told(&mappings), PortMappingState::Asking);
        assert!(mappings.counters().contains(&("port_mappings_nat_pmp".into(), 1)));
    }
}
