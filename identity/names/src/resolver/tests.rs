use std::{collections::BTreeMap, net::IpAddr, sync::Mutex};

use async_trait::async_trait;
use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::{Block, Flags, MemoryBlockStore, ZoneSecret, ZoneType, data_from_text, encode_rdata, redirect_data};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY: Duration = Duration::from_secs(86_400);

/// A small world: zones by name, blocks in memory, a DNS that knows a few names.
struct World {
    store: Arc<MemoryBlockStore>,
    local: Arc<Local>,
    dns: Arc<Dns>,
    resolver: Resolver,
}

#[derive(Default)]
struct Local {
    suffixes: Mutex<SuffixMap>,
    own: Mutex<BTreeMap<(ZoneKey, Label), Vec<Record>>>,
    revoked: Mutex<Vec<ZoneKey>>,
}

impl LocalZones for Local {
    fn zone_of_suffix(&self, suffix: &Name) -> Option<ZoneKey> {
        self.suffixes.lock().unwrap().get(suffix)
    }

    fn records(&self, zone: &ZoneKey, label: &Label, _now: Timestamp) -> Result<Option<Vec<Record>>, StoreError> {
        Ok(self.own.lock().unwrap().get(&(*zone, label.clone())).cloned())
    }

    fn is_revoked(&self, zone: &ZoneKey, _now: Timestamp) -> bool {
        self.revoked.lock().unwrap().contains(zone)
    }
}

#[derive(Default)]
struct Dns {
    asked: Mutex<Vec<(Vec<IpAddr>, String)>>,
}

impl Dns {
    fn answer(&self, servers: &[IpAddr], name: &str) -> Result<Vec<Record>, DnsError> {
        self.asked.lock().unwrap().push((servers.to_vec(), name.to_owned()));
        if name.ends_with("example.com") {
            Ok(vec![Record::new(RecordType::A, vec![192, 0, 2, 80], Timestamp::NEVER)])
        } else {
            Err(DnsError::NotFound)
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
        _wanted: Option<RecordType>,
        _now: Timestamp,
    ) -> Result<Vec<Record>, DnsError> {
        assert_eq!(whose, Whose::Stranger, "the zones of these tests come from the store");
        self.answer(servers, name)
    }

    async fn lookup(&self, name: &str, _wanted: Option<RecordType>, _now: Timestamp) -> Result<Vec<Record>, DnsError> {
        self.answer(&[], name)
    }
}

fn secret(name: &str) -> ZoneSecret {
    let mut random = [0; 32];
    random[..name.len()].copy_from_slice(name.as_bytes());
    // Both kinds of zone take part in every story.
    let zone_type = if name.len().is_multiple_of(2) { ZoneType::Pkey } else { ZoneType::Edkey };
    ZoneSecret::from_random(zone_type, &random)
}

fn zone(name: &str) -> ZoneKey {
    *secret(name).public()
}

fn record(record_type: RecordType, value: &str) -> Record {
    let flags = if record_type.steers_resolution() { Flags::CRITICAL } else { Flags::NONE };
    let data = data_from_text(record_type, value).unwrap();
    Record { flags, ..Record::new(record_type, data, NOW.after(DAY)) }
}

fn delegation(to: &str) -> Record {
    let zone = zone(to);
    record(zone.zone_type().record_type(), &zone.to_string())
}

fn block(zone: &str, label: &str, expiration: Timestamp, records: &[Record]) -> Block {
    Block::make(&secret(zone), &label.parse().unwrap(), expiration, &encode_rdata(records).unwrap()).unwrap()
}

impl World {
    fn new() -> Self {
        let (store, local, dns) = (Arc::new(MemoryBlockStore::new()), Arc::<Local>::default(), Arc::<Dns>::default());
        for name in ["alice", "bob1"] {
            local.suffixes.lock().unwrap().insert(name.parse().unwrap(), zone(name));
        }
        let resolver = Resolver::new(store.clone(), local.clone(), Some(dns.clone()));
        Self { store, local, dns, resolver }
    }

    fn publish(&self, zone: &str, label: &str, records: &[Record]) {
        let block = block(zone, label, NOW.after(DAY), records);
        block_on(self.store.put(&block.storage_key(), &block)).unwrap();
    }

    fn ask_at(&self, name: &str, wanted: Option<RecordType>, now: Timestamp) -> Result<Resolution, ResolveError> {
        let query = Query { name: name.parse().unwrap(), wanted, freshness: Freshness::Cached };
        block_on(self.resolver.resolve(&query, now))
    }

    fn ask(&self, name: &str, wanted: RecordType) -> Result<Resolution, ResolveError> {
        self.ask_at(name, Some(wanted), NOW)
    }

    /// The values of one type.
    fn values(&self, name: &str, wanted: RecordType) -> Vec<String> {
        let found = self.ask(name, wanted).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        found.of_type(wanted).map(Record::value).collect()
    }

    fn kind(&self, name: &str, wanted: RecordType) -> FailureKind {
        self.ask(name, wanted).expect_err(name).kind()
    }
}

#[test]
fn a_name_is_found_by_suffix_by_ztld_and_with_the_ending_for_dns() {
    let world = World::new();
    world.publish("alice", "www", &[record(RecordType::A, "192.0.2.7")]);
    world.publish("alice", "@", &[record(RecordType::A, "192.0.2.1")]);
    let ztld = zone("alice").to_string();
    for suffix in ["alice", "alice.gns.alt", &ztld, &ztld.to_lowercase(), &format!("{ztld}.gns.alt")] {
        assert_eq!(world.values(&format!("www.{suffix}"), RecordType::A), ["192.0.2.7"], "{suffix}");
        assert_eq!(world.values(suffix, RecordType::A), ["192.0.2.1"], "{suffix}");
    }
    assert_eq!(world.kind("www.nobody", RecordType::A), FailureKind::NotFound);
    assert_eq!(world.kind(&format!("www.{}", &ztld[..50]), RecordType::A), FailureKind::BadName);
    assert_eq!(world.kind("", RecordType::A), FailureKind::NotFound);
}

#[test]
fn the_longest_suffix_wins() {
    let world = World::new();
    world.local.suffixes.lock().unwrap().insert("home.bob1".parse().unwrap(), zone("alice"));
    world.publish("alice", "www", &[record(RecordType::TXT, "alice")]);
    world.publish("bob1", "www", &[record(RecordType::TXT, "bob")]);
    assert_eq!(world.values("www.home.bob1", RecordType::TXT), ["alice"]);
    assert_eq!(world.values("www.bob1", RecordType::TXT), ["bob"]);
}

#[test]
fn delegations_are_followed_to_their_apex() {
    let world = World::new();
    world.publish("alice", "kid", &[delegation("kid")]);
    world.publish("kid", "deep", &[delegation("grandkid")]);
    world.publish("grandkid", "www", &[record(RecordType::TXT, "far")]);
    world.publish("kid", "@", &[record(RecordType::TXT, "apex")]);
    assert_eq!(world.values("www.deep.kid.alice", RecordType::TXT), ["far"]);
    assert_eq!(world.values("kid.alice", RecordType::TXT), ["apex"]);
    let asked = zone("kid").zone_type().record_type();
    assert_eq!(world.values("kid.alice", asked), [zone("kid").to_string()]);
    let found = world.ask("www.deep.kid.alice", RecordType::TXT).unwrap();
    assert_eq!(found.hops.iter().map(|hop| hop.label.to_string()).collect::<Vec<_>>(), ["kid", "deep", "www"]);
}

#[test]
fn a_delegation_at_the_apex_or_two_different_ones_are_errors() {
    let world = World::new();
    world.publish("alice", "@", &[delegation("kid")]);
    world.publish("alice", "two", &[delegation("kid"), delegation("bob1")]);
    world.publish("alice", "same", &[delegation("kid"), delegation("kid")]);
    world.publish("kid", "@", &[record(RecordType::TXT, "apex")]);
    assert_eq!(world.kind("alice", RecordType::A), FailureKind::Refused);
    assert_eq!(world.kind("www.two.alice", RecordType::A), FailureKind::Refused);
    assert_eq!(world.values("same.alice", RecordType::TXT), ["apex"]);
}

#[test]
fn redirects_stay_in_the_zone_or_begin_anew() {
    let world = World::new();
    world.publish("alice", "a", &[record(RecordType::REDIRECT, "www.+")]);
    world.publish("alice", "b", &[record(RecordType::REDIRECT, "other.bob1")]);
    world.publish("alice", "c", &[record(RecordType::REDIRECT, "www.example.com")]);
    world.publish("alice", "top", &[record(RecordType::REDIRECT, "+")]);
    world.publish("alice", "www", &[record(RecordType::TXT, "here")]);
    world.publish("alice", "@", &[record(RecordType::TXT, "apex")]);
    world.publish("bob1", "other", &[record(RecordType::TXT, "there")]);
    assert_eq!(world.values("a.alice", RecordType::TXT), ["here"]);
    assert_eq!(world.values("a.alice", RecordType::REDIRECT), ["www.+"]);
    assert_eq!(world.values("b.alice", RecordType::TXT), ["there"]);
    assert_eq!(world.values("top.alice", RecordType::TXT), ["apex"]);
    assert_eq!(world.values("www.top.alice", RecordType::TXT), ["here"]);
    let dns = world.ask("x.c.alice", RecordType::A).unwrap();
    assert_eq!((dns.source, dns.records.len()), (Source::Dns, 1));
    assert_eq!(world.dns.asked.lock().unwrap().last().unwrap(), &(vec![], "x.www.example.com".to_owned()));
}

#[test]
fn loops_end() {
    let world = World::new();
    world.publish("alice", "a", &[record(RecordType::REDIRECT, "b.+")]);
    world.publish("alice", "b", &[record(RecordType::REDIRECT, "a.alice")]);
    world.publish("alice", "long", &[record(RecordType::REDIRECT, "x.long.+")]);
    world.publish("alice", "dns", &[record(RecordType::GNS2DNS, "example.com@dns.+")]);
    world.publish("alice", "self", &[delegation("alice")]);
    assert!(matches!(world.ask("a.alice", RecordType::A), Err(ResolveError::TooManySteps)));
    assert_eq!(world.kind("long.alice", RecordType::A), FailureKind::Refused);
    assert_eq!(world.kind("dns.alice", RecordType::A), FailureKind::Refused);
    assert_eq!(world.kind("self.self.self.alice", RecordType::A), FailureKind::NotFound);
}

#[test]
fn gns2dns_asks_the_servers_of_the_zone() {
    let world = World::new();
    world.publish("alice", "ns", &[record(RecordType::A, "192.0.2.53"), record(RecordType::AAAA, "2001:db8::53")]);
    let servers = ["192.0.2.9", "ns.+", "ns.alice", "ns1.example.com", "ns.nowhere"];
    let records = servers.map(|server| record(RecordType::GNS2DNS, &format!("example.com@{server}")));
    world.publish("alice", "dns", &records);
    let found = world.ask("www.dns.alice", RecordType::A).unwrap();
    assert_eq!(found.source, Source::Dns);
    let values: Vec<_> = found.records.iter().map(Record::value).collect();
    assert_eq!(values, ["192.0.2.80", "www.example.com"]);
    assert!(found.records.iter().all(|record| record.expiration == NOW.after(DAY / 24)));
    assert!(found.records[1].flags.contains(Flags::SUPPLEMENTAL));
    let asked = world.dns.asked.lock().unwrap().pop().unwrap();
    let expected = ["192.0.2.9", "192.0.2.53", "2001:db8::53", "192.0.2.80"].map(|ip| ip.parse::<IpAddr>().unwrap());
    assert_eq!(asked, (expected.to_vec(), "www.example.com".to_owned()));
    assert_eq!(world.values("dns.alice", RecordType::GNS2DNS).len(), 5);
}

#[test]
fn gns2dns_that_cannot_work_says_why() {
    let world = World::new();
    world.publish("alice", "none", &[record(RecordType::GNS2DNS, "example.com@ns.nowhere")]);
    let differ =
        [record(RecordType::GNS2DNS, "a.example@192.0.2.1"), record(RecordType::GNS2DNS, "b.example@192.0.2.1")];
    world.publish("alice", "differ", &differ);
    let mixed = [record(RecordType::GNS2DNS, "a.example@192.0.2.1"), record(RecordType::A, "192.0.2.1")];
    world.publish("alice", "mixed", &mixed);
    assert!(matches!(world.ask("none.alice", RecordType::A), Err(ResolveError::Dns(DnsError::NoServer))));
    assert_eq!(world.kind("differ.alice", RecordType::A), FailureKind::Refused);
    assert_eq!(world.kind("mixed.alice", RecordType::A), FailureKind::Refused);
    let without_dns = Resolver::new(world.store.clone(), world.local.clone(), None);
    let query = Query::any("none.alice".parse().unwrap());
    let error = block_on(without_dns.resolve(&query, NOW)).unwrap_err();
    assert!(matches!(error, ResolveError::Dns(DnsError::Disabled)));
    assert_eq!(error.kind(), FailureKind::NotFound, "an empty set");
    let delegation = Query { wanted: Some(RecordType::GNS2DNS), ..query };
    assert_eq!(block_on(without_dns.resolve(&delegation, NOW)).unwrap().records.len(), 1, "asked for by its type");
}

#[test]
fn a_box_is_opened_for_its_service_only() {
    let world = World::new();
    let boxes = [
        record(RecordType::BOX, "6 443 TLSA 3 1 1 aa"),
        record(RecordType::BOX, "17 443 TLSA 3 1 1 bb"),
        record(RecordType::A, "192.0.2.1"),
    ];
    world.publish("alice", "www", &boxes);
    world.publish("alice", "@", &[record(RecordType::BOX, "6 25 SRV 0 0 25 mail")]);
    world.publish("alice", "kid", &[delegation("kid")]);
    world.publish("kid", "@", &boxes);
    assert_eq!(world.values("_443._tcp.www.alice", RecordType::TLSA), ["3 1 1 aa"]);
    assert_eq!(world.values("_https._udp.www.alice", RecordType::TLSA), ["3 1 1 bb"]);
    assert_eq!(world.values("_25._tcp.alice", RecordType::SRV), ["0 0 25 mail"]);
    assert_eq!(world.values("_443._tcp.kid.alice", RecordType::TLSA), ["3 1 1 aa"]);
    assert_eq!(world.values("www.alice", RecordType::BOX).len(), 2);
    assert_eq!(world.kind("_80._tcp.www.alice", RecordType::TLSA), FailureKind::NotFound);
}

#[test]
fn leho_nick_and_supplemental_records() {
    let world = World::new();
    let supplemental = Record { flags: Flags::SUPPLEMENTAL, ..record(RecordType::NICK, "al") };
    let set = [record(RecordType::A, "192.0.2.1"), record(RecordType::LEHO, "www.example"), supplemental.clone()];
    world.publish("alice", "www", &set);
    world.publish("alice", "@", &[record(RecordType::NICK, "al")]);
    world.publish("alice", "kid", &[delegation("kid"), supplemental]);
    world.publish("kid", "@", &[record(RecordType::TXT, "apex")]);
    assert_eq!(world.values("www.alice", RecordType::LEHO), ["www.example"]);
    assert_eq!(world.ask("www.alice", RecordType::A).unwrap().records.len(), 3);
    assert!(world.values("www.alice", RecordType::NICK).is_empty());
    assert_eq!(world.values("alice", RecordType::NICK), ["al"]);
    assert_eq!(
        world.values("kid.alice", RecordType::TXT),
        ["apex"],
        "a supplemental record does not hide a delegation"
    );
}

#[test]
fn critical_records_of_unknown_types_end_resolution() {
    let world = World::new();
    let unknown = Record { flags: Flags::CRITICAL, ..record(RecordType::new(70_000), "\\# 0") };
    world.publish("alice", "www", &[record(RecordType::A, "192.0.2.1"), unknown]);
    let error = world.ask("www.alice", RecordType::A).unwrap_err();
    assert!(matches!(error, ResolveError::Critical { record_type, .. } if record_type.number() == 70_000));
}

#[test]
fn forged_damaged_and_older_blocks_do_not_hide_the_newest() {
    let world = World::new();
    let good = block("alice", "www", NOW.after(2 * DAY), &[record(RecordType::TXT, "new")]);
    let key = good.storage_key();
    let mut forged = block("alice", "www", NOW.after(9 * DAY), &[record(RecordType::TXT, "forged")]).into_bytes();
    forged[120] ^= 1;
    // Signed by the owner, but the records run past the end.
    let broken = Block::make(&secret("alice"), &"www".parse().unwrap(), NOW.after(8 * DAY), &[0xff; 20]).unwrap();
    for bytes in [
        vec![],
        vec![0xff; 200],
        forged,
        broken.into_bytes(),
        block("alice", "other", NOW.after(9 * DAY), &[]).into_bytes(),
        block("alice", "www", NOW.after(DAY), &[record(RecordType::TXT, "old")]).into_bytes(),
        block("alice", "www", NOW, &[record(RecordType::TXT, "expired")]).into_bytes(),
    ] {
        world.store.inject(key, bytes);
    }
    assert!(matches!(
        world.ask_at("www.alice", None, NOW.after(9 * DAY)),
        Err(ResolveError::NotFound { why: NothingFound::NoGoodBlock, .. })
    ));
    block_on(world.store.put(&key, &good)).unwrap();
    let fresh = Query { freshness: Freshness::Fresh, ..Query::any("www.alice".parse().unwrap()) };
    let found = block_on(world.resolver.resolve(&fresh, NOW)).unwrap();
    assert_eq!(found.records[0].value(), "new");
}

#[test]
fn why_nothing_was_found_is_said() {
    let world = World::new();
    world.publish("alice", "deleted", &[]);
    world.publish("alice", "www", &[record(RecordType::A, "192.0.2.1")]);
    let why = |name: &str, now| match world.ask_at(name, None, now) {
        Err(ResolveError::NotFound { why, .. }) => why,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(why("nothing.alice", NOW), NothingFound::NoBlock);
    assert_eq!(why("deleted.alice", NOW), NothingFound::NoRecords);
    assert_eq!(why("sub.www.alice", NOW), NothingFound::NoWay);
    world.store.fail_with(Some(StoreError::Timeout));
    assert_eq!(world.kind("new.alice", RecordType::A), FailureKind::Timeout);
    world.store.fail_with(Some(StoreError::Unreachable("no peers".to_owned())));
    assert_eq!(world.kind("new.alice", RecordType::A), FailureKind::Unreachable);
}

#[test]
fn a_revoked_zone_gives_nothing_even_from_the_cache() {
    let world = World::new();
    world.publish("alice", "kid", &[delegation("kid")]);
    world.publish("kid", "www", &[record(RecordType::A, "192.0.2.1")]);
    assert!(world.ask("www.kid.alice", RecordType::A).is_ok());
    world.local.revoked.lock().unwrap().push(zone("kid"));
    assert_eq!(world.kind("www.kid.alice", RecordType::A), FailureKind::Revoked);
    assert_eq!(world.kind("kid.alice", RecordType::A), FailureKind::Revoked);
}

#[test]
fn answers_come_from_the_cache_until_they_expire() {
    let world = World::new();
    let short = Record { expiration: NOW.after(DAY / 2), ..record(RecordType::A, "192.0.2.1") };
    world.publish("alice", "www", &[short, record(RecordType::TXT, "longer")]);
    let first = world.ask("www.alice", RecordType::A).unwrap();
    assert_eq!((first.source, first.age), (Source::Store { origin: "memory".to_owned() }, Duration::ZERO));
    let ask = |hours: u32| world.ask_at("www.alice", None, NOW.after(hours * DAY / 24));
    let second = ask(1).unwrap();
    assert_eq!((second.source, second.age), (Source::Cache { origin: "memory".to_owned() }, DAY / 24));
    assert!(!second.refresh_due && ask(13).unwrap().refresh_due);
    assert_eq!(ask(13).unwrap().records.len(), 1, "a record ends with its own expiration");
    assert_eq!(world.store.gets(), 1);
    assert!(ask(25).is_err());
    assert_eq!(world.store.gets(), 2);
    // "Nothing there" is remembered for half a minute, a failure not at all.
    let at = |secs| world.ask_at("none.alice", None, NOW.after(Duration::from_secs(secs))).is_err();
    assert!(at(0) && at(29));
    assert_eq!(world.store.gets(), 3);
    assert!(at(30));
    assert_eq!(world.store.gets(), 4);
}

#[test]
fn own_zones_answer_without_the_store() {
    let world = World::new();
    let private = Record { flags: Flags::PRIVATE, ..record(RecordType::TXT, "mine") };
    world.local.own.lock().unwrap().insert((zone("alice"), "diary".parse().unwrap()), vec![private]);
    let found = world.ask("diary.alice", RecordType::TXT).unwrap();
    assert_eq!((found.source, found.records[0].value()), (Source::Local, "mine".to_owned()));
    assert_eq!(world.store.gets(), 0);
}

#[test]
fn a_resolution_can_move_between_threads() {
    fn is_send(_: &impl Send) {}
    let world = World::new();
    let query = Query::any("www.alice".parse().unwrap());
    is_send(&world.resolver.resolve(&query, NOW));
}

#[test]
fn a_redirect_without_its_zero_byte_is_followed() {
    let world = World::new();
    let mut old = record(RecordType::REDIRECT, "www.+");
    assert_eq!(old.data, redirect_data(&"www.+".parse().unwrap()));
    old.data.pop();
    world.publish("alice", "old", &[old]);
    world.publish("alice", "www", &[record(RecordType::TXT, "here")]);
    assert_eq!(world.values("old.alice", RecordType::TXT), ["here"]);
    let broken = Record { data: vec![0xff, 0xfe], ..record(RecordType::REDIRECT, "x") };
    world.publish("alice", "broken", &[broken]);
    assert_eq!(world.kind("broken.alice", RecordType::TXT), FailureKind::Refused);
}

/// Records as a hostile owner would write them: loops, damaged targets, unknown types, every flag.
fn hostile_record() -> impl Strategy<Value = Record> {
    let names = ["a", "b", "@", "+", "a.+", "b.a.+", "a.alice", "b.bob1", "example.com", "_443._tcp.a.+", ""];
    let name = proptest::sample::select(names.to_vec());
    let typed = prop_oneof![
        name.clone().prop_map(|target| (RecordType::REDIRECT, target.as_bytes().to_vec())),
        (name.clone(), name)
            .prop_map(|(domain, server)| { (RecordType::GNS2DNS, format!("{domain}\0{server}\0").into_bytes()) }),
        proptest::sample::select(vec!["alice", "bob1", "kid"])
            .prop_map(|to| (zone(to).zone_type().record_type(), zone(to).zkey().to_vec())),
        Just((RecordType::BOX, data_from_text(RecordType::BOX, "6 443 A 192.0.2.1").unwrap())),
        Just((RecordType::A, vec![192, 0, 2, 1])),
        (any::<u32>(), proptest::collection::vec(any::<u8>(), 0..9))
            .prop_map(|(number, data)| (RecordType::new(number), data)),
        (
            proptest::sample::select(RecordType::known().collect::<Vec<_>>()),
            proptest::collection::vec(any::<u8>(), 0..40)
        ),
    ];
    (typed, 0..8u16, any::<bool>()).prop_map(|((record_type, data), flags, is_alive)| Record {
        expiration: if is_alive { NOW.after(DAY) } else { NOW },
        flags: Flags::from_bits(flags),
        record_type,
        data,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn hostile_zones_end_in_an_answer_or_an_error_within_the_steps(
        sets in proptest::collection::vec(
            (proptest::sample::select(vec!["alice", "bob1", "kid"]), proptest::sample::select(vec!["a", "b", "@", "_tcp"]),
             proptest::collection::vec(hostile_record(), 0..4)), 0..10),
        name in "((a|b|_443|_tcp)\\.){0,4}(alice|bob1)", wanted in proptest::option::of(any::<u32>()),
    ) {
        let world = World::new();
        for (zone, label, records) in sets {
            world.publish(zone, label, &records);
        }
        let found = world.ask_at(&name, wanted.map(RecordType::new), NOW);
        prop_assert!(world.store.gets() <= MAX_STEPS);
        if let Ok(found) = found {
            prop_assert!(found.records.iter().all(|record| !record.is_expired(NOW)));
        }
    }
}
