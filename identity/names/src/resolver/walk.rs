//! The way from zone to zone (RFC 9498, section 7).

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use super::{
    DnsClient, DnsError, Freshness, Hop, MAX_DEPTH, MAX_DNS_SERVERS, MAX_STEPS, NothingFound, Resolution, ResolveError,
    Resolver, Source, Whose,
    decide::{Next, decide, unbox},
    fetch::fetch,
    filter::effective,
    start::start,
};
use crate::{Flags, Label, Name, Record, RecordType, RedirectTarget, ServiceName, Timestamp, ZoneKey};

/// Longest life of an answer from DNS, and life of the LEHO that comes with it.
const DNS_LIFETIME: Duration = Duration::from_secs(3600);

/// One resolution under way.
pub(super) struct Walk<'a> {
    resolver: &'a Resolver,
    freshness: Freshness,
    now: Timestamp,
    steps: usize,
    depth: usize,
    hops: Vec<Hop>,
    refresh_due: bool,
}

/// What one record set came to.
enum Turn {
    Done(Resolution),
    Go { zone: ZoneKey, name: Name },
}

impl<'a> Walk<'a> {
    pub(super) fn new(resolver: &'a Resolver, freshness: Freshness, now: Timestamp) -> Self {
        Self { resolver, freshness, now, steps: 0, depth: 0, hops: Vec::new(), refresh_due: false }
    }

    /// Resolves a whole name.
    pub(super) async fn run(&mut self, name: &Name, wanted: Option<RecordType>) -> Result<Resolution, ResolveError> {
        match start(name, self.resolver.local.as_ref())? {
            Some(found) => self.resolve_in(found.zone, found.rest, wanted).await,
            None => Err(ResolveError::NoStartZone { name: name.clone() }),
        }
    }

    /// Resolves a name relative to a zone. Boxed, because servers of GNS2DNS are names that come back here.
    fn resolve_in<'b>(
        &'b mut self,
        mut zone: ZoneKey,
        mut name: Name,
        wanted: Option<RecordType>,
    ) -> Pin<Box<dyn Future<Output = Result<Resolution, ResolveError>> + Send + 'b>> {
        Box::pin(async move {
            loop {
                if let Some(done) = self.boxed_at_apex(&zone, &name).await? {
                    return Ok(done);
                }
                let mut rest = name;
                let label = rest.pop().unwrap_or_else(Label::apex);
                match self.step(zone, &label, rest, wanted).await? {
                    Turn::Done(resolution) => return Ok(resolution),
                    Turn::Go { zone: next_zone, name: next_name } => (zone, name) = (next_zone, next_name),
                }
            }
        })
    }

    async fn step(
        &mut self,
        zone: ZoneKey,
        label: &Label,
        rest: Name,
        wanted: Option<RecordType>,
    ) -> Result<Turn, ResolveError> {
        let records = self.records(&zone, label).await?;
        let nothing = |why| ResolveError::NotFound { zone, label: label.clone(), why };
        if records.is_empty() {
            return Err(nothing(NothingFound::NoRecords));
        }
        let next = decide(records, label, rest.labels(), wanted).map_err(|unusable| ResolveError::BadRecord {
            label: label.clone(),
            record_type: unusable.record_type,
            reason: unusable.reason,
        })?;
        match next {
            Next::Answer(records) => Ok(Turn::Done(self.found(records))),
            Next::NoWay => Err(nothing(NothingFound::NoWay)),
            Next::Delegate(zone) => Ok(Turn::Go { zone, name: rest }),
            Next::Redirect(RedirectTarget::Relative(target)) => {
                Ok(Turn::Go { zone, name: redirected(label, &rest, &target)? })
            }
            Next::Redirect(RedirectTarget::Absolute(target)) => {
                let name = redirected(label, &rest, &target)?;
                match start(&name, self.resolver.local.as_ref())? {
                    Some(found) => Ok(Turn::Go { zone: found.zone, name: found.rest }),
                    None => self.lookup(&name, wanted).await.map(Turn::Done),
                }
            }
            Next::Dns { name, servers } => self.ask_dns(zone, &rest, &name, &servers, wanted).await.map(Turn::Done),
        }
    }

    /// `_443._tcp` at the top of a zone: the box lies at `@`, where no label names it.
    async fn boxed_at_apex(&mut self, zone: &ZoneKey, name: &Name) -> Result<Option<Resolution>, ResolveError> {
        let [service, protocol] = name.labels() else {
            return Ok(None);
        };
        let Some(service) = ServiceName::from_labels(service, protocol) else {
            return Ok(None);
        };
        match self.records(zone, &Label::apex()).await {
            Ok(records) => {
                let unboxed = unbox(&records, service);
                Ok((!unboxed.is_empty()).then(|| self.found(unboxed)))
            }
            Err(ResolveError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The records that count under a label.
    async fn records(&mut self, zone: &ZoneKey, label: &Label) -> Result<Vec<Record>, ResolveError> {
        if self.steps >= MAX_STEPS {
            return Err(ResolveError::TooManySteps);
        }
        self.steps += 1;
        if self.resolver.local.is_revoked(zone, self.now) {
            return Err(ResolveError::Revoked { zone: *zone });
        }
        let fetched = fetch(self.resolver, zone, label, self.freshness, self.now).await?;
        self.refresh_due |= fetched.refresh_due;
        self.hops.push(fetched.hop);
        effective(&fetched.records, self.now)
            .map_err(|unsupported| ResolveError::Critical { label: label.clone(), record_type: unsupported.0 })
    }

    fn found(&mut self, records: Vec<Record>) -> Resolution {
        let hops = std::mem::take(&mut self.hops);
        let (source, age) = hops.last().map_or((Source::Dns, Duration::ZERO), |hop| (hop.source.clone(), hop.age));
        Resolution { records, source, age, hops, refresh_due: self.refresh_due }
    }

    fn found_in_dns(&mut self, mut records: Vec<Record>) -> Resolution {
        let latest = self.now.after(DNS_LIFETIME);
        for record in &mut records {
            record.expiration = record.expiration.min(latest);
        }
        Resolution { source: Source::Dns, age: Duration::ZERO, ..self.found(records) }
    }

    fn dns(&self) -> Result<Arc<dyn DnsClient>, ResolveError> {
        self.resolver.dns.clone().ok_or(ResolveError::Dns(DnsError::Disabled))
    }

    /// A REDIRECT that leaves GNS.
    async fn lookup(&mut self, name: &Name, wanted: Option<RecordType>) -> Result<Resolution, ResolveError> {
        let dns_name = name.to_dns().map_err(ResolveError::BadName)?;
        let records = self.dns()?.lookup(&dns_name, wanted, self.now).await.map_err(ResolveError::Dns)?;
        Ok(self.found_in_dns(records))
    }

    /// GNS2DNS: the rest and the DNS name of the delegation, asked at its servers.
    async fn ask_dns(
        &mut self,
        zone: ZoneKey,
        rest: &Name,
        name: &str,
        servers: &[String],
        wanted: Option<RecordType>,
    ) -> Result<Resolution, ResolveError> {
        let dns = self.dns()?;
        let name: Name = name.parse().map_err(ResolveError::BadName)?;
        let dns_name = rest.join(&name).and_then(|name| name.to_dns()).map_err(ResolveError::BadName)?;
        let is_own = self.hops.last().is_some_and(|hop| hop.source == Source::Local);
        let whose = if is_own { Whose::Own } else { Whose::Stranger };
        let mut addresses = Vec::new();
        for server in servers.iter().take(MAX_DNS_SERVERS) {
            for address in self.addresses(zone, server, dns.as_ref()).await? {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        if addresses.is_empty() {
            return Err(ResolveError::Dns(DnsError::NoServer));
        }
        addresses.truncate(MAX_DNS_SERVERS);
        let mut records = dns.query(&addresses, whose, &dns_name, wanted, self.now).await.map_err(ResolveError::Dns)?;
        // Servers ask for the name their certificate has, not for ours.
        records.push(Record {
            expiration: self.now.after(DNS_LIFETIME),
            flags: Flags::SUPPLEMENTAL,
            record_type: RecordType::LEHO,
            data: dns_name.into_bytes(),
        });
        Ok(self.found_in_dns(records))
    }

    /// The addresses of one server: a literal, a name in GNS, or one in DNS. A server that cannot be found has none, as
    /// the others may do; only running out of steps ends everything.
    async fn addresses(
        &mut self,
        zone: ZoneKey,
        server: &str,
        dns: &dyn DnsClient,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(address) = server.parse() {
            return Ok(vec![address]);
        }
        let found = match self.server_in_gns(zone, server) {
            Some((zone, name)) => self.nested(zone, name).await,
            None => self.server_in_dns(server, dns).await,
        };
        match found {
            Ok(records) => Ok(records.iter().filter_map(address_of).collect()),
            Err(error @ ResolveError::TooManySteps) => Err(error),
            Err(_) => Ok(Vec::new()),
        }
    }

    fn server_in_gns(&self, zone: ZoneKey, server: &str) -> Option<(ZoneKey, Name)> {
        match server.parse().ok()? {
            RedirectTarget::Relative(name) => Some((zone, name)),
            RedirectTarget::Absolute(name) => {
                let found = start(&name, self.resolver.local.as_ref()).ok()??;
                Some((found.zone, found.rest))
            }
        }
    }

    /// The address records of a name in GNS, with the steps of this walk.
    async fn nested(&mut self, zone: ZoneKey, name: Name) -> Result<Vec<Record>, ResolveError> {
        if self.depth >= MAX_DEPTH {
            return Err(ResolveError::TooManySteps);
        }
        let outer = std::mem::take(&mut self.hops);
        self.depth += 1;
        let found = self.resolve_in(zone, name, Some(RecordType::A)).await;
        self.depth -= 1;
        self.hops = outer;
        found.map(|resolution| resolution.records)
    }

    async fn server_in_dns(&self, server: &str, dns: &dyn DnsClient) -> Result<Vec<Record>, ResolveError> {
        let name: Name = server.parse().map_err(ResolveError::BadName)?;
        let name = name.to_dns().map_err(ResolveError::BadName)?;
        let mut records = Vec::new();
        for record_type in [RecordType::A, RecordType::AAAA] {
            records.extend(dns.lookup(&name, Some(record_type), self.now).await.unwrap_or_default());
        }
        Ok(records)
    }
}

/// The name that a REDIRECT makes. One that grows without end does so by the record's fault, not by that of who asked.
fn redirected(label: &Label, rest: &Name, target: &Name) -> Result<Name, ResolveError> {
    rest.join(target).map_err(|_| ResolveError::BadRecord {
        label: label.clone(),
        record_type: RecordType::REDIRECT,
        reason: "the name it leads to is too long",
    })
}

fn address_of(record: &Record) -> Option<IpAddr> {
    match record.record_type {
        RecordType::A => <[u8; 4]>::try_from(record.data.as_slice()).ok().map(IpAddr::from),
        RecordType::AAAA => <[u8; 16]>::try_from(record.data.as_slice()).ok().map(IpAddr::from),
        _ => None,
    }
}
