//! One connection's share of [`super::Streams`].

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::StreamProtocol;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, StreamUpgradeError,
};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, Stream, SubstreamProtocol};

use super::{Accepting, OpenError};

/// How long agreeing on a protocol may take (overlay.md, section 7). A round trip is enough.
const NEGOTIATION_TIME: Duration = Duration::from_secs(5);

/// A number that ties an answer to the command behind it.
pub(crate) type OpenId = u64;

/// Offers several protocol names and hands over the stream with the one that was agreed.
#[derive(Clone, Debug)]
pub struct Offer(pub(crate) Vec<StreamProtocol>);

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

#[derive(Debug)]
pub struct OpenRequest {
    pub(crate) id: OpenId,
    pub(crate) protocol: StreamProtocol,
}

#[derive(Debug)]
pub enum FromHandler {
    Opened { id: OpenId, stream: Stream },
    OpenFailed { id: OpenId, error: OpenError },
    Accepted { stream: Stream, protocol: StreamProtocol },
}

#[derive(Debug)]
pub struct Handler {
    accepting: Accepting,
    requests: VecDeque<OpenRequest>,
    events: VecDeque<FromHandler>,
}

impl Handler {
    pub(crate) fn new(accepting: Accepting) -> Self {
        Self { accepting, requests: VecDeque::new(), events: VecDeque::new() }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenRequest;
    type ToBehaviour = FromHandler;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = (OpenId, StreamProtocol);

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(Offer(self.accepting.list()), ()).with_timeout(NEGOTIATION_TIME)
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Some(request) = self.requests.pop_front() {
            let offer = Offer(vec![request.protocol.clone()]);
            let protocol = SubstreamProtocol::new(offer, (request.id, request.protocol)).with_timeout(NEGOTIATION_TIME);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        // Both queues are filled by calls that come before the next poll of the connection task.
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, request: Self::FromBehaviour) {
        self.requests.push_back(request);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol), ..
            }) => {
                self.events.push_back(FromHandler::Accepted { stream, protocol });
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info: (id, _),
            }) => self.events.push_back(FromHandler::Opened { id, stream }),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: (id, protocol), error }) => {
                let error = match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported(protocol),
                    StreamUpgradeError::Timeout => OpenError::Broken("negotiation took too long".into()),
                    StreamUpgradeError::Io(error) => OpenError::Broken(error.to_string()),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                self.events.push_back(FromHandler::OpenFailed { id, error });
            }
            _ => {}
        }
    }
}
