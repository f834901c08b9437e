//! Names that lead into DNS, with real nodes and a real DNS server on loopback.

mod homes;

use std::net::SocketAddr;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use homes::{Home, connected, record, resolve, value, zone};
use p2p_api::{ErrorKind, Publication, ResolveName};
use p2p_node::NamesInDns;
use tokio::net::UdpSocket;

/// A DNS server that knows `www.example.org`.
async fn dns_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut buffer = [0; 1_500];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..len]).expect("a question");
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            answer.add_queries(question.queries.iter().cloned());
            let query = &question.queries[0];
            if query.name.to_string() != "www.example.org." {
                answer.metadata.response_code = ResponseCode::NXDomain;
            } else if query.query_type == RecordType::A {
                answer.add_answer(Record::from_rdata(query.name.clone(), 60, RData::A(A::new(192, 0, 2, 80))));
            }
            socket.send_to(&answer.to_vec().expect("an answer"), from).await.expect("sent");
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn own_zones_lead_into_dns_anywhere_and_strangers_zones_only_into_the_world() {
    let server = dns_server().await;
    let settings = move |config: &mut p2p_node::Config| {
        config.names.resolver = server.to_string();
        config.names.dns_port = server.port();
    };
    let owner = Home::with(&[], settings).await;
    let stranger = Home::with(&[owner.address()], settings).await;
    connected(&owner.node()).await;
    let alice = zone(&owner.node(), "alice").await;
    for (label, record_type, value) in [
        ("dns", "GNS2DNS", "example.org@127.0.0.1"),
        ("out", "REDIRECT", "www.example.org"),
        ("loop", "REDIRECT", "x.loop.alice"),
        ("deep", "GNS2DNS", "example.org@deep.+"),
    ] {
        let set = owner.node().names().set(record(label, record_type, value)).await.expect("set");
        assert_eq!(set.state, Publication::Published, "{label}");
    }
    let found = resolve(&owner.node(), "www.dns.alice", false).await.expect("found");
    assert_eq!(found.source, "dns");
    let values: Vec<_> =
        found.records.iter().map(|record| (record.record_type.as_str(), record.value.as_str())).collect();
    assert_eq!(values, [("A", "192.0.2.80"), ("LEHO", "www.example.org")]);
    assert_eq!(value(&owner.node(), "out.alice").await, "192.0.2.80");
    let missing = resolve(&owner.node(), "nothing.dns.alice", false).await.expect_err("not there");
    assert_eq!(missing.kind, ErrorKind::NotFound, "{missing}");
    for looping in ["loop.alice", "www.deep.alice"] {
        resolve(&owner.node(), looping, false).await.expect_err("it ends");
    }

    // What the zone of somebody else says must not make this node knock at its own computer.
    let refused = resolve(&stranger.node(), &format!("www.dns.{}", alice.ztld), false).await.expect_err("refused");
    assert_eq!(refused.kind, ErrorKind::Corrupt, "{refused}");
    assert!(refused.message.contains("local network"), "{refused}");
    assert_eq!(
        value(&stranger.node(), &format!("out.{}", alice.ztld)).await,
        "192.0.2.80",
        "its own resolver is asked"
    );

    // Without DNS such names have no records, and the delegation itself can still be looked at.
    let careful = Home::with(&[owner.address()], |config| config.names.dns = NamesInDns::Off).await;
    connected(&careful.node()).await;
    let name = format!("www.dns.{}", alice.ztld);
    let nothing = resolve(&careful.node(), &name, false).await.expect_err("switched off");
    assert_eq!(nothing.kind, ErrorKind::NotFound, "{nothing}");
    let delegation = ResolveName {
        name: format!("dns.{}", alice.ztld),
        record_type: Some("GNS2DNS".into()),
        ..ResolveName::default()
    };
    let found = careful.node().names().resolve(delegation).await.expect("found");
    assert_eq!(found.records[0].value, "example.org@127.0.0.1");
    for home in [owner, stranger, careful] {
        home.running.shutdown().await;
    }
}
