//! Blocks made and opened per second on one core, and the time to resolve a cached name: `cargo bench -p p2p-names`.
//!
//! Each figure is the median of seven runs. Under `cargo test` everything runs once, briefly.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::executor::block_on;
use p2p_names::{
    Block, BlockStore, Label, LabelKeys, LocalZones, MemoryBlockStore, MemoryNamestore, Name, Namestore, PublishQueue,
    Query, Record, RecordType, Resolver, StoreError, StoredRecord, Timestamp, ZoneKey, ZoneSecret, ZoneType,
    decode_rdata, encode_rdata,
};

const RUNS: usize = 7;
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const END: Timestamp = Timestamp::from_secs(1_900_000_000);

fn main() {
    let run_for = Duration::from_millis(if std::env::args().any(|arg| arg == "--bench") { 300 } else { 1 });
    for zone_type in [ZoneType::Pkey, ZoneType::Edkey] {
        let secret = ZoneSecret::from_random(zone_type, &[7; 32]);
        let label: Label = "www".parse().expect("a label");
        let rdata = rdata();
        let make = || Block::make(&secret, &label, END, &rdata).expect("a small record set");
        report(&format!("{zone_type}: blocks made"), run_for, || {
            black_box(make());
        });
        let bytes = make().into_bytes();
        report(&format!("{zone_type}: blocks verified and decrypted, keys derived"), run_for, || {
            let keys = LabelKeys::of(secret.public(), &label);
            let rdata = Block::parse(&bytes).and_then(|block| block.open(&keys)).expect("a good block");
            black_box(decode_rdata(&rdata).expect("good records"));
        });
    }
    cached(run_for);
    namestore(run_for);
}

fn rdata() -> Vec<u8> {
    let address = Record::new(RecordType::A, vec![192, 0, 2, 7], END);
    let text = Record::new(RecordType::TXT, b"hello gns".to_vec(), END);
    encode_rdata(&[address, text]).expect("two small records")
}

/// `www.kid.<zTLD>` over a delegation, both record sets in the cache.
fn cached(run_for: Duration) {
    let (parent, kid) =
        (ZoneSecret::from_random(ZoneType::Edkey, &[7; 32]), ZoneSecret::from_random(ZoneType::Pkey, &[8; 32]));
    let delegation = Record::new(RecordType::PKEY, kid.public().zkey().to_vec(), END);
    let store = MemoryBlockStore::new();
    for (secret, label, rdata) in
        [(&parent, "kid", encode_rdata(&[delegation]).expect("one record")), (&kid, "www", rdata())]
    {
        let block = Block::make(secret, &label.parse().expect("a label"), END, &rdata).expect("a small record set");
        block_on(store.put(&block.storage_key(), &block)).expect("memory does not fail");
    }
    let resolver = Resolver::new(Arc::new(store), Arc::new(Nothing), None);
    let query = Query::any(format!("www.kid.{}", parent.public()).parse().expect("a name"));
    report("cached names resolved over one delegation", run_for, || {
        black_box(block_on(resolver.resolve(&query, NOW)).expect("it is published"));
    });
}

/// A label entered, its block built and noted as published, in a zone that grows.
fn namestore(run_for: Duration) {
    let secret = ZoneSecret::from_random(ZoneType::Edkey, &[7; 32]);
    let mut store = Namestore::new(MemoryNamestore::new());
    store.create_zone("home".parse().expect("a label"), *secret.public()).expect("memory does not fail");
    let mut count = 0u32;
    report("labels entered, built and noted", run_for, || {
        let label: Label = format!("label-{count}").parse().expect("a label");
        count += 1;
        let record = StoredRecord::new(RecordType::A, count.to_be_bytes().to_vec());
        store.set(secret.public(), &label, vec![record]).expect("one record");
        let block = store.build(&secret, &label, NOW).expect("a good label").expect("a public record");
        store.published(secret.public(), &label, &block, NOW).expect("memory does not fail");
    });
    let start = Instant::now();
    let mut queue = PublishQueue::new();
    store
        .for_each_label(secret.public(), |label, entry| {
            queue.schedule(*secret.public(), label.clone(), entry.due(NOW));
        })
        .expect("memory does not fail");
    println!("queue of {} labels filled in {:.0} ms", queue.len(), start.elapsed().as_secs_f64() * 1e3);
}

fn report(what: &str, run_for: Duration, mut work: impl FnMut()) {
    work();
    let mut rates: Vec<f64> = (0..RUNS).map(|_| rate(run_for, &mut work)).collect();
    rates.sort_by(f64::total_cmp);
    let median = rates.get(RUNS / 2).copied().unwrap_or_default();
    println!("{what}: {median:.0} per second, {:.1} us each", 1e6 / median);
}

fn rate(run_for: Duration, work: &mut impl FnMut()) -> f64 {
    let (start, mut count) = (Instant::now(), 0u32);
    while start.elapsed() < run_for {
        work();
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// A node without zones.
struct Nothing;

impl LocalZones for Nothing {
    fn zone_of_suffix(&self, _: &Name) -> Option<ZoneKey> {
        None
    }

    fn records(&self, _: &ZoneKey, _: &Label, _: Timestamp) -> Result<Option<Vec<Record>>, StoreError> {
        Ok(None)
    }

    fn is_revoked(&self, _: &ZoneKey, _: Timestamp) -> bool {
        false
    }
}
