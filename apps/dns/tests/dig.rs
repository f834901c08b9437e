//! A real `dig` against the listener, in front of a fake node.

use std::process::Command;
use std::sync::Arc;

use p2p_api::testing::FakeNode;
use p2p_api::{App, NewZone, SetRecord, ZoneKind};
use p2p_dns::Dns;
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
    let dns = Arc::new(Dns::bind("127.0.0.1:0").expect("a free port"));
    let port = dns.address().port();
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (dns, node, stop) = (dns.clone(), fake.node(), stop.clone());
        async move { dns.run(node, stop).await }
    });
    let long = "x".repeat(255);
    for (arguments, expected) in [
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
    ] {
        let Some(printed) = dig(port, arguments).await else {
            eprintln!("skipped: there is no dig here");
            break;
        };
        assert!(printed.contains(expected), "dig {arguments}:\n{printed}");
    }
    stop.cancel();
    running.await.expect("it ended").expect("well");
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let first = Dns::bind("127.0.0.1:0").expect("a free port");
    assert!(Dns::bind(&first.address().to_string()).is_err());
    assert!(Dns::bind("nowhere").is_err());
}
