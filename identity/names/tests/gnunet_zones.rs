//! Names in the zones that GNUnet 0.19.3 published, resolved over a store that holds its blocks.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use std::sync::Arc;

use data_encoding::HEXLOWER;
use futures::executor::block_on;
use p2p_names::{
    Block, BlockStore, Label, LocalZones, MemoryBlockStore, Name, Query, Record, RecordType, ResolveError, Resolver,
    StoreError, Timestamp, ZoneKey,
};
use serde_json::Value;

/// A time at which all captured blocks hold.
const NOW: Timestamp = Timestamp::from_micros(1_795_400_000_000_000);

/// No zones of our own, and the short names that GNUnet's tests used.
struct Names(Vec<(String, ZoneKey)>);

impl LocalZones for Names {
    fn zone_of_suffix(&self, suffix: &Name) -> Option<ZoneKey> {
        self.0.iter().find(|(name, _)| *name == suffix.to_string()).map(|(_, zone)| *zone)
    }

    fn records(&self, _: &ZoneKey, _: &Label, _: Timestamp) -> Result<Option<Vec<Record>>, StoreError> {
        Ok(None)
    }

    fn is_revoked(&self, _: &ZoneKey, _: Timestamp) -> bool {
        false
    }
}

fn resolver() -> Resolver {
    let file: Value = serde_json::from_str(include_str!("vectors/gnunet-0.19.3/blocks.json")).unwrap();
    let store = MemoryBlockStore::new();
    let mut names = Vec::new();
    for case in file["cases"].as_array().unwrap() {
        let block = Block::parse(&HEXLOWER.decode(case["rrblock"].as_str().unwrap().as_bytes()).unwrap()).unwrap();
        block_on(store.put(&block.storage_key(), &block)).unwrap();
        let zone = case["id"].as_str().unwrap().strip_prefix("gnunet-0.19.3-").unwrap().split('-').next().unwrap();
        names.push((zone.to_owned(), case["ztld"].as_str().unwrap().parse().unwrap()));
    }
    Resolver::new(Arc::new(store), Arc::new(Names(names)), None)
}

fn resolve(name: &str, wanted: RecordType) -> Result<Vec<String>, ResolveError> {
    let query = Query { wanted: Some(wanted), ..Query::any(name.parse().unwrap()) };
    let found = block_on(resolver().resolve(&query, NOW))?;
    Ok(found.of_type(wanted).map(Record::value).collect())
}

#[test]
fn captured_names_resolve() {
    for (name, wanted, value) in [
        ("www.pk", RecordType::A, "192.0.2.7"),
        ("www.ed", RecordType::AAAA, "2001:db8::7"),
        ("www.pk", RecordType::LEHO, "www.example.com"),
        ("deep.kid.ed", RecordType::A, "192.0.2.100"),
        ("deep.kid.pk", RecordType::A, "192.0.2.100"),
        ("kid.pk", RecordType::A, "192.0.2.99"),
        ("kid.pk", RecordType::EDKEY, "000G0508N36J44GD1470JWWPQWA00080Y3E1XJCVD6VW2H38FKAGJT8714"),
        ("www.pkid.ed", RecordType::TXT, "hello gns"),
        ("redir.pk", RecordType::A, "192.0.2.7"),
        ("redir.ed", RecordType::TXT, "hello gns"),
        ("g2d.ed", RecordType::GNS2DNS, "example.com@192.0.2.53"),
        ("天下無敵.pk", RecordType::TXT, "utf8 label"),
        ("MiXed.pk", RecordType::A, "192.0.2.77"),
    ] {
        assert_eq!(resolve(name, wanted).unwrap(), [value], "{name} {wanted}");
    }
    let tlsa = resolve("_443._tcp.tls.pk", RecordType::TLSA).unwrap();
    assert!(tlsa[0].starts_with("3 0 1 00112233"), "{tlsa:?}");
}

#[test]
fn case_counts_in_labels_and_not_in_ztlds() {
    let ztld = "000G0079EZ1N98355Z7Z6FVY0JY8ZZXGA1309KZRZ82C9ESH9J06XP3AA0";
    for ztld in [ztld.to_owned(), ztld.to_lowercase()] {
        assert_eq!(resolve(&format!("www.{ztld}"), RecordType::A).unwrap(), ["192.0.2.7"]);
        assert!(resolve(&format!("WWW.{ztld}"), RecordType::A).is_err());
    }
    assert!(resolve("mixed.pk", RecordType::A).is_err());
    assert!(resolve("deep.sub.ed", RecordType::A).is_err());
}
