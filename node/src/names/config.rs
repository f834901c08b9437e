//! What can be set about names, with defaults.

use std::net::{IpAddr, SocketAddr};

use p2p_names::{DIFFICULTY, Name, SuffixMap, ZoneKey};
use serde::{Deserialize, Serialize};

/// The value of `names.resolver` that stands for what the system uses.
const SYSTEM: &str = "system";

/// Whether names may lead into DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamesInDns {
    /// Where a record demands it.
    #[default]
    On,
    /// Never; such names have no records.
    Off,
}

/// Settings of the name system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamesConfig {
    /// Zones of others under names of one's own, each as `SUFFIX=zTLD`.
    pub suffixes: Vec<String>,
    /// Whether DNS is asked where a GNS2DNS record, or a REDIRECT out of GNS, demands it; nothing else is ever asked there.
    pub dns: NamesInDns,
    /// The resolver for DNS names that no zone names servers for: `system`, the default, or an IP address, with a port if
    /// it is not 53.
    pub resolver: String,
    /// The port at which DNS servers that zones name are asked; 53 by default.
    pub dns_port: u16,
    /// Leading zero bits that the proofs of work of a revocation have on average. All nodes of a network need the same.
    pub revocation_difficulty: u32,
}

impl Default for NamesConfig {
    fn default() -> Self {
        Self {
            suffixes: Vec::new(),
            dns: NamesInDns::On,
            resolver: SYSTEM.to_owned(),
            dns_port: super::dns::PORT,
            revocation_difficulty: DIFFICULTY,
        }
    }
}

impl NamesConfig {
    /// The client for DNS, if it is to be used; an error says what is wrong with the resolver.
    pub(super) fn dns_client(&self) -> Result<Option<super::dns::Dns>, String> {
        let resolver = match self.resolver.as_str() {
            SYSTEM => None,
            text => {
                let address = text.parse::<SocketAddr>().ok();
                let address = address.or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, super::dns::PORT)));
                Some(address.ok_or_else(|| format!("names.resolver: {text:?} is neither an IP address nor `system`"))?)
            }
        };
        Ok((self.dns == NamesInDns::On).then(|| super::dns::Dns::new(resolver, self.dns_port)))
    }

    /// The suffixes; an error says which is wrong.
    pub(crate) fn suffix_map(&self) -> Result<SuffixMap, String> {
        let mut map = SuffixMap::new();
        for text in &self.suffixes {
            let wrong = |why: String| format!("names.suffixes: {text:?} {why}");
            let (suffix, zone) = text.split_once('=').ok_or_else(|| wrong("is not SUFFIX=zTLD".into()))?;
            let suffix: Name = suffix.trim().parse().map_err(|error| wrong(format!("has no name: {error}")))?;
            let zone: ZoneKey = zone.trim().parse().map_err(|error| wrong(format!("has no zTLD: {error}")))?;
            if map.insert(suffix, zone).is_some() {
                return Err(wrong("names a suffix twice".into()));
            }
        }
        Ok(map)
    }
}
