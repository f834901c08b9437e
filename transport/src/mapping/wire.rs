//! The two protocols in which a router is asked for a port: PCP (RFC 6887, MAP only) and NAT-PMP (RFC 6886), both over UDP
//! to port 5351 of the router. All numbers are big-endian.
//!
//! ```text
//! PCP       version 2 | R, opcode 1 | reserved 1, result 1 | lifetime 4 | request: client IP 16; answer: epoch 4, reserved 12
//!           nonce 12 | protocol 1 | reserved 3 | internal port 2 | external port 2 | external IP 16
//! NAT-PMP   version 0 | opcode 0 (address), 1 (UDP), 2 (TCP); answers have bit 128 | request: reserved 2; answer: result 2
//!           request of a port: internal port 2 | external port 2 | lifetime 4
//!           answer: epoch 4 | external IP 4, or internal port 2 | external port 2 | lifetime 4
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

/// Where a router listens for both protocols.
pub(super) const ROUTER_PORT: u16 = 5351;
/// Longest message of either protocol, in bytes (RFC 6887, section 7).
pub(super) const MAX_BYTES: usize = 1_100;
/// A number that ties an answer to its request.
pub(super) type Nonce = [u8; 12];

const PCP: u8 = 2;
const NAT_PMP: u8 = 0;
const MAP: u8 = 1;
const ANSWER: u8 = 0x80;
const PCP_BYTES: usize = 60;

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Tcp,
    Udp,
}

impl Kind {
    fn pcp(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    fn nat_pmp(self) -> u8 {
        match self {
            Self::Udp => 1,
            Self::Tcp => 2,
        }
    }
}

/// What a router said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// About a port, in PCP. Result 0 is yes; otherwise `lifetime_s` is how long the refusal will last.
    Pcp { result: u8, lifetime_s: u32, nonce: Nonce, kind: Kind, internal: u16, external: u16, address: Ipv4Addr },
    /// About a port, in NAT-PMP. Result 0 is yes.
    NatPmp { result: u16, lifetime_s: u32, kind: Kind, internal: u16, external: u16 },
    /// Its own address, in NAT-PMP. Result 0 is yes.
    Address { result: u16, address: Ipv4Addr },
    /// A refusal that speaks of nothing but the version: the router does not know the protocol it was asked in.
    OtherVersion,
}

/// Asks in PCP for `external` of the router to lead to `internal` of `client` for that many seconds; 0 gives it back.
pub(super) fn pcp_map(
    client: Ipv4Addr,
    nonce: Nonce,
    kind: Kind,
    internal: u16,
    external: u16,
    lifetime_s: u32,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(PCP_BYTES);
    out.extend([PCP, MAP, 0, 0]);
    out.extend(lifetime_s.to_be_bytes());
    out.extend(client.to_ipv6_mapped().octets());
    out.extend(nonce);
    out.extend([kind.pcp(), 0, 0, 0]);
    out.extend(internal.to_be_bytes());
    out.extend(external.to_be_bytes());
    // Any address of the router will do; 0.0.0.0 says that it is one of IPv4.
    out.extend(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets());
    out
}

/// Asks the same in NAT-PMP.
pub(super) fn nat_pmp_map(kind: Kind, internal: u16, external: u16, lifetime_s: u32) -> Vec<u8> {
    let mut out = vec![NAT_PMP, kind.nat_pmp(), 0, 0];
    out.extend(internal.to_be_bytes());
    out.extend(external.to_be_bytes());
    out.extend(lifetime_s.to_be_bytes());
    out
}

/// Asks in NAT-PMP for the router's own address.
pub(super) fn nat_pmp_address() -> Vec<u8> {
    vec![NAT_PMP, 0]
}

/// Reads an answer; `None` for what is none, also for a mapping of another protocol than TCP and UDP.
pub(super) fn decode(bytes: &[u8]) -> Option<Answer> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    match (*bytes.first()?, *bytes.get(1)?) {
        // One that knows another version of PCP only, or of NAT-PMP (RFC 6887, section 9).
        (version, op) if op & ANSWER != 0 && is_other_version(version, bytes) => Some(Answer::OtherVersion),
        (PCP, op) if op == ANSWER | MAP => decode_pcp(bytes),
        (NAT_PMP, op) => decode_nat_pmp(op, bytes),
        _ => None,
    }
}

fn is_other_version(version: u8, bytes: &[u8]) -> bool {
    match version {
        NAT_PMP => u16_at(bytes, 2) == Some(1),
        _ => bytes.get(3) == Some(&1),
    }
}

fn decode_pcp(bytes: &[u8]) -> Option<Answer> {
    let (result, lifetime_s) = (*bytes.get(3)?, u32_at(bytes, 4)?);
    let nonce: Nonce = bytes.get(24..36)?.try_into().ok()?;
    let kind = match *bytes.get(36)? {
        6 => Kind::Tcp,
        17 => Kind::Udp,
        _ => return None,
    };
    let (internal, external) = (u16_at(bytes, 40)?, u16_at(bytes, 42)?);
    let address: [u8; 16] = bytes.get(44..PCP_BYTES)?.try_into().ok()?;
    // A refusal repeats what was suggested; what counts there is the result.
    let address = Ipv6Addr::from(address).to_ipv4_mapped().or((result != 0).then_some(Ipv4Addr::UNSPECIFIED))?;
    Some(Answer::Pcp { result, lifetime_s, nonce, kind, internal, external, address })
}

fn decode_nat_pmp(op: u8, bytes: &[u8]) -> Option<Answer> {
    let result = u16_at(bytes, 2)?;
    let kind = match op.checked_sub(ANSWER)? {
        // A refusal may be cut short.
        0 => {
            let address = u32_at(bytes, 8).or((result != 0).then_some(0))?;
            return Some(Answer::Address { result, address: address.into() });
        }
        1 => Kind::Udp,
        2 => Kind::Tcp,
        _ => return None,
    };
    let (internal, external, lifetime_s) = (u16_at(bytes, 8)?, u16_at(bytes, 10)?, u32_at(bytes, 12)?);
    Some(Answer::NatPmp { result, lifetime_s, kind, internal, external })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn requests_are_these_bytes() {
        let client = Ipv4Addr::new(192, 168, 1, 2);
        assert_eq!(
            hex(&pcp_map(client, [7; 12], Kind::Tcp, 4101, 4101, 3600)),
            "0201000000000e1000000000000000000000ffffc0a80102\
             070707070707070707070707060000001005100500000000000000000000ffff00000000"
        );
        assert_eq!(hex(&nat_pmp_map(Kind::Udp, 4101, 0, 3600)), "00010000100500000000 0e10".replace(' ', ""));
        assert_eq!(hex(&nat_pmp_map(Kind::Tcp, 1, 2, 0)), "000200000001000200000000");
        assert_eq!(nat_pmp_address(), [0, 0]);
    }

    #[test]
    fn a_router_that_knows_another_version_is_understood() {
        // NAT-PMP to PCP, PCP to NAT-PMP, and a PCP of the future.
        for answer in [&[0, 0x81, 0, 1, 0, 0, 0, 9][..], &[2, 0x81, 0, 1], &[3, 0x81, 0, 1]] {
            assert_eq!(decode(answer), Some(Answer::OtherVersion), "{answer:?}");
        }
        assert_eq!(decode(&[2, 0x81, 0, 0]), None, "cut short");
        assert_eq!(decode(&pcp_map([0; 4].into(), [0; 12], Kind::Tcp, 1, 1, 1)), None, "a request is no answer");
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Tcp), Just(Kind::Udp)]
    }

    proptest! {
        #[test]
        fn an_answer_is_read_as_it_was_written(
            kind in kind(), nonce: Nonce, internal: u16, external: u16, lifetime_s: u32, address: [u8; 4],
            epoch: u32, result in 0_u8..2,
        ) {
            let result = result * 8;
            let mut pcp = pcp_map([0; 4].into(), nonce, kind, internal, external, lifetime_s);
            pcp[1] |= ANSWER;
            pcp[3] = result;
            pcp[8..12].copy_from_slice(&epoch.to_be_bytes());
            pcp[56..].copy_from_slice(&address);
            let address = Ipv4Addr::from(address);
            prop_assert_eq!(decode(&pcp), Some(Answer::Pcp { result, lifetime_s, nonce, kind, internal, external, address }));
            let mut plain = vec![0, ANSWER | kind.nat_pmp(), 0, result];
            plain.extend(epoch.to_be_bytes());
            plain.extend(internal.to_be_bytes());
            plain.extend(external.to_be_bytes());
            plain.extend(lifetime_s.to_be_bytes());
            let result = result.into();
            prop_assert_eq!(decode(&plain), Some(Answer::NatPmp { result, lifetime_s, kind, internal, external }));
            let mut own = vec![0, ANSWER, 0, 0];
            own.extend(epoch.to_be_bytes());
            own.extend(address.octets());
            prop_assert_eq!(decode(&own), Some(Answer::Address { result: 0, address }));
            for cut in 0..own.len() {
                prop_assert_eq!(decode(&own[..cut]), None);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1_200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn bytes_that_begin_well_are_read_without_a_panic(
            version in 0_u8..4, op in 0x80_u8..0x84, rest in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = decode(&[&[version, op][..], &rest].concat());
        }
    }
}
