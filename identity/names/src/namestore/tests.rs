use std::time::Duration;

use super::*;
use crate::{LabelKeys, ZoneType, data_from_text, decode_rdata};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// One zone with its key.
struct Home {
    store: Namestore<MemoryNamestore>,
    secret: ZoneSecret,
    zone: ZoneKey,
}

fn record(record_type: RecordType, value: &str) -> StoredRecord {
    StoredRecord::new(record_type, data_from_text(record_type, value).unwrap())
}

fn a(value: &str) -> StoredRecord {
    record(RecordType::A, value)
}

fn private(record: StoredRecord) -> StoredRecord {
    record.with_flags(Flags::PRIVATE)
}

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

fn other_zone() -> String {
    ZoneSecret::from_random(ZoneType::Pkey, &[8; 32]).public().to_string()
}

impl Home {
    fn new() -> Self {
        let secret = ZoneSecret::from_random(ZoneType::Edkey, &[7; 32]);
        let zone = *secret.public();
        let mut store = Namestore::new(MemoryNamestore::new());
        store.create_zone(label("home"), zone).unwrap();
        Self { store, secret, zone }
    }

    fn set(&mut self, name: &str, records: &[StoredRecord]) -> Result<LabelEntry, NamestoreError> {
        self.store.set(&self.zone, &label(name), records.to_vec())
    }

    fn add(&mut self, name: &str, records: &[StoredRecord]) -> Result<LabelEntry, NamestoreError> {
        self.store.add(&self.zone, &label(name), records.to_vec())
    }

    fn remove(&mut self, name: &str) {
        self.store.remove(&self.zone, &label(name), None).unwrap();
    }

    fn entry(&self, name: &str) -> LabelEntry {
        self.store.entry(&self.zone, &label(name)).unwrap().unwrap()
    }

    fn build(&mut self, name: &str, now: Timestamp) -> Option<Block> {
        self.store.build(&self.secret, &label(name), now).unwrap()
    }

    /// Builds, and tells the store that it was published.
    fn publish(&mut self, name: &str, now: Timestamp) -> Block {
        let block = self.build(name, now).unwrap();
        self.store.published(&self.zone, &label(name), &block, now).unwrap();
        block
    }

    fn records(&self, name: &str, block: &Block) -> Vec<Record> {
        decode_rdata(&block.open(&LabelKeys::of(&self.zone, &label(name))).unwrap()).unwrap()
    }
}

fn rule(result: Result<LabelEntry, NamestoreError>) -> RuleError {
    match result {
        Err(NamestoreError::Rule { source, .. }) => source,
        other => panic!("a rule should be broken: {other:?}"),
    }
}

#[test]
fn setting_a_type_replaces_it_and_keeps_the_others() {
    let mut home = Home::new();
    home.set("www", &[a("192.0.2.1"), a("192.0.2.2")]).unwrap();
    home.set("www", &[record(RecordType::TXT, "text")]).unwrap();
    home.set("www", &[a("192.0.2.3")]).unwrap();
    home.set("www", &[a("192.0.2.4").with_flags(Flags::SHADOW)]).unwrap();
    assert_eq!(home.entry("www").records.len(), 3);
    home.add("www", &[a("192.0.2.3").with_lifetime(Lifetime::For(HOUR)), a("192.0.2.5")]).unwrap();
    assert_eq!(home.entry("www").records.len(), 4);
    home.store.remove(&home.zone, &label("www"), Some(RecordType::A)).unwrap();
    assert_eq!(home.entry("www").records, [record(RecordType::TXT, "text")]);
}

#[test]
fn the_rules_of_the_types_are_kept() {
    let mut home = Home::new();
    let delegation = record(RecordType::PKEY, &other_zone());
    let redirect = record(RecordType::REDIRECT, "www.+");
    let dns = record(RecordType::GNS2DNS, "example.com@192.0.2.1");
    let is_critical = |entry: LabelEntry| entry.records.iter().all(|record| record.flags.contains(Flags::CRITICAL));
    assert!(is_critical(home.set("kid", std::slice::from_ref(&delegation)).unwrap()));
    assert!(is_critical(home.set("redir", std::slice::from_ref(&redirect)).unwrap()));
    home.set(
        "dns",
        &[dns.clone(), record(RecordType::GNS2DNS, "Example.COM@192.0.2.2"), record(RecordType::DS, "1 8 2 aa")],
    )
    .unwrap();
    home.add("kid", &[record(RecordType::PKEY, &other_zone()).with_flags(Flags::SHADOW)]).unwrap();

    for steering in [&delegation, &redirect, &dns] {
        let broken = rule(home.set("@", std::slice::from_ref(steering)));
        assert_eq!(broken, RuleError::NotAtApex(steering.record_type));
    }
    assert_eq!(rule(home.add("kid", &[a("192.0.2.1")])), RuleError::MustBeAlone(RecordType::PKEY));
    assert_eq!(
        rule(home.add("redir", &[record(RecordType::REDIRECT, "x.+")])),
        RuleError::MustBeAlone(RecordType::REDIRECT)
    );
    assert_eq!(rule(home.add("dns", &[a("192.0.2.1")])), RuleError::BesideGns2Dns(RecordType::A));
    assert_eq!(
        rule(home.add("dns", &[record(RecordType::GNS2DNS, "b.example@192.0.2.2")])),
        RuleError::DifferentDomains
    );
    assert_eq!(rule(home.set("www", &[record(RecordType::NICK, "al")])), RuleError::NickOnlyAtApex);
    assert_eq!(
        rule(home.set("bad", &[StoredRecord::new(RecordType::PKEY, vec![1])])),
        RuleError::BadData(RecordType::PKEY)
    );
    let unusable = StoredRecord::new(RecordType::P2PPEER, b"P2P\x01".to_vec());
    assert_eq!(rule(home.set("bad", &[unusable])), RuleError::BadData(RecordType::P2PPEER));
    let long = StoredRecord::new(RecordType::TXT, vec![b'x'; 8177]);
    assert_eq!(rule(home.set("long", &[long])), RuleError::TooLarge(16_384));
    let many: Vec<_> = (0..=MAX_LABEL_RECORDS).map(|at| private(record(RecordType::TXT, &at.to_string()))).collect();
    assert_eq!(rule(home.set("long", &many)), RuleError::TooMany(1001));
    let most = home.set("private", &many[..MAX_LABEL_RECORDS]).unwrap();
    assert_eq!(LabelEntry::from_bytes(&most.to_bytes()).unwrap(), most);
    let wide = vec![private(StoredRecord::new(RecordType::TXT, vec![b'x'; 65_535])); 17];
    assert_eq!(rule(home.set("wide", &wide)), RuleError::TooMuchData(17 * 65_535));
    assert!(home.set("long", &[StoredRecord::new(RecordType::TXT, vec![b'x'; 8176])]).is_ok());
    assert_eq!(home.store.entry(&home.zone, &label("bad")).unwrap(), None, "a refused change leaves nothing behind");
}

#[test]
fn a_read_key_is_only_taken_in_private_records() {
    let mut home = Home::new();
    let drive = p2p_identity::DriveId::from([7; 32]);
    let mut data = data_from_text(RecordType::P2PDRIVE, &format!("p2p://{drive}/")).unwrap();
    data.extend([0x04, 0, 32]);
    data.extend([5; 32]);
    let with_key = StoredRecord::new(RecordType::P2PDRIVE, data);
    assert_eq!(rule(home.set("docs", std::slice::from_ref(&with_key))), RuleError::ReadKeyNotPrivate);
    home.set("docs", &[private(with_key)]).unwrap();
    assert_eq!(home.build("docs", NOW), None);
}

#[test]
fn private_records_are_never_in_a_block() {
    let mut home = Home::new();
    home.set("@", &[private(record(RecordType::NICK, "secret"))]).unwrap();
    home.set("www", &[a("192.0.2.1"), private(record(RecordType::TXT, "mine"))]).unwrap();
    home.set("diary", &[private(record(RecordType::TXT, "mine"))]).unwrap();
    let block = home.publish("www", NOW);
    let records = home.records("www", &block);
    assert_eq!(records.iter().map(Record::value).collect::<Vec<_>>(), ["192.0.2.1"]);
    assert!(records.iter().all(|record| record.flags.without(Flags::LOCAL) == record.flags));
    assert_eq!(home.build("diary", NOW), None);
    assert_eq!(home.build("@", NOW), None);
    assert_eq!(home.entry("diary").publish(NOW), Publish::Nothing);
    assert_eq!(home.entry("diary").state(), PublicationState::NothingPublic);
    let local = home.store.local_records(&home.zone, &label("www"), NOW).unwrap().unwrap();
    assert_eq!(local.len(), 2, "the owner sees them");
    // What was public and became private is withdrawn.
    home.set("www", &[private(a("192.0.2.1"))]).unwrap();
    let withdrawn = home.publish("www", NOW.after(HOUR));
    assert!(home.records("www", &withdrawn).is_empty() && withdrawn.expiration() > block.expiration());
}

#[test]
fn the_expiration_of_a_block_follows_the_rfc() {
    let mut home = Home::new();
    let until = |days: u32| Lifetime::Until(NOW.after(DAY * days));
    home.set("two", &[a("192.0.2.1").with_lifetime(until(3)), a("192.0.2.2").with_lifetime(until(5))]).unwrap();
    assert_eq!(home.build("two", NOW).unwrap().expiration(), NOW.after(DAY * 5));
    home.add("two", &[record(RecordType::TXT, "x").with_lifetime(until(4))]).unwrap();
    // Four days would be less than the block before.
    assert_eq!(home.build("two", NOW).unwrap().expiration(), NOW.after(DAY * 5).next().unwrap());
    home.set("shadow", &[a("192.0.2.1").with_lifetime(until(2))]).unwrap();
    home.add("shadow", &[a("192.0.2.2").with_lifetime(until(9)).with_flags(Flags::SHADOW)]).unwrap();
    assert_eq!(home.build("shadow", NOW).unwrap().expiration(), NOW.after(DAY * 9));
    home.set("never", &[a("192.0.2.1").with_lifetime(Lifetime::Until(Timestamp::NEVER))]).unwrap();
    let block = home.build("never", NOW).unwrap();
    assert_eq!(block.expiration(), NOW.after(MAX_LIFETIME));
    assert_eq!(home.records("never", &block)[0].expiration, NOW.after(MAX_LIFETIME));
    home.set("old", &[a("192.0.2.1").with_lifetime(Lifetime::Until(NOW)), a("192.0.2.2")]).unwrap();
    let block = home.build("old", NOW).unwrap();
    assert_eq!(home.records("old", &block).len(), 1, "expired records stay out");
}

#[test]
fn a_block_is_published_at_once_then_every_twelve_hours_and_built_anew_at_half_life() {
    let mut home = Home::new();
    home.set("www", &[a("192.0.2.1")]).unwrap();
    assert_eq!(home.entry("www").publish(NOW), Publish::Rebuild { meanwhile: None });
    assert_eq!(home.entry("www").state(), PublicationState::Changed);
    let block = home.build("www", NOW).unwrap();
    assert_eq!(home.entry("www").state(), PublicationState::Waiting);
    assert_eq!(home.entry("www").publish(NOW), Publish::AsItIs(block.clone()));
    home.store.published(&home.zone, &label("www"), &block, NOW).unwrap();
    assert_eq!(home.entry("www").state(), PublicationState::Published);
    let Publish::Later(due) = home.entry("www").publish(NOW) else {
        panic!("it is published");
    };
    let wait = due.since(NOW);
    assert!(wait >= REPUBLISH_INTERVAL * 9 / 10 && wait <= REPUBLISH_INTERVAL * 11 / 10, "{wait:?}");
    assert_eq!(home.entry("www").publish(due), Publish::AsItIs(block.clone()));
    let half = NOW.after(DAY * 7 / 2);
    assert_eq!(home.entry("www").publish(half), Publish::Rebuild { meanwhile: Some(block.clone()) });
    assert_eq!(home.entry("www").publish(NOW.after(DAY * 8)), Publish::Rebuild { meanwhile: None });
    let next = home.publish("www", half);
    assert_eq!(next.expiration(), half.after(DAY * 7));
    // Setting the same again is no change.
    home.set("www", &[a("192.0.2.1")]).unwrap();
    assert!(matches!(home.entry("www").publish(half), Publish::Later(_)));
}

#[test]
fn a_deleted_label_is_replaced_by_an_empty_set_once() {
    let mut home = Home::new();
    home.set("www", &[a("192.0.2.1")]).unwrap();
    home.remove("www");
    assert_eq!(home.build("www", NOW), None, "nothing was ever published");
    home.set("www", &[a("192.0.2.1")]).unwrap();
    let block = home.publish("www", NOW);
    home.remove("www");
    let empty = home.build("www", NOW).unwrap();
    assert_eq!(empty.expiration(), block.expiration().next().unwrap());
    assert!(home.records("www", &empty).is_empty());
    assert_eq!(home.entry("www").publish(NOW), Publish::AsItIs(empty.clone()));
    assert_eq!(home.entry("www").publish(empty.expiration()), Publish::Nothing, "by then it has replaced everything");
    home.store.published(&home.zone, &label("www"), &empty, NOW).unwrap();
    assert_eq!(home.entry("www").publish(NOW.after(DAY * 2)), Publish::Nothing);
    assert_eq!(home.entry("www").due(NOW), Timestamp::NEVER);
    home.set("www", &[a("192.0.2.1").with_lifetime(Lifetime::For(HOUR))]).unwrap();
    assert!(home.build("www", NOW).unwrap().expiration() > empty.expiration());
}

#[test]
fn the_nick_of_a_zone_stands_beside_all_its_records() {
    let mut home = Home::new();
    home.set("@", &[record(RecordType::NICK, "al")]).unwrap();
    home.set("www", &[a("192.0.2.1")]).unwrap();
    home.set("kid", &[record(RecordType::PKEY, &other_zone())]).unwrap();
    for name in ["www", "kid"] {
        let block = home.publish(name, NOW);
        let records = home.records(name, &block);
        let nick = records.last().unwrap();
        assert_eq!((nick.value().as_str(), nick.flags), ("al", Flags::SUPPLEMENTAL));
    }
    let apex = home.publish("@", NOW);
    assert_eq!(home.records("@", &apex).len(), 1);
    home.set("@", &[record(RecordType::NICK, "alice")]).unwrap();
    assert!(matches!(home.entry("www").publish(NOW), Publish::Rebuild { .. }), "the others follow a new NICK");
    home.set("full", &[StoredRecord::new(RecordType::TXT, vec![b'x'; 8176])]).unwrap();
    let full = home.publish("full", NOW);
    assert_eq!(home.records("full", &full).len(), 1, "it stays out where it would not fit");
}

#[test]
fn a_wrong_clock_is_repaired_and_expirations_still_grow() {
    let mut home = Home::new();
    home.set("www", &[a("192.0.2.1")]).unwrap();
    let future = home.publish("www", NOW.after(DAY * 3000));
    assert!(matches!(home.entry("www").publish(NOW), Publish::Rebuild { .. }));
    let repaired = home.publish("www", NOW);
    assert_eq!(repaired.expiration(), future.expiration().next().unwrap());
    assert_eq!(home.records("www", &repaired)[0].expiration, NOW.after(DAY * 7));
    assert!(matches!(home.entry("www").publish(NOW), Publish::Later(_)));
}

#[test]
fn an_imported_zone_continues_where_it_was() {
    let mut home = Home::new();
    let seen = NOW.after(DAY * 100);
    home.store.continue_from(&home.zone, &label("www"), seen).unwrap();
    assert_eq!(home.entry("www").publish(NOW), Publish::Nothing, "unknown records are not deleted");
    home.set("www", &[a("192.0.2.1")]).unwrap();
    assert_eq!(home.build("www", NOW).unwrap().expiration(), seen.next().unwrap());
    home.store.continue_from(&home.zone, &label("end"), Timestamp::NEVER).unwrap();
    home.set("end", &[a("192.0.2.1")]).unwrap();
    assert!(matches!(home.store.build(&home.secret, &label("end"), NOW), Err(NamestoreError::Exhausted(_))));
}

#[test]
fn zones_have_one_name_each() {
    let mut home = Home::new();
    let other = *ZoneSecret::from_random(ZoneType::Pkey, &[8; 32]).public();
    assert!(matches!(home.store.create_zone(label("home"), other), Err(NamestoreError::ZoneExists(_))));
    assert!(matches!(home.store.create_zone(label("again"), home.zone), Err(NamestoreError::ZoneExists(_))));
    assert!(matches!(home.store.set(&other, &label("a"), vec![]), Err(NamestoreError::UnknownZone(_))));
    assert_eq!(home.store.local_records(&other, &label("a"), NOW).unwrap(), None);
    assert_eq!(home.store.zone_named(&label("home")).unwrap(), Some(home.zone));
    let entry = home.store.zones().unwrap().remove(0);
    assert_eq!(ZoneEntry::from_bytes(&entry.to_bytes()).unwrap(), entry);
    home.store.remove_zone(&home.zone).unwrap();
    assert_eq!(home.store.zones().unwrap(), []);
}

#[test]
fn a_zone_moves_by_its_zone_file() {
    let mut home = Home::new();
    home.set("@", &[record(RecordType::NICK, "al")]).unwrap();
    home.set("www", &[a("192.0.2.1"), private(record(RecordType::TXT, "mine"))]).unwrap();
    let file = home.store.to_zone_file(&home.zone, NOW).unwrap();
    let import = crate::import_zone_file(&file, &crate::ImportOptions::default()).unwrap();
    let mut other = Home::new();
    assert_eq!(other.store.import(&other.zone, import.labels).unwrap(), 2);
    assert_eq!(other.entry("www").records, [a("192.0.2.1")]);
    let www = other.publish("www", NOW);
    assert_eq!(other.records("www", &www).last().unwrap().value(), "al");
}

#[test]
fn the_queue_gives_labels_in_the_order_they_are_due() {
    let home = Home::new();
    let mut queue = PublishQueue::new();
    for (name, secs) in [("c", 30), ("a", 10), ("b", 20)] {
        queue.schedule(home.zone, label(name), Timestamp::from_secs(secs));
    }
    queue.schedule(home.zone, label("a"), Timestamp::from_secs(25));
    queue.schedule(home.zone, label("c"), Timestamp::NEVER);
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.pop_due(Timestamp::from_secs(19)), None);
    assert_eq!(queue.pop_due(Timestamp::from_secs(26)), Some((home.zone, label("b"))));
    assert_eq!(queue.next_due(), Some(Timestamp::from_secs(25)));
    queue.remove_zone(&home.zone);
    assert!(queue.is_empty());
}

/// Something that happens to a label.
#[derive(Debug, Clone)]
enum Event {
    Set(u8, Lifetime),
    Remove,
    Private,
    Build,
    Restart,
    Clock(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let lifetime = prop_oneof![
        (1..400u32).prop_map(|days| Lifetime::For(DAY * days)),
        (0..3_000_000_000u64).prop_map(|secs| Lifetime::Until(Timestamp::from_secs(secs))),
        Just(Lifetime::Until(Timestamp::NEVER)),
    ];
    prop_oneof![
        (any::<u8>(), lifetime).prop_map(|(value, lifetime)| Event::Set(value, lifetime)),
        Just(Event::Remove),
        Just(Event::Private),
        Just(Event::Build),
        Just(Event::Restart),
        (0..3_000_000_000u64).prop_map(Event::Clock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn expirations_strictly_increase_whatever_happens(events in proptest::collection::vec(event(), 1..40)) {
        let mut home = Home::new();
        let (mut now, mut last) = (NOW, None::<Block>);
        for event in events {
            match event {
                Event::Set(value, lifetime) => {
                    home.set("www", &[a(&format!("192.0.2.{value}")).with_lifetime(lifetime)]).unwrap();
                }
                Event::Remove => home.remove("www"),
                Event::Private => { home.set("www", &[private(a("192.0.2.1"))]).unwrap(); }
                Event::Clock(secs) => now = Timestamp::from_secs(secs),
                Event::Build => {
                    let Some(block) = home.build("www", now) else { continue };
                    if let Some(last) = last.as_ref().filter(|last| **last != block) {
                        prop_assert!(block.expiration() > last.expiration());
                    }
                    last = Some(block);
                }
                Event::Restart => {
                    let Some(entry) = home.store.entry(&home.zone, &label("www")).unwrap() else { continue };
                    let again = LabelEntry::from_bytes(&entry.to_bytes()).unwrap();
                    prop_assert_eq!(&again, &entry);
                    home.store.storage.put_labels(&home.zone, &[(label("www"), again)]).unwrap();
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_an_entry_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, bit in 0..8u8) {
        let _ = ZoneEntry::from_bytes(&bytes);
        let _ = LabelEntry::from_bytes(&[&[1][..], &bytes].concat());
        let mut home = Home::new();
        home.set("www", &[a("192.0.2.1")]).unwrap();
        home.publish("www", NOW);
        let mut stored = home.entry("www").to_bytes();
        let at = at.index(stored.len());
        stored[at] ^= 1 << bit;
        if let Ok(entry) = LabelEntry::from_bytes(&stored) {
            let _ = (entry.publish(NOW), entry.due(NOW), entry.state());
        }
    }
}
