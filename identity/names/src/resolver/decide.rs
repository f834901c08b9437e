//! What a record set means for the labels that are left (RFC 9498, section 7.3.1 to 7.3.5; specs/names.md, 10.4).

use crate::{BoxData, Flags, Gns2Dns, Label, Record, RecordType, RedirectTarget, ServiceName, ZoneKey};

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This is the answer.
    Answer(Vec<Record>),
    /// The name continues elsewhere.
    Redirect(RedirectTarget),
    /// The rest is looked up in another zone, at `@` if nothing is left.
    Delegate(ZoneKey),
    /// The rest and this name are looked up in DNS, at these servers.
    Dns { name: String, servers: Vec<String> },
    /// Nothing leads further.
    NoWay,
}

/// A record that steers the way is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) record_type: RecordType,
    pub(super) reason: &'static str,
}

/// Decides, for the records that count, the labels left of `label`, and what the application wants.
pub(super) fn decide(
    records: Vec<Record>,
    label: &Label,
    rest: &[Label],
    wanted: Option<RecordType>,
) -> Result<Next, Unusable> {
    let primary: Vec<&Record> = records.iter().filter(|r| !r.flags.contains(Flags::SUPPLEMENTAL)).collect();
    let wants = |record_type| rest.is_empty() && wanted == Some(record_type);

    if let [only] = primary.as_slice()
        && only.record_type == RecordType::REDIRECT
    {
        if wants(RecordType::REDIRECT) {
            return Ok(Next::Answer(records));
        }
        return redirect(only, label).map(Next::Redirect);
    }
    if primary.iter().any(|record| record.record_type == RecordType::GNS2DNS) {
        if wants(RecordType::GNS2DNS) {
            return Ok(Next::Answer(records));
        }
        return to_dns(&primary, label);
    }
    if let [service, protocol] = rest
        && let Some(service) = ServiceName::from_labels(service, protocol)
    {
        let unboxed = unbox(&records, service);
        if !unboxed.is_empty() {
            return Ok(Next::Answer(unboxed));
        }
    }
    if let Some(zone) = delegation(&primary, label)? {
        if wants(zone.zone_type().record_type()) {
            return Ok(Next::Answer(records));
        }
        return Ok(Next::Delegate(zone));
    }
    if rest.is_empty() { Ok(Next::Answer(final_set(records, wanted))) } else { Ok(Next::NoWay) }
}

/// The records in the boxes for a service: type and data from the box, flags and expiration of the BOX.
pub(super) fn unbox(records: &[Record], service: ServiceName) -> Vec<Record> {
    records
        .iter()
        .filter(|record| record.record_type == RecordType::BOX)
        .filter_map(|record| Some((record, BoxData::from_data(&record.data)?)))
        .filter(|(_, boxed)| boxed.service == service)
        .map(|(record, boxed)| Record { record_type: boxed.record_type, data: boxed.data, ..record.clone() })
        .collect()
}

fn redirect(record: &Record, label: &Label) -> Result<RedirectTarget, Unusable> {
    let fail = |reason| Unusable { record_type: RecordType::REDIRECT, reason };
    if label.is_apex() {
        return Err(fail("it must not stand at the apex of a zone"));
    }
    RedirectTarget::from_data(&record.data).ok_or_else(|| fail("its target is not a name"))
}

fn to_dns(primary: &[&Record], label: &Label) -> Result<Next, Unusable> {
    let fail = |reason| Unusable { record_type: RecordType::GNS2DNS, reason };
    if label.is_apex() {
        return Err(fail("it must not stand at the apex of a zone"));
    }
    let mut name: Option<String> = None;
    let mut servers = Vec::new();
    for record in primary {
        if record.record_type != RecordType::GNS2DNS {
            if record.record_type.may_accompany_gns2dns() {
                continue;
            }
            return Err(fail("records of other types stand beside it"));
        }
        let delegation = Gns2Dns::from_data(&record.data).ok_or_else(|| fail("its data is damaged"))?;
        if name.as_deref().is_some_and(|name| !name.eq_ignore_ascii_case(delegation.name())) {
            return Err(fail("several of them name different domains"));
        }
        name.get_or_insert_with(|| delegation.name().to_owned());
        servers.push(delegation.server().to_owned());
    }
    Ok(name.map_or(Next::NoWay, |name| Next::Dns { name, servers }))
}

/// The one zone that the set delegates to, if it is a delegation and nothing else.
fn delegation(primary: &[&Record], label: &Label) -> Result<Option<ZoneKey>, Unusable> {
    let mut zones = Vec::new();
    for record in primary {
        let Some(zone_type) = record.record_type.zone_type() else {
            continue;
        };
        let fail = |reason| Unusable { record_type: record.record_type, reason };
        if label.is_apex() {
            return Err(fail("it must not stand at the apex of a zone"));
        }
        let zkey = record.data.as_slice().try_into().map_err(|_| fail("its key has not 32 bytes"))?;
        let zone = ZoneKey::new(zone_type, zkey).map_err(|_| fail("its key is not a point of the curve"))?;
        if zones.last().is_some_and(|other| *other != zone) {
            return Err(fail("there are several of them, for different zones"));
        }
        zones.push(zone);
    }
    let alone = zones.len() == primary.len();
    Ok(zones.pop().filter(|_| alone))
}

/// A NICK that is only supplemental belongs to the zone in which the set was found, not to the name: it is no answer to
/// the question for a NICK.
fn final_set(mut records: Vec<Record>, wanted: Option<RecordType>) -> Vec<Record> {
    if wanted == Some(RecordType::NICK) {
        records.retain(|r| r.record_type != RecordType::NICK || !r.flags.contains(Flags::SUPPLEMENTAL));
    }
    records
}
