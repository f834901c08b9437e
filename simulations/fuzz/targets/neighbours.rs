//! What routers and neighbours send: answers to PCP and NAT-PMP, offers of addresses, tags of contacts. The files are those of
//! the crates, where nobody else needs them.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../../transport/src/lan_tags/wire.rs"]
mod lan_tags;
#[allow(dead_code)]
#[path = "../../../transport/src/mapping/wire.rs"]
mod mapping;
#[allow(dead_code)]
#[path = "../../../node/src/network/candidates/wire.rs"]
mod offer;

fuzz_target!(|bytes: &[u8]| {
    let _ = mapping::decode(bytes);
    if let Some(offer) = offer::Offer::decode(bytes) {
        // Its length goes in front.
        assert_eq!(offer::Offer::decode(&offer.encode()[1..]), Some(offer));
    }
    if let Some(entries) = lan_tags::decode(bytes) {
        assert!(entries.len() <= lan_tags::MAX_LAN_TAGS);
    }
});
