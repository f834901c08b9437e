use std::sync::Arc;
use std::time::Duration;

use p2p_identity::{Link, SecretKey, Target, WriterKey};

use super::*;
use crate::head::{Head, HeadEnvelope};
use crate::hostile_tests::network::{Net, Owner, TestNode};
use crate::{ExternalLinks, NewWriter, VersionVector};

fn head(body: &Head, by: &SecretKey, counter: u64, seen: &[(WriterKey, u64)]) -> HeadEnvelope {
    let writer = WriterKey::from(by.public());
    let mut counters = vec![(writer, counter), (body.writer, body.counter)];
    counters.extend_from_slice(seen);
    let vv = VersionVector::new(counters).unwrap();
    HeadEnvelope::sign(&Head { writer, counter, vv, ..body.clone() }, by).unwrap()
}

/// A peer keeps the newest head of one writer to itself; another writer's names it.
#[tokio::test(start_paused = true)]
async fn a_head_that_a_peer_keeps_from_us_is_missed_and_had_elsewhere() {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    let (u, w) = (SecretKey::from_seed(&[8; 32]), SecretKey::from_seed(&[9; 32]));
    let [u_key, w_key] = [&u, &w].map(|key| WriterKey::from(key.public()));
    for writer in [u_key, w_key] {
        let new = NewWriter { writer, prefix: None, not_after_ms: None, max_counter: None };
        owner.node.drives.add_writer(&owner.id, new).await.unwrap();
    }
    let link = Link::to(Target::Drive(owner.id));
    net.show(owner.node.peer);
    let copy = async |node: &TestNode| {
        let (target, patience) = (node.home.path().join("copy"), Some(Duration::from_secs(60)));
        node.drives.copy(&link, &target, ExternalLinks::LeaveOut, patience, Arc::default()).await.unwrap()
    };
    // Two nodes with a copy each: one that tells all, one that hides what `u` wrote.
    let (honest, liar) = (TestNode::start(&net, 2), TestNode::start(&net, 3));
    copy(&honest).await;
    copy(&liar).await;
    let good = honest.drives.known(&owner.id).unwrap().snapshot().unwrap();
    let of_u = head(good.head.body(), &u, 1, &[]);
    let of_w = head(good.head.body(), &w, 1, &[(u_key, 1)]);
    let has = |node: &TestNode, others: Vec<HeadEnvelope>| {
        let drive = node.drives.known(&owner.id).unwrap();
        let at = Snapshot { others, ..good.clone() };
        node.drives.shared().registry.store(&drive, drive.state().row, Some(at)).unwrap();
    };
    let mut both = vec![of_u, of_w.clone()];
    both.sort_by_key(|head| head.body().writer);
    has(&honest, both);
    has(&liar, vec![of_w]);
    // Only the liar is to be met.
    let elsewhere = Arc::new(Net::default());
    let enter = |node: &TestNode| {
        let server = node.drives.clone();
        let serve: Arc<dyn Fn(_, tokio::io::DuplexStream) -> futures::future::BoxFuture<'static, ()> + Send + Sync> =
            Arc::new(move |from, stream| {
                let server = server.clone();
                Box::pin(async move { server.serve(from, Box::new(stream)).await })
            });
        elsewhere.enter(node.peer, serve);
    };
    enter(&liar);
    enter(&honest);
    elsewhere.show(liar.peer);
    let reader = TestNode::start(&elsewhere, 4);
    copy(&reader).await;
    let missed = reader.drives.status(&owner.id).unwrap().withheld;
    assert_eq!(missed, [Withheld { writer: u_key, counter: 1, held: 0, named_by: w_key }]);
    assert!(honest.drives.status(&owner.id).unwrap().withheld.is_empty());
    // Who looks only misses it too.
    let looker = TestNode::start(&elsewhere, 5);
    let status = looker.drives.open_link(&link, Some(Duration::from_secs(60))).await.unwrap();
    let mut heads = looker.drives.known(&owner.id).unwrap().head_count.subscribe();
    let looked = async {
        let mut status = status;
        while status.withheld.is_empty() {
            heads.changed().await.unwrap();
            status = looker.drives.status(&owner.id).unwrap();
        }
        status.withheld
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), looked).await.unwrap(), missed);
    // Another peer comes: what one hides, the other has.
    elsewhere.show(honest.peer);
    copy(&reader).await;
    assert_eq!(reader.drives.status(&owner.id).unwrap().withheld, []);
    for node in [&honest, &liar, &reader, &looker] {
        node.drives.stop();
    }
    owner.node.drives.stop();
}

#[tokio::test(start_paused = true)]
async fn of_who_may_write_no_more_nothing_is_missed() {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    let (u, w) = (SecretKey::from_seed(&[8; 32]), SecretKey::from_seed(&[9; 32]));
    let [u_key, w_key] = [&u, &w].map(|key| WriterKey::from(key.public()));
    let new = |writer, max_counter| NewWriter { writer, prefix: None, not_after_ms: None, max_counter };
    owner.node.drives.add_writer(&owner.id, new(u_key, Some(3))).await.unwrap();
    owner.node.drives.add_writer(&owner.id, new(w_key, None)).await.unwrap();
    let missed = |names: u64| {
        let drive = owner.node.drives.known(&owner.id).unwrap();
        let at = drive.snapshot().unwrap();
        let of_w = head(at.head.body(), &w, 1, &[(u_key, names)]);
        Snapshot { others: vec![of_w], ..at }.withheld().len()
    };
    assert_eq!((missed(3), missed(4)), (1, 0), "beyond its certificate nothing counts");
    owner.node.drives.remove_writer(&owner.id, u_key).await.unwrap();
    assert_eq!(missed(3), 0);
    owner.node.drives.stop();
}
