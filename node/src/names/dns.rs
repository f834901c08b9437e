//! DNS, where a name leads there: a GNS2DNS record or a REDIRECT out of GNS, and nothing else (specs/names.md, 10.4).
//!
//! A stranger's record decides whom this node asks, so everything is bounded: servers, questions, time, and where the
//! servers may be.

mod exchange;
mod records;
mod system;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType as DnsType};
use p2p_names::{DnsClient, DnsError, MAX_DNS_SERVERS, Record, RecordType, Timestamp, Whose};
use p2p_transport::is_global_ip;
use tokio::sync::Semaphore;

/// How long one question to DNS may take, all servers and aliases included.
const LIMIT: Duration = Duration::from_secs(8);
/// Questions sent for one name of one type.
const MAX_QUESTIONS: usize = 24;
/// Aliases followed.
const MAX_ALIASES: usize = 8;
/// Referrals to servers further down followed.
const MAX_REFERRALS: usize = 8;
/// Names asked for at once.
const MAX_AT_ONCE: usize = 64;
/// Most records of an answer that are used.
const MAX_RECORDS: usize = 64;
/// The port of DNS.
pub(super) const PORT: u16 = 53;

/// Asks DNS servers.
pub(super) struct Dns {
    /// The resolver for names that no zone names servers for; `None`: the system's.
    upstream: Option<SocketAddr>,
    /// Where the system says which resolvers it has, and the port at which they answer.
    system: (PathBuf, u16),
    /// The port at which the servers that zones name are asked.
    port: u16,
    at_once: Semaphore,
}

/// Where a question goes.
#[derive(Clone)]
struct Servers {
    addresses: Vec<SocketAddr>,
    whose: Whose,
    /// They look elsewhere themselves, and are believed, so nobody is asked whom they name.
    is_resolver: bool,
}

/// What is left of what one call may do.
struct Allowance {
    questions: usize,
    aliases: usize,
    referrals: usize,
}

impl Dns {
    pub(super) fn new(upstream: Option<SocketAddr>, port: u16) -> Self {
        let system = (PathBuf::from(system::FILE), PORT);
        Self { upstream, system, port, at_once: Semaphore::new(MAX_AT_ONCE) }
    }

    async fn ask(
        &self,
        servers: &Servers,
        name: &str,
        wanted: Option<RecordType>,
        now: Timestamp,
    ) -> Result<Vec<Record>, DnsError> {
        let name = dns_name(name)?;
        let _place = self.at_once.acquire().await.map_err(|_| DnsError::Timeout)?;
        let asking = async {
            let dns_types = match wanted.and_then(|wanted| u16::try_from(wanted.number()).ok()) {
                Some(number) => vec![DnsType::from(number)],
                None => vec![DnsType::A, DnsType::AAAA],
            };
            let (mut found, mut failed) = (Vec::new(), None);
            for dns_type in dns_types {
                match self.follow(servers, &name, dns_type, now).await {
                    Ok(records) => found.extend(records),
                    Err(error) => failed = Some(error),
                }
            }
            match failed {
                Some(error) if found.is_empty() => Err(error),
                _ => Ok(found),
            }
        };
        tokio::time::timeout(LIMIT, asking).await.unwrap_or(Err(DnsError::Timeout))
    }

    /// The records of one type, over aliases and referrals.
    async fn follow(
        &self,
        servers: &Servers,
        name: &Name,
        dns_type: DnsType,
        now: Timestamp,
    ) -> Result<Vec<Record>, DnsError> {
        let mut left = Allowance { questions: MAX_QUESTIONS, aliases: MAX_ALIASES, referrals: MAX_REFERRALS };
        let (mut servers, mut name) = (servers.clone(), name.clone());
        loop {
            let answer = match self.ask_servers(&servers, &name, dns_type, &mut left).await {
                // The servers of a zone need not know where an alias leads to.
                Err(_) if left.aliases < MAX_ALIASES && !servers.is_resolver => {
                    servers = self.resolver().await?;
                    continue;
                }
                answer => answer?,
            };
            let before = name.clone();
            let found = records::of(&answer, &mut name, dns_type, now, MAX_RECORDS);
            if !found.is_empty() {
                return Ok(found);
            }
            if name != before {
                left.aliases = left.aliases.checked_sub(1).ok_or_else(|| failed("too many aliases"))?;
                is_allowed(&name)?;
                continue;
            }
            match self.referral(&servers, &answer, &name, &mut left).await {
                Some(next) => servers = next,
                // The name exists, and has nothing of this type.
                None => return Ok(Vec::new()),
            }
        }
    }

    /// The first answer that is one; what most servers complain of otherwise.
    async fn ask_servers(
        &self,
        servers: &Servers,
        name: &Name,
        dns_type: DnsType,
        left: &mut Allowance,
    ) -> Result<Message, DnsError> {
        let allowed: Vec<SocketAddr> = servers
            .addresses
            .iter()
            .filter(|server| servers.whose == Whose::Own || is_global_ip(server.ip()))
            .take(MAX_DNS_SERVERS)
            .copied()
            .collect();
        if allowed.is_empty() {
            return Err(if servers.addresses.is_empty() { DnsError::NoServer } else { DnsError::LocalServer });
        }
        let mut reason = DnsError::Timeout;
        for patience in exchange::PATIENCE {
            for server in &allowed {
                left.questions = left.questions.checked_sub(1).ok_or_else(|| failed("it leads too far"))?;
                match exchange::ask(*server, name, dns_type, patience).await {
                    Ok(answer) => match answer.metadata.response_code {
                        ResponseCode::NoError => return Ok(answer),
                        ResponseCode::NXDomain => reason = DnsError::NotFound,
                        code if reason != DnsError::NotFound => reason = failed(&code.to_string()),
                        _ => {}
                    },
                    Err(error) => tracing::debug!(%server, %error, "a DNS server gave no answer"),
                }
            }
            if reason != DnsError::Timeout {
                return Err(reason);
            }
        }
        Err(reason)
    }

    /// The servers that an answer without records sends us to.
    async fn referral(&self, from: &Servers, answer: &Message, name: &Name, left: &mut Allowance) -> Option<Servers> {
        let further: Vec<&Name> = answer
            .authorities
            .iter()
            .filter(|record| record.name.zone_of(name))
            .filter_map(|record| match &record.data {
                RData::NS(server) => Some(&server.0),
                _ => None,
            })
            .take(MAX_DNS_SERVERS)
            .collect();
        if further.is_empty() || from.is_resolver || answer.metadata.authoritative {
            return None;
        }
        left.referrals = left.referrals.checked_sub(1)?;
        let mut addresses: BTreeSet<IpAddr> = answer
            .additionals
            .iter()
            .filter(|record| further.contains(&&record.name))
            .filter_map(|record| record.data.ip_addr())
            .collect();
        if addresses.is_empty() {
            let resolver = self.resolver().await.ok()?;
            for server in further {
                is_allowed(server).ok()?;
                let Ok(answer) = self.ask_servers(&resolver, server, DnsType::A, left).await else { continue };
                addresses.extend(answer.answers.iter().filter_map(|record| record.data.ip_addr()));
                if !addresses.is_empty() {
                    break;
                }
            }
        }
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, self.port)).take(MAX_DNS_SERVERS).collect();
        Some(Servers { addresses, whose: from.whose, is_resolver: false })
    }

    /// The resolver that is set, or that of the system; it may well be on this computer.
    async fn resolver(&self) -> Result<Servers, DnsError> {
        let addresses = match self.upstream {
            Some(upstream) => vec![upstream],
            None => system::resolvers(&self.system.0, self.system.1).await,
        };
        if addresses.is_empty() {
            Err(DnsError::NoServer)
        } else {
            Ok(Servers { addresses, whose: Whose::Own, is_resolver: true })
        }
    }
}

#[async_trait]
impl DnsClient for Dns {
    async fn query(
        &self,
        servers: &[IpAddr],
        whose: Whose,
        name: &str,
        wanted: Option<RecordType>,
        now: Timestamp,
    ) -> Result<Vec<Record>, DnsError> {
        let addresses = servers.iter().map(|ip| SocketAddr::new(*ip, self.port)).collect();
        self.ask(&Servers { addresses, whose, is_resolver: false }, name, wanted, now).await
    }

    async fn lookup(&self, name: &str, wanted: Option<RecordType>, now: Timestamp) -> Result<Vec<Record>, DnsError> {
        let resolver = self.resolver().await?;
        self.ask(&resolver, name, wanted, now).await
    }
}

fn dns_name(text: &str) -> Result<Name, DnsError> {
    let mut name: Name = text.parse().map_err(|_| failed("it is no DNS name"))?;
    name.set_fqdn(true);
    is_allowed(&name)?;
    Ok(name)
}

/// Names below `.alt` are nobody's business in DNS (RFC 9476).
fn is_allowed(name: &Name) -> Result<(), DnsError> {
    let is_alt = name.iter().next_back().is_some_and(|top| top.eq_ignore_ascii_case(b"alt"));
    if is_alt { Err(DnsError::NotFound) } else { Ok(()) }
}

fn failed(why: &str) -> DnsError {
    DnsError::Failed(why.to_owned())
}

#[cfg(test)]
mod tests;
