//! A real `dig` against the listener, in front of a fake node.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{RData, Record, RecordType};
use p2p_api::testing::FakeNode;
use p2p_api::{ApiError, App, ErrorKind, NewZone, Node, RevokeZone, SetRecord, ZoneKind};
use p2p_dns::Dns;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

/// What `dig` prints; none where there is no `dig`.
async fn dig(port: u16, arguments: &str) -> Option<String> {
    let arguments = arguments.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let port = port.to_string();
        Command::new("dig").args(["@127.0.0.1", "-p", &port, "+tries=1", "+time=5"]).args(arguments.split(' ')).output()
    });
    let output = asked.await.expect("it ran").ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks one question after the other; what is printed contains what is expected.
async fn check(port: u16, questions: &[(&str, &str)]) {
    for (arguments, expected) in questions {
        let Some(printed) = dig(port, arguments).await else {
            eprintln!("skipped: there is no dig here");
            return;
        };
        assert!(printed.contains(expected), "dig {arguments}: no {expected:?} in\n{printed}");
    }
}

fn run(dns: Dns, node: Node, stop: &CancellationToken) -> tokio::task::JoinHandle<p2p_api::Result<()>> {
    let stop = stop.clone();
    tokio::spawn(async move { dns.run(node, stop).await })
}

/// A resolver that says `192.0.2.99` of everything, a long text over TCP only, and nothing about `silent.example`.
async fn resolver() -> (SocketAddr, Arc<AtomicUsize>) {
    fn answer(question: &[u8]) -> Message {
        let question = Message::from_vec(question).expect("a question");
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.add_queries(question.queries.iter().cloned());
        let query = &question.queries[0];
        let data = match query.query_type {
            RecordType::TXT => RData::TXT(TXT::new(vec!["x".repeat(250); 8])),
            _ => RData::A(A::new(192, 0, 2, 99)),
        };
        answer.add_answer(Record::from_rdata(query.name.clone(), 60, data));
        answer
    }
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = udp.local_addr().expect("bound");
    let tcp = TcpListener::bind(address).await.expect("the same port");
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 1_500];
        while let Ok((len, from)) = udp.recv_from(&mut buffer).await {
            counted.fetch_add(1, Ordering::Relaxed);
            let answer = answer(&buffer[..len]);
            if answer.queries[0].name.to_string() == "silent.example." {
                continue;
            }
            let whole = answer.to_vec().expect("bytes");
            let sent = if whole.len() > 1_232 { answer.truncate().to_vec().expect("bytes") } else { whole };
            // A forged one comes first.
            let mut forged = sent.clone();
            forged[1] ^= 1;
            udp.send_to(&forged, from).await.expect("sent");
            udp.send_to(&sent, from).await.expect("sent");
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let len = stream.read_u16().await.expect("a length");
            let mut question = vec![0; usize::from(len)];
            stream.read_exact(&mut question).await.expect("a question");
            let bytes = answer(&question).to_vec().expect("bytes");
            stream.write_u16(bytes.len() as u16).await.expect("sent");
            stream.write_all(&bytes).await.expect("sent");
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_go_to_the_resolver_that_is_set_and_no_alt_does() {
    let fake = FakeNode::new();
    let (upstream, asked) = resolver().await;
    let dns = Dns::bind("127.0.0.1:0").expect("a free port").forwarding_to(&upstream.to_string()).expect("an address");
    let port = dns.address().port();
    let stop = CancellationToken::new();
    let running = run(dns, fake.node(), &stop);
    check(
        port,
        &[
            ("x.other.alt A", "status: NXDOMAIN"),
            ("x.alt A", "status: NXDOMAIN"),
            ("nothing.gns.alt A", "status: NXDOMAIN"),
            ("www.000G006K2TJNMD9VTCYRX7BRVV3HAEPS15E6NHDXKPJA1KAJJEG9AFF884 A", "ANSWER: 0"),
        ],
    )
    .await;
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody outside heard of it");
    let long = "x".repeat(250);
    check(
        port,
        &[
            ("www.example.org A +short", "192.0.2.99\n"),
            ("www.example.org A +short +tcp", "192.0.2.99\n"),
            ("www.example.org TXT +ignore", "flags: qr tc"),
            ("www.example.org TXT", &long),
        ],
    )
    .await;
    if let Some(printed) = dig(port, "silent.example A +time=7").await {
        assert!(printed.contains("status: SERVFAIL") && printed.contains("unreachable: "), "{printed}");
    }
    stop.cancel();
    running.await.expect("it ended").expect("well");
    let dns = Dns::bind("127.0.0.1:0").expect("a free port");
    let itself = dns.address().to_string();
    assert!(dns.forwarding_to(&itself).is_err(), "it would ask itself for ever");
    assert!(Dns::bind("127.0.0.1:0").expect("a free port").forwarding_to("resolver.example").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_zone_is_told_from_one_that_has_no_such_name() {
    let fake = FakeNode::new();
    let names = fake.node().names();
    let new = NewZone { name: "alice".into(), kind: ZoneKind::Edkey, key: None };
    names.create_zone(new).await.expect("a zone");
    names.revoke_zone("alice", RevokeZone { message: None, compute_only: false }).await.expect("revoked");
    let dns = Dns::bind("127.0.0.1:0").expect("a free port");
    let port = dns.address().port();
    let stop = CancellationToken::new();
    let running = run(dns, fake.node(), &stop);
    check(port, &[("www.alice.gns.alt A", "status: SERVFAIL"), ("www.alice.gns.alt A", "revoked: ")]).await;
    stop.cancel();
    running.await.expect("it ended").expect("well");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_looked_up_is_never_said_to_be_missing() {
    let fake = FakeNode::new();
    let dns = Dns::bind("127.0.0.1:0").expect("a free port");
    let port = dns.address().port();
    let stop = CancellationToken::new();
    let running = run(dns, fake.node(), &stop);
    for (kind, extended) in [
        (ErrorKind::TimedOut, "22 (No Reachable Authority): (timeout: the reason)"),
        (ErrorKind::Unreachable, "23 (Network Error): (unreachable: the reason)"),
        (ErrorKind::Corrupt, "21 (Not Supported): (critical: the reason)"),
        (ErrorKind::Revoked, "0 (Other): (revoked: the reason)"),
        (ErrorKind::NodeStopped, "0 (Other): (the reason)"),
    ] {
        fake.fail_resolving(Some(ApiError::new(kind, "the reason")));
        check(port, &[("www.alice.gns.alt A", "status: SERVFAIL"), ("www.alice.gns.alt A", extended)]).await;
        // Nothing that an asker could remember as "not there".
        check(port, &[("www.alice.gns.alt A", "AUTHORITY: 0"), ("www.alice.gns.alt A +tcp +noedns", "SERVFAIL")]).await;
    }
    fake.fail_resolving(Some(ApiError::not_found("the reason")));
    check(port, &[("www.alice.gns.alt A", "status: NXDOMAIN")]).await;
    stop.cancel();
    running.await.expect("it ended").expect("well");
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_gets_answers_over_udp_and_tcp() {
    let fake = FakeNode::new();
    let names = fake.node().names();
    let new = NewZone { name: "alice".into(), kind: ZoneKind::Edkey, key: None };
    let zone = names.create_zone(new).await.expect("a zone");
    for (label, record_type, value) in [
        ("www", "A", "192.0.2.7"),
        ("www", "TXT", "a text"),
        ("long", "TXT", &*"x".repeat(2_000)),
        ("bücher", "A", "192.0.2.8"),
    ] {
        let (label, record_type, value) = (label.into(), record_type.into(), value.into());
        names.set(SetRecord { label, record_type, value, ..SetRecord::default() }).await.expect("set");
    }
    let dns = Dns::bind("127.0.0.1:0").expect("a free port");
    let port = dns.address().port();
    let stop = CancellationToken::new();
    let running = run(dns, fake.node(), &stop);
    let long = "x".repeat(255);
    check(
        port,
        &[
            ("www.alice.gns.alt A +short", "192.0.2.7\n"),
            ("WWW.Alice.gns.alt A +short +tcp", "192.0.2.7\n"),
            ("www.alice.gns.alt TXT +short", "\"a text\"\n"),
            ("xn--bcher-kva.alice.gns.alt A +short", "192.0.2.8\n"),
            (&format!("www.{}.gns.alt A +short", zone.ztld), "192.0.2.7\n"),
            (&format!("www.{} A +short", zone.ztld), "192.0.2.7\n"),
            ("www.alice.gns.alt AAAA", "status: NOERROR"),
            ("nothing.alice.gns.alt A", "status: NXDOMAIN"),
            ("gns.alt SOA", "status: NOERROR"),
            ("x.other.alt A", "status: NXDOMAIN"),
            ("www.example.org A", "status: REFUSED"),
            ("long.alice.gns.alt TXT +ignore", "flags: qr tc rd ra"),
            ("long.alice.gns.alt TXT", &long),
            ("www.alice.gns.alt A +noedns", "ANSWER: 1"),
            ("www.alice.gns.alt A", "udp: 1232"),
            ("nothing.alice.gns.alt A", "AUTHORITY: 1"),
            ("nothing.alice.gns.alt A", "cannot resolve"),
        ],
    )
    .await;
    stop.cancel();
    running.await.expect("it ended").expect("well");
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let first = Dns::bind("127.0.0.1:0").expect("a free port");
    assert!(Dns::bind(&first.address().to_string()).is_err());
    assert!(Dns::bind("nowhere").is_err());
}
