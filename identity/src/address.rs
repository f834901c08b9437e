//! Where a peer can be dialled: key, transport, IP address and port.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

use crate::{ByteReader, ByteWriter, CodecError, PeerId};

/// Longest address text we parse, in bytes.
const MAX_ADDRESS_CHARS: usize = 256;

/// How bytes travel to a [`PeerAddr`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// QUIC version 1 over UDP.
    Quic,
}

/// One address of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddr {
    /// Who answers there.
    pub peer: PeerId,
    /// By which transport.
    pub transport: Transport,
    /// IPv4 or IPv6.
    pub ip: IpAddr,
    /// TCP or UDP port.
    pub port: u16,
}

/// A text is not an address of the forms that [`PeerAddr::to_multiaddr_string`] prints.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a peer address like /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo… or /ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3Koo…")]
pub struct PeerAddrError;

impl PeerAddr {
    /// `/ip4/…/tcp/…/p2p/…` or `/ip4/…/udp/…/quic-v1/p2p/…`, likewise with `ip6`.
    pub fn to_multiaddr_string(&self) -> String {
        let family = if self.ip.is_ipv4() { "ip4" } else { "ip6" };
        let Self { peer, ip, port, .. } = self;
        match self.transport {
            Transport::Tcp => format!("/{family}/{ip}/tcp/{port}/p2p/{peer}"),
            Transport::Quic => format!("/{family}/{ip}/udp/{port}/quic-v1/p2p/{peer}"),
        }
    }

    /// Layout: peer (32), transport (0 TCP, 1 QUIC), family (0 IPv4, 1 IPv6), address (4 or 16), port (varint).
    pub(crate) fn write(&self, out: &mut ByteWriter) {
        out.raw(self.peer.as_bytes());
        self.write_place(out);
    }

    /// The same without the peer, where that is known.
    pub(crate) fn write_place(&self, out: &mut ByteWriter) {
        out.byte(match self.transport {
            Transport::Tcp => 0,
            Transport::Quic => 1,
        });
        match self.ip {
            IpAddr::V4(ip) => {
                out.byte(0);
                out.raw(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.byte(1);
                out.raw(&ip.octets());
            }
        }
        out.u64(u64::from(self.port));
    }

    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Result<Self, CodecError> {
        let peer = PeerId::from(reader.array::<32>()?);
        Self::read_place(peer, reader)
    }

    pub(crate) fn read_place(peer: PeerId, reader: &mut ByteReader<'_>) -> Result<Self, CodecError> {
        let transport = match reader.byte()? {
            0 => Transport::Tcp,
            1 => Transport::Quic,
            _ => return Err(CodecError::BadNumber),
        };
        let ip = match reader.byte()? {
            0 => IpAddr::from(reader.array::<4>()?),
            1 => IpAddr::from(reader.array::<16>()?),
            _ => return Err(CodecError::BadNumber),
        };
        Ok(Self { peer, transport, ip, port: reader.u16()? })
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_multiaddr_string())
    }
}

impl FromStr for PeerAddr {
    type Err = PeerAddrError;

    fn from_str(text: &str) -> Result<Self, PeerAddrError> {
        if text.len() > MAX_ADDRESS_CHARS {
            return Err(PeerAddrError);
        }
        let mut parts = text.strip_prefix('/').ok_or(PeerAddrError)?.split('/');
        let mut next = || parts.next().ok_or(PeerAddrError);
        let ip = match (next()?, next()?) {
            ("ip4", ip) => IpAddr::V4(ip.parse().map_err(|_| PeerAddrError)?),
            ("ip6", ip) => IpAddr::V6(ip.parse().map_err(|_| PeerAddrError)?),
            _ => return Err(PeerAddrError),
        };
        let (protocol, port) = (next()?, next()?.parse().map_err(|_| PeerAddrError)?);
        let transport = match protocol {
            "tcp" => Transport::Tcp,
            "udp" if next()? == "quic-v1" => Transport::Quic,
            _ => return Err(PeerAddrError),
        };
        let ("p2p", peer) = (next()?, next()?) else {
            return Err(PeerAddrError);
        };
        let peer = peer.parse().map_err(|_| PeerAddrError)?;
        if next().is_ok() {
            return Err(PeerAddrError);
        }
        Ok(Self { peer, transport, ip, port })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_address() -> impl Strategy<Value = PeerAddr> {
        (any::<[u8; 32]>(), any::<bool>(), any::<IpAddr>(), any::<u16>()).prop_map(|(peer, quic, ip, port)| PeerAddr {
            peer: peer.into(),
            transport: if quic { Transport::Quic } else { Transport::Tcp },
            ip,
            port,
        })
    }

    proptest! {
        #[test]
        fn an_address_survives_text_and_bytes(address in any_address()) {
            prop_assert_eq!(address.to_string().parse(), Ok(address));
            let mut out = ByteWriter::new();
            address.write(&mut out);
            let bytes = out.into_bytes();
            prop_assert_eq!(PeerAddr::read(&mut ByteReader::new(&bytes)), Ok(address));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,80}|(/(ip4|ip6|tcp|udp|p2p|quic-v1|[0-9.:a-f]{0,9})){0,9}") {
            let _ = text.parse::<PeerAddr>();
        }
    }

    #[test]
    fn addresses_print_as_multiaddresses() {
        let peer = PeerId::from([7; 32]);
        let mut address = PeerAddr { peer, transport: Transport::Tcp, ip: [192, 0, 2, 1].into(), port: 4001 };
        assert_eq!(address.to_string(), format!("/ip4/192.0.2.1/tcp/4001/p2p/{peer}"));
        address.transport = Transport::Quic;
        address.ip = "2001:db8::1".parse().unwrap();
        assert_eq!(address.to_string(), format!("/ip6/2001:db8::1/udp/4001/quic-v1/p2p/{peer}"));
    }

    #[test]
    fn addresses_of_other_forms_are_refused() {
        let peer = PeerId::from([7; 32]);
        for text in [
            "",
            "/",
            "192.0.2.1:4001",
            "/ip4/192.0.2.1/tcp/4001",
            &format!("/ip4/192.0.2.1/udp/4001/p2p/{peer}"),
            &format!("/ip4/192.0.2.1/tcp/65536/p2p/{peer}"),
            &format!("/ip6/192.0.2.1/tcp/1/p2p/{peer}"),
            &format!("/dns4/example.org/tcp/1/p2p/{peer}"),
            &format!("/ip4/192.0.2.1/tcp/1/p2p/{peer}/p2p-circuit"),
        ] {
            assert_eq!(text.parse::<PeerAddr>(), Err(PeerAddrError), "{text}");
        }
    }
}
