//! Asking the router for ports in PCP and NAT-PMP (overlay.md, 8.1), beside UPnP. IPv4 only.

mod client;
mod gateway;
mod wire;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, ExpiredListenAddr, FromSwarm, NetworkBehaviour, NewListenAddr, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use client::MappingProtocol;
use client::{Client, Outcome, Port};
use wire::{Kind, MAX_BYTES, ROUTER_PORT};

use crate::is_global_ip;

/// Ports that are asked for; a node listens on two.
const MAX_PORTS: usize = 8;
/// Events that wait for the swarm.
const EVENTS: usize = 32;
/// How long giving the ports back at the end may take.
const RELEASE_TIME: Duration = Duration::from_millis(500);
/// A computer without a default route, or without a way to the router, looks again after this; a change of the network is
/// told from outside.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What came of asking the router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingEvent {
    /// What comes to that address reaches this node. Where it is no address of the world the router stands behind another one.
    Mapped {
        /// The address.
        address: Multiaddr,
        /// In which protocol the router said so.
        protocol: MappingProtocol,
    },
    /// The router said so once more.
    Renewed,
    /// It does so no longer.
    Lost {
        /// The address.
        address: Multiaddr,
    },
    /// The router does not want to.
    Refused {
        /// The number of the reason in its protocol.
        code: u16,
    },
    /// The router does not answer, or there is none.
    NoAnswer,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    ports: BTreeSet<Port>,
    /// Another network may be another router.
    network: u64,
    is_over: bool,
}

/// Asks the router for the ports that this node listens on, and keeps them. Must be made inside a tokio runtime.
///
/// An address that the router gave is a candidate: it counts once another peer was able to dial it.
pub struct PortMapping {
    wanted: watch::Sender<Wanted>,
    events: mpsc::Receiver<MappingEvent>,
    task: Option<JoinHandle<()>>,
    listening: Vec<Multiaddr>,
    /// What the swarm is told next.
    waiting: Option<ToSwarm<MappingEvent, Infallible>>,
}

impl Default for PortMapping {
    fn default() -> Self {
        let (wanted, seen) = watch::channel(Wanted::default());
        let (tx, events) = mpsc::channel(EVENTS);
        let task = Some(tokio::spawn(keep(seen, tx)));
        Self { wanted, events, task, listening: Vec::new(), waiting: None }
    }
}

impl PortMapping {
    /// This computer is in another network, or at another address of it.
    pub fn on_network_change(&mut self) {
        self.wanted.send_modify(|wanted| wanted.network += 1);
    }

    /// Gives the ports back and ends; half a second at most.
    pub async fn close(&mut self) {
        self.wanted.send_modify(|wanted| wanted.is_over = true);
        if let Some(mut task) = self.task.take() {
            // It may wait for somebody to take its events.
            self.events.close();
            if tokio::time::timeout(RELEASE_TIME * 2, &mut task).await.is_err() {
                task.abort();
            }
        }
    }

    fn on_listening(&mut self) {
        let ports: BTreeSet<Port> = self.listening.iter().filter_map(port_to_map).take(MAX_PORTS).collect();
        self.wanted.send_if_modified(|wanted| std::mem::replace(&mut wanted.ports, ports.clone()) != ports);
    }
}

impl Drop for PortMapping {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A port of an address in a local IPv4 network: what else is there needs no router, or has none.
fn port_to_map(address: &Multiaddr) -> Option<Port> {
    let mut parts = address.iter();
    let Some(Protocol::Ip4(ip)) = parts.next() else { return None };
    if ip.is_loopback() || is_global_ip(IpAddr::V4(ip)) {
        return None;
    }
    match (parts.next()?, parts.next(), parts.next()) {
        (Protocol::Tcp(number), None, None) => Some(Port { kind: Kind::Tcp, number }),
        (Protocol::Udp(number), Some(Protocol::QuicV1), None) => Some(Port { kind: Kind::Udp, number }),
        _ => None,
    }
}

fn multiaddr(port: Port, outside: SocketAddrV4) -> Multiaddr {
    let address = Multiaddr::from(*outside.ip());
    match port.kind {
        Kind::Tcp => address.with(Protocol::Tcp(outside.port())),
        Kind::Udp => address.with(Protocol::Udp(outside.port())).with(Protocol::QuicV1),
    }
}

/// Keeps the ports that are wanted, in whatever network that is, until it is over.
async fn keep(mut wanted: watch::Receiver<Wanted>, events: mpsc::Sender<MappingEvent>) {
    loop {
        let now = wanted.borrow_and_update().clone();
        if now.is_over || wanted.has_changed().is_err() {
            return;
        }
        let mut pause = None;
        if !now.ports.is_empty() {
            match reach_router().await {
                Some((socket, own)) => {
                    converse(&socket, own, &now, &mut wanted, &events).await;
                    continue;
                }
                None => {
                    let _ = events.send(MappingEvent::NoAnswer).await;
                    pause = Some(LOOK_AGAIN);
                }
            }
        }
        let changed = match pause {
            Some(pause) => tokio::time::timeout(pause, wanted.changed()).await.unwrap_or(Ok(())),
            None => wanted.changed().await,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// A socket that hears nobody but the router, and the address by which the router knows this computer.
async fn reach_router() -> Option<(UdpSocket, Ipv4Addr)> {
    let router = gateway::default_gateway()?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
    socket.connect((router, ROUTER_PORT)).await.ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(own) => Some((socket, own)),
        IpAddr::V6(_) => None,
    }
}

/// Keeps the ports at one router until something else is wanted.
async fn converse(
    socket: &UdpSocket,
    own: Ipv4Addr,
    now: &Wanted,
    wanted: &mut watch::Receiver<Wanted>,
    events: &mpsc::Sender<MappingEvent>,
) {
    let with_nonce = |port: &Port| {
        let mut nonce = [0; 12];
        // Without randomness the answers of this run can be guessed; the socket still hears the router only.
        let _ = getrandom::fill(&mut nonce);
        (*port, nonce)
    };
    let mut client = Client::new(own, now.ports.iter().map(with_nonce), Instant::now());
    let mut told = Vec::new();
    let mut buffer = [0; MAX_BYTES];
    loop {
        let (out, outcomes) = client.on_time(Instant::now());
        for datagram in out {
            // What is lost is sent again; a router that is not there says so here.
            let _ = socket.send(&datagram).await;
        }
        tell(outcomes, &mut told, events).await;
        let wake = client.next_wake().unwrap_or_else(|| Instant::now() + LOOK_AGAIN);
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() || wanted.borrow().is_over {
                    release(&client, socket).await;
                    return;
                }
                if wanted.borrow().network == now.network {
                    // Another port: all are asked for anew, which the router takes as a renewal.
                    release(&client, socket).await;
                }
                let lost = told.drain(..).map(|(port, outside)| Outcome::Lost { port, outside }).collect();
                tell(lost, &mut Vec::new(), events).await;
                return;
            }
            received = socket.recv(&mut buffer) => {
                let Some(bytes) = received.ok().and_then(|length| buffer.get(..length)) else {
                    // The router's "nobody listens here" comes once for each datagram sent.
                    continue;
                };
                let outcomes = client.on_datagram(bytes, Instant::now());
                tell(outcomes, &mut told, events).await;
            }
            () = tokio::time::sleep_until(wake.into()) => {}
        }
    }
}

/// Passes on what came out, and keeps account of what is held.
async fn tell(outcomes: Vec<Outcome>, held: &mut Vec<(Port, SocketAddrV4)>, events: &mpsc::Sender<MappingEvent>) {
    for outcome in outcomes {
        let event = match outcome {
            Outcome::Mapped { port, outside, protocol } => {
                held.push((port, outside));
                MappingEvent::Mapped { address: multiaddr(port, outside), protocol }
            }
            Outcome::Renewed => MappingEvent::Renewed,
            Outcome::Lost { port, outside } => {
                held.retain(|known| *known != (port, outside));
                MappingEvent::Lost { address: multiaddr(port, outside) }
            }
            Outcome::Refused { code } => MappingEvent::Refused { code },
            Outcome::Silent => MappingEvent::NoAnswer,
        };
        // Nobody listens once the node ends.
        let _ = events.send(event).await;
    }
}

/// Gives all ports back, and waits until the router has heard it: an answer for each, or a little while.
async fn release(client: &Client, socket: &UdpSocket) {
    let goodbye = client.release();
    let mut buffer = [0; MAX_BYTES];
    for _ in 0..2 {
        for datagram in &goodbye {
            let _ = socket.send(datagram).await;
        }
        let answers = async {
            for _ in &goodbye {
                let _ = socket.recv(&mut buffer).await;
            }
        };
        if tokio::time::timeout(RELEASE_TIME / 2, answers).await.is_ok() {
            return;
        }
    }
}

impl NetworkBehaviour for PortMapping {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = MappingEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::NewListenAddr(NewListenAddr { addr, .. }) => self.listening.push(addr.clone()),
            FromSwarm::ExpiredListenAddr(ExpiredListenAddr { addr, .. }) => {
                self.listening.retain(|known| known != addr);
            }
            _ => return,
        }
        self.on_listening();
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(next) = self.waiting.take() {
            return Poll::Ready(next);
        }
        let Poll::Ready(Some(event)) = self.events.poll_recv(cx) else { return Poll::Pending };
        let told = ToSwarm::GenerateEvent(event.clone());
        match event {
            MappingEvent::Mapped { address, .. } if crate::scope(&address) == crate::AddressScope::Global => {
                self.waiting = Some(told);
                Poll::Ready(ToSwarm::NewExternalAddrCandidate(address))
            }
            MappingEvent::Lost { address } => {
                self.waiting = Some(told);
                Poll::Ready(ToSwarm::ExternalAddrExpired(address))
            }
            _ => Poll::Ready(told),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_local_ipv4_networks_are_asked_for() {
        let port = |text: &str| port_to_map(&text.parse().expect("a multiaddr")).map(|port| (port.kind, port.number));
        assert_eq!(port("/ip4/192.168.1.2/tcp/5"), Some((Kind::Tcp, 5)));
        assert_eq!(port("/ip4/100.64.0.2/udp/6/quic-v1"), Some((Kind::Udp, 6)));
        for none in
            ["/ip4/127.0.0.1/tcp/5", "/ip4/9.9.9.9/tcp/5", "/ip6/fc00::1/tcp/5", "/ip4/10.0.0.1/udp/5", "/memory/1"]
        {
            assert_eq!(port(none), None, "{none}");
        }
    }

    #[test]
    fn an_address_of_the_router_is_written_as_it_is_dialled() {
        let outside = SocketAddrV4::new(Ipv4Addr::new(9, 9, 9, 9), 7);
        let text = |kind| multiaddr(Port { kind, number: 1 }, outside).to_string();
        assert_eq!(
            (text(Kind::Tcp), text(Kind::Udp)),
            ("/ip4/9.9.9.9/tcp/7".into(), "/ip4/9.9.9.9/udp/7/quic-v1".into())
        );
    }
}
