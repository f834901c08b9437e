//! What both sides of `/p2pnode/near/1` say, once each, who opened the stream first: one byte with the length of the rest,
//! then the count (at most 2) of the addresses at which others see the node, each with its family (0 IPv4, 1 IPv6); then the
//! count (at most 8) of places in its network: transport (0 TCP, 1 QUIC), family, address, port (2 bytes, big-endian).
//! Bytes behind that are ignored: room for more.

use std::net::IpAddr;

use p2p_identity::Transport;

/// Most addresses at which others see a node.
pub(super) const MAX_PUBLIC: usize = 2;
/// Most places in its network.
pub(super) const MAX_PLACES: usize = 8;
/// Most bytes behind the length.
pub(super) const MAX_BYTES: usize = u8::MAX as usize;

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// As others see it.
    pub(super) public: Vec<IpAddr>,
    /// Where it is within its network.
    pub(super) places: Vec<Place>,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) transport: Transport,
    pub(super) ip: IpAddr,
    pub(super) port: u16,
}

impl Offer {
    /// With its length in front. What is more than the limits allow is left out.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0];
        let public = self.public.get(..MAX_PUBLIC).unwrap_or(&self.public);
        out.push(public.len() as u8);
        public.iter().for_each(|ip| write_ip(&mut out, *ip));
        let places = self.places.get(..MAX_PLACES).unwrap_or(&self.places);
        out.push(places.len() as u8);
        for place in places {
            out.push(u8::from(place.transport == Transport::Quic));
            write_ip(&mut out, place.ip);
            out.extend_from_slice(&place.port.to_be_bytes());
        }
        let length = u8::try_from(out.len() - 1).expect("2 addresses and 8 places take at most 196 bytes");
        out.splice(..1, [length]);
        out
    }

    /// What stands behind the length; `None` for what no node says.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let count = usize::from(byte(bytes)?);
        let public = (count <= MAX_PUBLIC).then(|| (0..count).map(|_| read_ip(bytes)).collect::<Option<_>>())??;
        let count = usize::from(byte(bytes)?);
        let places = (count <= MAX_PLACES).then(|| (0..count).map(|_| read_place(bytes)).collect::<Option<_>>())??;
        Some(Self { public, places })
    }
}

fn write_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            out.push(0);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(1);
            out.extend_from_slice(&ip.octets());
        }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    take::<1>(bytes).map(|[byte]| byte)
}

fn read_ip(bytes: &mut &[u8]) -> Option<IpAddr> {
    match byte(bytes)? {
        0 => Some(take::<4>(bytes)?.into()),
        1 => Some(take::<16>(bytes)?.into()),
        _ => None,
    }
}

fn read_place(bytes: &mut &[u8]) -> Option<Place> {
    let transport = match byte(bytes)? {
        0 => Transport::Tcp,
        1 => Transport::Quic,
        _ => return None,
    };
    let ip = read_ip(bytes)?;
    let port = u16::from_be_bytes(take(bytes)?);
    (port != 0).then_some(Place { transport, ip, port })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn any_offer() -> impl Strategy<Value = Offer> {
        let place = (any::<bool>(), any::<IpAddr>(), 1..=u16::MAX).prop_map(|(quic, ip, port)| Place {
            transport: if quic { Transport::Quic } else { Transport::Tcp },
            ip,
            port,
        });
        (vec(any::<IpAddr>(), 0..=MAX_PUBLIC), vec(place, 0..=MAX_PLACES))
            .prop_map(|(public, places)| Offer { public, places })
    }

    #[test]
    fn an_offer_has_these_bytes() {
        let offer = Offer {
            public: vec![[198, 51, 100, 7].into()],
            places: vec![Place { transport: Transport::Quic, ip: [192, 168, 1, 5].into(), port: 4101 }],
        };
        assert_eq!(offer.encode(), [15, 1, 0, 198, 51, 100, 7, 1, 1, 0, 192, 168, 1, 5, 0x10, 0x05]);
    }

    proptest! {
        #[test]
        fn an_offer_survives_its_bytes(offer in any_offer(), more in vec(any::<u8>(), 0..20)) {
            let bytes = offer.encode();
            prop_assert_eq!(usize::from(bytes[0]), bytes.len() - 1);
            let mut longer = bytes[1..].to_vec();
            prop_assert_eq!(Offer::decode(&longer), Some(offer.clone()));
            let cut = &bytes[1..bytes.len() - 1];
            prop_assert_eq!(Offer::decode(cut), None);
            longer.extend(more);
            prop_assert_eq!(Offer::decode(&longer), Some(offer));
        }

        #[test]
        fn any_bytes_are_an_offer_within_limits_or_none(bytes in vec(any::<u8>(), 0..=MAX_BYTES)) {
            if let Some(offer) = Offer::decode(&bytes) {
                prop_assert!(offer.public.len() <= MAX_PUBLIC && offer.places.len() <= MAX_PLACES);
                prop_assert!(offer.places.iter().all(|place| place.port != 0));
            }
        }
    }
}
