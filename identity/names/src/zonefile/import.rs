//! From a DNS zone to labels of GNS.
//!
//! What differs between the two is translated: CNAME becomes REDIRECT, NS of a label becomes GNS2DNS, records of
//! `_service._protocol` names become BOX. What GNS has no place for is reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    MAX_ZONE_FILE_BYTES, SkippedLine, ZoneFileError, ZoneImport,
    lines::{Line, lines},
};
use crate::{
    BoxData, Gns2Dns, Label, Lifetime, MAX_LABEL_RECORDS, Name, RecordType, RedirectTarget, ServiceName, StoredRecord,
    data::{self, Token, data_from_tokens},
    namestore_rules, redirect_data,
};

/// Types that only mean something in a DNS zone: its own keys and signatures.
const DNS_ONLY: [u32; 6] = [46, 47, 50, 51, 59, 60];

/// How long imported records live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImportedLifetime {
    /// [`Lifetime::DEFAULT`], or the TTL where that is longer: a name should outlive an evening without its owner.
    #[default]
    AtLeastDefault,
    /// The TTL of each record, as it is.
    Ttl,
}

/// How a zone file is read.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The DNS name of the zone, if the file does not say it with `$ORIGIN`. Empty: owners are labels as they stand.
    pub origin: String,
    /// See [`ImportedLifetime`].
    pub lifetime: ImportedLifetime,
}

/// Reads a zone file. Records that do not fit GNS are skipped with a reason; only a broken file is an error.
pub fn import_zone_file(text: &str, options: &ImportOptions) -> Result<ZoneImport, ZoneFileError> {
    if text.len() > MAX_ZONE_FILE_BYTES {
        return Err(ZoneFileError::TooLong(text.len()));
    }
    let mut reader = Reader::new(options)?;
    for line in lines(text)? {
        reader.line(&line);
    }
    Ok(reader.finish())
}

/// Labels of a DNS name, left to right.
type DnsName = Vec<String>;

/// A record before it is translated.
struct Found {
    line: usize,
    owner: DnsName,
    record_type: RecordType,
    data: Vec<u8>,
    lifetime: Lifetime,
}

struct Reader<'a> {
    options: &'a ImportOptions,
    /// Where the zone begins: the first `$ORIGIN`, or that of the options.
    apex: Option<DnsName>,
    origin: DnsName,
    owner: Option<DnsName>,
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
    found: Vec<Found>,
    skipped: Vec<SkippedLine>,
}

impl<'a> Reader<'a> {
    fn new(options: &'a ImportOptions) -> Result<Self, ZoneFileError> {
        let origin = labels(options.origin.trim_end_matches('.')).map_err(|_| ZoneFileError::BadOrigin)?;
        Ok(Self {
            options,
            apex: (!origin.is_empty()).then(|| origin.clone()),
            origin,
            owner: None,
            default_ttl: None,
            last_ttl: None,
            found: Vec::new(),
            skipped: Vec::new(),
        })
    }

    fn line(&mut self, line: &Line<'_>) {
        let result = match line.tokens.first() {
            Some(first) if !first.quoted && first.raw.starts_with('$') => self.directive(&line.tokens),
            _ => self.record(line),
        };
        if let Err((what, reason)) = result {
            self.skipped.push(SkippedLine { line: line.number, what, reason });
        }
    }

    fn directive(&mut self, tokens: &[Token<'_>]) -> Result<(), (String, String)> {
        let name = tokens.first().map_or("", |token| token.raw).to_ascii_uppercase();
        let fail = |reason: &str| Err((name.clone(), reason.to_owned()));
        match (name.as_str(), tokens) {
            ("$ORIGIN", [_, origin]) => match self.absolute(origin.raw) {
                Ok(origin) => {
                    self.apex.get_or_insert_with(|| origin.clone());
                    self.origin = origin;
                    Ok(())
                }
                Err(reason) => fail(reason),
            },
            ("$TTL", [_, ttl]) => match data::seconds(ttl.raw) {
                Some(ttl) => {
                    self.default_ttl = Some(ttl);
                    Ok(())
                }
                None => fail("not a number of seconds"),
            },
            ("$INCLUDE", _) => fail("other files are not read"),
            _ => fail("this directive is not known"),
        }
    }

    fn record(&mut self, line: &Line<'_>) -> Result<(), (String, String)> {
        let mut tokens = line.tokens.as_slice();
        if !line.keeps_owner {
            let Some((owner, rest)) = tokens.split_first() else {
                return Ok(());
            };
            tokens = rest;
            // A bad owner must not lend its lines to the one before.
            self.owner = None;
            let owner = self.absolute(owner.raw).map_err(|reason| (owner.raw.to_owned(), reason.to_owned()))?;
            self.owner = Some(owner);
        }
        let owner = self.owner.clone().ok_or_else(|| ("a record".to_owned(), "it has no owner".to_owned()))?;
        let mut ttl = None;
        let record_type = loop {
            let (token, rest) = tokens.split_first().ok_or_else(|| (owner.join("."), "it has no type".to_owned()))?;
            tokens = rest;
            if let (None, Some(seconds)) = (ttl, data::seconds(token.raw)) {
                ttl = Some(seconds);
            } else if !["IN", "CH", "HS"].iter().any(|class| token.raw.eq_ignore_ascii_case(class)) {
                break token.raw.parse::<RecordType>().map_err(|error| (owner.join("."), error.to_string()))?;
            }
        };
        self.last_ttl = ttl.or(self.last_ttl);
        let ttl = ttl.or(self.default_ttl).or(self.last_ttl);
        let fail = |reason: String| (format!("{} {record_type}", owner.join(".")), reason);
        let absolute = self.absolute_names(record_type, tokens).map_err(|reason| fail(reason.to_owned()))?;
        let tokens: Vec<_> = absolute.iter().zip(tokens).map(|(raw, token)| Token { raw, ..*token }).collect();
        let data = data_from_tokens(record_type, &tokens).map_err(|error| fail(error.to_string()))?;
        let lifetime = self.lifetime(ttl);
        self.found.push(Found { line: line.number, owner, record_type, data, lifetime });
        Ok(())
    }

    fn lifetime(&self, ttl: Option<u32>) -> Lifetime {
        let ttl = ttl.map(|secs| Duration::from_secs(u64::from(secs)));
        match (ttl, self.options.lifetime, Lifetime::DEFAULT) {
            (Some(ttl), ImportedLifetime::Ttl, _) => Lifetime::For(ttl),
            (Some(ttl), ImportedLifetime::AtLeastDefault, Lifetime::For(least)) => Lifetime::For(ttl.max(least)),
            _ => Lifetime::DEFAULT,
        }
    }

    /// A name of the file in full: `@` is the origin, one without a dot at the end is relative to it.
    fn absolute(&self, raw: &str) -> Result<DnsName, &'static str> {
        if raw == "@" {
            return Ok(self.origin.clone());
        }
        let is_absolute = raw.ends_with('.') && !raw.ends_with("\\.");
        let mut name = labels(if is_absolute { raw.get(..raw.len() - 1).unwrap_or_default() } else { raw })?;
        if !is_absolute {
            name.extend(self.origin.iter().cloned());
        }
        Ok(name)
    }

    /// The words of a record with the relative names in it completed.
    fn absolute_names(&self, record_type: RecordType, tokens: &[Token<'_>]) -> Result<Vec<String>, &'static str> {
        let is_generic = tokens.first().is_some_and(|token| token.raw == "\\#");
        let complete = |(at, token): (usize, &Token<'_>)| {
            let is_relative = !token.raw.ends_with('.') || token.raw.ends_with("\\.");
            if is_generic || token.quoted || !is_relative || !data::is_name_at(record_type, at) {
                return Ok(token.raw.to_owned());
            }
            let origin = self.origin.iter().map(|label| escape(label)).collect::<Vec<_>>().join(".");
            Ok(match (token.raw, origin.is_empty()) {
                ("@", true) => return Err("@ means the origin, which is not known"),
                ("@", false) => origin,
                (raw, true) => raw.to_owned(),
                (raw, false) => format!("{raw}.{origin}"),
            })
        };
        tokens.iter().enumerate().map(complete).collect()
    }

    fn finish(self) -> ZoneImport {
        let apex = self.apex.unwrap_or_default();
        let mut out = Translator {
            import: ZoneImport { skipped: self.skipped, ..ZoneImport::default() },
            ..Translator::new(apex, &self.found)
        };
        for found in self.found {
            out.record(found);
        }
        out.finish()
    }
}

/// Places records under labels.
struct Translator {
    apex: DnsName,
    /// Labels that are delegated to other name servers.
    delegated: BTreeSet<String>,
    /// Addresses of all names, for the name servers among them.
    addresses: BTreeMap<DnsName, Vec<String>>,
    lines: BTreeMap<Label, usize>,
    import: ZoneImport,
}

impl Translator {
    fn new(apex: DnsName, found: &[Found]) -> Self {
        let mut addresses = BTreeMap::<DnsName, Vec<String>>::new();
        let mut delegated = BTreeSet::new();
        for record in found {
            match (record.record_type, relative(&record.owner, &apex)) {
                (RecordType::A | RecordType::AAAA, _) => {
                    let address = crate::data_to_text(record.record_type, &record.data);
                    addresses.entry(lower(&record.owner)).or_default().push(address);
                }
                (RecordType::NS, Some([label])) => {
                    delegated.insert(label.to_lowercase());
                }
                _ => {}
            }
        }
        Self { apex, delegated, addresses, lines: BTreeMap::new(), import: ZoneImport::default() }
    }

    fn record(&mut self, found: Found) {
        let what = format!(
            "{} {}",
            if found.owner.is_empty() { "@".to_owned() } else { found.owner.join(".") },
            found.record_type
        );
        let line = found.line;
        if let Err(reason) = self.place(found) {
            self.import.skipped.push(SkippedLine { line, what, reason: reason.to_owned() });
        }
    }

    fn place(&mut self, found: Found) -> Result<(), &'static str> {
        let apex = self.apex.clone();
        let owner = relative(&found.owner, &apex).ok_or("it is not in the zone")?.to_vec();
        let record_type = found.record_type;
        match owner.as_slice() {
            _ if DNS_ONLY.contains(&record_type.number()) => Err("GNS signs by itself"),
            [] if record_type == RecordType::SOA || record_type == RecordType::NS => Err("GNS finds a zone by its key"),
            [] if record_type == RecordType::DNSKEY || record_type == RecordType::DS => Err("GNS signs by itself"),
            [] if record_type == RecordType::CNAME => Err("a redirection cannot stand under @"),
            [first, ..] if first == "*" => Err("GNS has no wildcards"),
            [service, protocol, rest @ ..] if rest.len() <= 1 && is_service(service, protocol) => {
                let label = rest.first().map_or(Ok(Label::apex()), |label| gns_label(label))?;
                let service =
                    service_of(service, protocol).ok_or("the service has no known port: write _443 for _https")?;
                let boxed = BoxData { service, record_type, data: found.data };
                self.push(label, found.line, RecordType::BOX, boxed.to_data(), found.lifetime);
                Ok(())
            }
            [label] if record_type == RecordType::NS => self.delegate(label, &found),
            [label] if self.delegated.contains(&label.to_lowercase()) && record_type != RecordType::DS => {
                if matches!(record_type, RecordType::A | RecordType::AAAA) {
                    Ok(())
                } else {
                    Err("its label is delegated to other servers")
                }
            }
            [label] if record_type == RecordType::CNAME => {
                let data = self.redirect(&found)?;
                self.push(gns_label(label)?, found.line, RecordType::REDIRECT, data, found.lifetime);
                Ok(())
            }
            [] | [_] => {
                let label = owner.first().map_or(Ok(Label::apex()), |label| gns_label(label))?;
                self.push(label, found.line, record_type, found.data, found.lifetime);
                Ok(())
            }
            // Glue: its addresses are taken by the delegation itself.
            [.., last] if self.delegated.contains(&last.to_lowercase()) => Ok(()),
            _ => Err("names of several labels need a zone for each: create one and delegate to it"),
        }
    }

    /// NS of a label: the same domain, asked at its servers, by address where the file has it.
    fn delegate(&mut self, label: &str, found: &Found) -> Result<(), &'static str> {
        let server = data::read_name(&found.data).ok_or("its server is not a name")?;
        let mut servers = self.addresses.get(&lower(&server)).cloned().unwrap_or_default();
        if servers.is_empty() {
            servers.push(server.join("."));
        }
        let domain = found.owner.join(".");
        for server in servers {
            let data = Gns2Dns::new(&domain, &server)?.to_data();
            self.push(gns_label(label)?, found.line, RecordType::GNS2DNS, data, found.lifetime);
        }
        Ok(())
    }

    /// CNAME: a target inside the zone stays relative, so that it moves with the zone.
    fn redirect(&self, found: &Found) -> Result<Vec<u8>, &'static str> {
        let target = data::read_name(&found.data).ok_or("its target is not a name")?;
        let (labels, is_inside) = match relative(&target, &self.apex) {
            Some(inside) if !self.apex.is_empty() => (inside, true),
            _ => (target.as_slice(), false),
        };
        let labels = labels.iter().map(|label| gns_label(label)).collect::<Result<Vec<_>, _>>()?;
        let name = Name::from_labels(labels).map_err(|_| "its target is too long")?;
        Ok(redirect_data(&if is_inside { RedirectTarget::Relative(name) } else { RedirectTarget::Absolute(name) }))
    }

    fn push(&mut self, label: Label, line: usize, record_type: RecordType, data: Vec<u8>, lifetime: Lifetime) {
        self.lines.entry(label.clone()).or_insert(line);
        let record = StoredRecord::new(record_type, data).with_lifetime(lifetime);
        let records = self.import.labels.entry(label).or_default();
        // More than fit a label are refused as a whole, so nobody needs to look for doubles among them.
        let is_full = records.len() > MAX_LABEL_RECORDS;
        if is_full || !records.iter().any(|known| known.record_type == record.record_type && known.data == record.data)
        {
            records.push(record);
        }
    }

    /// Leaves out the labels whose records cannot stand together.
    fn finish(mut self) -> ZoneImport {
        let (skipped, lines) = (&mut self.import.skipped, &self.lines);
        self.import.labels.retain(|label, records| {
            namestore_rules::complete(records);
            let Err(error) = namestore_rules::check(label, records) else {
                return true;
            };
            let line = lines.get(label).copied().unwrap_or_default();
            skipped.push(SkippedLine { line, what: label.to_string(), reason: error.to_string() });
            false
        });
        self.import.skipped.sort_by_key(|skipped| skipped.line);
        self.import
    }
}

/// Splits a dotted name; escapes are resolved, so a label may have any text but a dot.
fn labels(text: &str) -> Result<DnsName, &'static str> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut out = vec![Vec::new()];
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' => out.push(Vec::new()),
            b'\\' => out.last_mut().ok_or("an empty name")?.push(data::escaped_byte(&mut bytes)?),
            _ => out.last_mut().ok_or("an empty name")?.push(byte),
        }
    }
    if out.iter().any(Vec::is_empty) {
        return Err("a label is empty");
    }
    out.into_iter().map(|label| String::from_utf8(label).map_err(|_| "a label is not UTF-8")).collect()
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('.', "\\.")
}

fn lower(name: &[String]) -> DnsName {
    name.iter().map(|label| label.to_lowercase()).collect()
}

/// The labels of `name` left of `apex`; `None` if it is not below it.
fn relative<'a>(name: &'a [String], apex: &[String]) -> Option<&'a [String]> {
    let (left, right) = name.split_at_checked(name.len().checked_sub(apex.len())?)?;
    let is_below = right.iter().zip(apex).all(|(a, b)| a.to_lowercase() == b.to_lowercase());
    is_below.then_some(left)
}

/// A label of GNS: A-labels become readable, everything else stays.
fn gns_label(label: &str) -> Result<Label, &'static str> {
    let is_a_label = label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"));
    let readable = if is_a_label { idna::domain_to_unicode(label).0 } else { label.to_owned() };
    readable.parse().map_err(|_| "its label is not one of GNS")
}

fn is_service(service: &str, protocol: &str) -> bool {
    service.starts_with('_') && matches!(protocol.to_lowercase().as_str(), "_tcp" | "_udp" | "_sctp" | "_dccp")
}

fn service_of(service: &str, protocol: &str) -> Option<ServiceName> {
    ServiceName::from_labels(&service.parse().ok()?, &protocol.parse().ok()?)
}
