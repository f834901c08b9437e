//! Streams, topics and values between apps of real nodes over real sockets on loopback: two that know only a third.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use p2p_api::{Datagrams, DialStream, ErrorKind, Node, PathKind, PutValue, StreamPath};
use p2p_client::Client;
use p2p_identity::ContentId;
use p2p_node::{Config, NodeOptions, RunningNode, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long nodes may take to find each other.
const PATIENCE: Duration = Duration::from_secs(20);
const ECHO: &str = "/app/chat/echo/1";

struct Home {
    _dir: tempfile::TempDir,
    running: RunningNode,
}

impl Home {
    async fn new(bootstrap: &[String], listen: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.transport.mdns = false;
        // All nodes of a test are one process, and each takes its memory for its own.
        config.transport.limits.memory_mib = 4_096;
        config.transport.listen = listen.iter().map(|&address| address.to_owned()).collect();
        let options = NodeOptions {
            home: dir.path().join("home"),
            api: None,
            config,
            gateway: None,
            apps: Vec::new(),
            bootstrap: bootstrap.to_vec(),
            notices: Vec::new(),
        };
        Self { running: start(options).await.expect("starts"), _dir: dir }
    }

    /// The node over its socket: what an app of another process sees.
    async fn node(&self) -> Node {
        Client::connect(self.running.socket()).await.expect("it answers").node()
    }

    fn address(&self) -> String {
        let listen = self.running.listen().into_iter().next().expect("listens");
        format!("{listen}/p2p/{}", self.running.peer_id())
    }
}

/// Two nodes that know only a third one, and are both known to the DHT.
async fn three(listen: &[&str]) -> [Home; 3] {
    let third = Home::new(&[], listen).await;
    let bootstrap = [third.address()];
    let homes = [Home::new(&bootstrap, listen).await, Home::new(&bootstrap, listen).await, third];
    for home in &homes {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while home.running.node().info().await.expect("info").dht_peers == 0 {
            assert!(tokio::time::Instant::now() < deadline, "nobody in the DHT");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    homes
}

async fn shut_down(homes: [Home; 3]) {
    for home in homes {
        home.running.shutdown().await;
    }
}

async fn bytes_go_both_ways(listen: &str) {
    let homes = three(&[listen]).await;
    let (one, two) = (homes[0].node().await, homes[1].node().await);
    let to = homes[1].running.peer_id();
    // The address of the other one: a peer id alone is found by the DHT when it provides something.
    one.peers().dial(&homes[1].address(), PATIENCE).await.expect("connected");
    let dial = |protocol: &str| DialStream {
        peer: to,
        protocol: protocol.to_owned(),
        path: StreamPath::Direct,
        timeout_s: Some(10.0),
    };
    let refused = one.streams().open(dial(ECHO)).await.expect_err("nobody accepts it yet");
    assert_eq!(refused.kind, ErrorKind::Unsupported);
    let echo = tokio::spawn(async move {
        let mut stream = two.streams().accept(ECHO).await.expect("accept");
        let mut length = [0; 4];
        stream.read_exact(&mut length).await.expect("a length");
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut bytes).await.expect("the bytes");
        stream.write_all(&bytes).await.expect("the answer");
        stream.flush().await.expect("flush");
        let _ = stream.read(&mut [0]).await;
        stream.peer
    });
    let mut stream = loop {
        // On connections that were there before the protocol was accepted.
        match one.streams().open(dial(ECHO)).await {
            Ok(stream) => break stream,
            Err(error) => assert_eq!(error.kind, ErrorKind::Unsupported, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((stream.peer, stream.path), (to, PathKind::Lan));
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7) as u8).collect();
    stream.write_all(&(sent.len() as u32).to_be_bytes()).await.expect("write");
    stream.write_all(&sent).await.expect("write");
    stream.flush().await.expect("flush");
    let mut got = vec![0; sent.len()];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut got)).await.expect("in time").expect("the echo");
    assert!(got == sent);
    drop(stream);
    let from = tokio::time::timeout(PATIENCE, echo).await.expect("in time").expect("no panic");
    assert_eq!(from, homes[0].running.peer_id());
    shut_down(homes).await;
}

/// How long it took to be told that nobody accepts; `None` if that is not what was told.
async fn refused_after(node: &Node, dial: DialStream) -> Option<Duration> {
    let start = std::time::Instant::now();
    let error = node.streams().open(DialStream { timeout_s: Some(3.0), ..dial }).await.err()?;
    (error.kind == ErrorKind::Unsupported).then(|| start.elapsed())
}

/// An app that was there and is not is refused at once, from afar and from its own node; one that is busy is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn who_dials_an_app_that_has_gone_is_told_at_once() {
    let homes = three(&["/ip4/127.0.0.1/tcp/0"]).await;
    let (one, two) = (homes[0].node().await, homes[1].node().await);
    one.peers().dial(&homes[1].address(), PATIENCE).await.expect("connected");
    let to = homes[1].running.peer_id();
    let dial = || DialStream { peer: to, protocol: ECHO.to_owned(), path: StreamPath::Any, timeout_s: Some(8.0) };
    let accept = |node: &Node| {
        let node = node.clone();
        tokio::spawn(async move { node.streams().accept(ECHO).await })
    };
    let first = accept(&two);
    let mut stream = loop {
        match one.streams().open(dial()).await {
            Ok(stream) => break stream,
            Err(error) => assert_eq!(error.kind, ErrorKind::Unsupported, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut taken = first.await.expect("no panic").expect("a stream");
    // It has one stream and does not wait for the next yet: the second dial waits for it.
    let second = tokio::spawn({
        let (one, dial) = (one.clone(), dial());
        async move { one.streams().open(dial).await }
    });
    stream.write_all(b"x").await.expect("write");
    assert_eq!(taken.read_u8().await.expect("the first stream is alive"), b'x');
    let again = accept(&two);
    second.await.expect("no panic").expect("the app came back");
    again.await.expect("no panic").expect("a stream");

    // It waits, and its process ends. Nothing tells from outside that it waits, or that its end was noticed.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let last = accept(&two);
        tokio::time::sleep(Duration::from_millis(100)).await;
        last.abort();
        if let Some(took) = refused_after(&one, dial()).await
            && took < Duration::from_secs(1)
        {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "nobody is told");
    }
    let took = refused_after(&two, dial()).await.expect("refused on its own node too");
    assert!(took < Duration::from_secs(1), "{took:?}");
    shut_down(homes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_over_tcp() {
    bytes_go_both_ways("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_over_quic() {
    bytes_go_both_ways("/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_waits_is_announced_and_taken_later() {
    let homes = three(&["/ip4/127.0.0.1/tcp/0"]).await;
    let (one, two) = (homes[0].node().await, homes[1].node().await);
    one.peers().dial(&homes[1].address(), PATIENCE).await.expect("connected");
    let query = p2p_api::EventQuery { topics: vec!["streams".into()], after: Some(0) };
    let mut events = two.events(query).await.expect("events");
    let peer = homes[1].running.peer_id();
    let open = || {
        let dial = DialStream { peer, protocol: ECHO.into(), path: StreamPath::Any, timeout_s: None };
        let one = one.clone();
        tokio::spawn(async move { one.streams().open(dial).await })
    };
    // The app has one stream and is busy with it.
    let busy = tokio::spawn({
        let two = two.clone();
        async move { two.streams().accept(ECHO).await }
    });
    let first = loop {
        match open().await.expect("no panic") {
            Ok(stream) => break stream,
            Err(error) => assert_eq!(error.kind, ErrorKind::Unsupported, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let second = open();
    let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time").expect("one").expect("good");
    assert_eq!((event.name.as_str(), event.data["protocol"].as_str()), ("stream.waiting", Some(ECHO)));
    let mut far = Datagrams::new(two.streams().accept(ECHO).await.expect("it is still there"));
    let mut near = Datagrams::new(second.await.expect("no panic").expect("it was taken"));
    near.send(b"knock").await.expect("send");
    assert_eq!(far.receive().await.expect("good").expect("one"), "knock");
    drop((first, busy.await.expect("no panic").expect("the first stream")));
    shut_down(homes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_find_each_other_through_the_dht() {
    let homes = three(&["/ip4/127.0.0.1/tcp/0"]).await;
    let (one, two) = (homes[0].node().await, homes[1].node().await);
    let mut at_two = two.topics().subscribe("chat/room").await.expect("subscribe");
    let mut at_one = one.topics().subscribe("chat/room").await.expect("subscribe");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut sent = 0u32;
    // Until they have found each other messages go nowhere.
    let got = loop {
        assert!(tokio::time::Instant::now() < deadline, "they do not find each other");
        one.topics().publish("chat/room", Bytes::from(format!("hello {sent}"))).await.expect("publish");
        sent += 1;
        if let Ok(message) = tokio::time::timeout(Duration::from_millis(200), at_two.next()).await {
            break message.expect("one").expect("good");
        }
    };
    assert_eq!(got.from, homes[0].running.peer_id());
    assert!(got.data.starts_with(b"hello "));
    let own = at_one.next().await.expect("one").expect("good");
    assert_eq!((own.from, own.data.as_ref()), (homes[0].running.peer_id(), &b"hello 0"[..]));
    shut_down(homes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_within_the_limit_arrives_whole_and_beyond_it_is_refused_with_the_limit() {
    let homes = three(&["/ip4/127.0.0.1/tcp/0"]).await;
    let (one, two) = (homes[0].node().await, homes[1].node().await);
    one.peers().dial(&homes[1].address(), PATIENCE).await.expect("connected");
    for (bytes, count) in [(1_000usize, 240u32), (60 * 1024, 16)] {
        let topic = format!("chat/burst{bytes}");
        let mut messages = two.topics().subscribe(&topic).await.expect("subscribe");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while one.topics().publish(&topic, Bytes::from_static(b"knock")).await.expect("publish").peers == 0 {
            assert!(tokio::time::Instant::now() < deadline, "the subscription does not arrive");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // What was used up comes back.
        tokio::time::sleep(Duration::from_secs(2)).await;
        // In the node's own process and all at once: as fast as it can be.
        let sender = homes[0].running.node();
        let sending = tokio::spawn(async move {
            let topics = sender.topics();
            let all = (0..count).map(|n| {
                let mut data = vec![0; bytes];
                data[..4].copy_from_slice(&n.to_be_bytes());
                topics.publish(&topic, data.into())
            });
            for sent in futures::future::join_all(all).await {
                sent.expect("within the limit");
            }
        });
        let mut got = std::collections::BTreeSet::new();
        while got.len() < count as usize {
            let message = tokio::time::timeout(PATIENCE, messages.next()).await;
            let message = message.unwrap_or_else(|_| panic!("{} of {count} arrived", got.len()));
            let data = message.expect("one").expect("good").data;
            if data.len() == bytes {
                got.insert(u32::from_be_bytes([data[0], data[1], data[2], data[3]]));
            }
        }
        sending.await.expect("no panic");
    }
    let mut refused = None;
    for _ in 0..40 {
        refused = one.topics().publish("chat/more", vec![0; 60 * 1024].into()).await.err();
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("2.4 MiB at once are too much");
    assert_eq!(refused.kind, ErrorKind::Busy);
    assert!(refused.message.contains("1 MiB at once, 512 KiB a second"), "{refused}");
    shut_down(homes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_found_by_a_stranger_and_replaced() {
    let homes = three(&["/ip4/127.0.0.1/tcp/0"]).await;
    let (one, two) = (homes[0].node().await, homes[1].node().await);
    let put = |value: &'static str| PutValue {
        app: Some("chat".into()),
        name: "status".into(),
        value: Bytes::from_static(value.as_bytes()),
        expires_s: Some(600),
    };
    let stored = one.dht().put(put("here")).await.expect("put");
    assert!(stored.stored > 0, "another node gave it back");
    let key = *stored.key.parse::<ContentId>().expect("a key").as_bytes();
    assert_eq!(two.dht().get(key, PATIENCE).await.expect("found").value, "here");
    one.dht().put(put("away")).await.expect("put again");
    assert_eq!(two.dht().get(key, PATIENCE).await.expect("found").value, "away");
    let nothing = two.dht().get([7; 32], Duration::from_secs(5)).await.expect_err("nothing is there");
    assert_eq!(nothing.kind, ErrorKind::NotFound);
    shut_down(homes).await;
}

#[tokio::test]
async fn peers_tell_each_other_the_time_and_a_node_tells_how_full_it_is() {
    let homes = three(&["/ip4/127.0.0.1/tcp/0"]).await;
    let third = homes[2].node().await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let health = loop {
        let health = third.health().await.expect("health");
        if health.clock.peers == 2 {
            break health;
        }
        assert!(tokio::time::Instant::now() < deadline, "not both tell the time: {health:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // One clock for all of them; on a busy machine an answer may be on its way for a while.
    assert!(health.clock.ahead_ms.is_some_and(|ms| ms.abs() < 2_000), "{:?}", health.clock);
    let used = |name: &str| health.bounds.iter().find(|bound| bound.name == name).map(|bound| bound.used);
    assert!(used("connections").is_some_and(|used| used >= 2), "{:?}", health.bounds);
    assert!(used("peers in the routing table").is_some_and(|used| used >= 2), "{:?}", health.bounds);
    shut_down(homes).await;
}
