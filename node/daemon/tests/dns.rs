//! What a real `dig` gets from a real node about every kind of record that names and DNS share.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use p2p_api::{App, NewZone, SetRecord};
use p2p_dns::Dns;
use p2p_node::{Config, NodeOptions, start};

async fn dig(port: u16, arguments: &str) -> Option<String> {
    let arguments = arguments.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let port = port.to_string();
        Command::new("dig").args(["@127.0.0.1", "-p", &port, "+tries=1", "+time=9"]).args(arguments.split(' ')).output()
    });
    Some(String::from_utf8_lossy(&asked.await.expect("it ran").ok()?.stdout).into_owned())
}

fn options(home: &Path, dns: Arc<dyn App>) -> NodeOptions {
    let mut config = Config::default();
    config.transport.mdns = false;
    config.transport.port_mapping = false;
    config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    config.names.revocation_difficulty = 1;
    NodeOptions {
        home: home.join("home"),
        api: None,
        config,
        apps: vec![dns],
        bootstrap: Vec::new(),
        notices: Vec::new(),
        gateway: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_gets_every_type_that_dns_can_carry() {
    let home = tempfile::tempdir().expect("a directory");
    let dns = Dns::bind("127.0.0.1:0").expect("a free port");
    let port = dns.address().port();
    let running = start(options(home.path(), Arc::new(dns))).await.expect("starts");
    let names = running.node().names();
    let zone = NewZone { name: "alice".into(), kind: Default::default(), key: None };
    names.create_zone(zone).await.expect("a zone");
    for (label, record_type, value) in [
        ("www", "CAA", "0 issue \"ca.example.org\""),
        ("www", "HTTPS", "1 . alpn=h2"),
        ("www", "SVCB", "1 svc.example.org port=8443"),
        ("www", "DS", "12345 8 2 aabbaabbaabbaabbaabbaabbaabbaabbaabbaabbaabbaabbaabbaabbaabbaabb"),
        ("www", "SSHFP", "4 2 ddeeddeeddeeddeeddeeddeeddeeddeeddeeddeeddeeddeeddeeddeeddeeddee"),
        ("www", "NAPTR", "100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:a@example.org!\" ."),
        ("www", "OPENPGPKEY", "AAAA"),
        ("www", "SPF", "v=spf1 -all"),
        ("www", "URI", "10 1 \"https://example.org/\""),
        ("www", "BOX", "6 443 TLSA 3 1 1 1122112211221122112211221122112211221122112211221122112211221122"),
        ("tel", "BOX", "17 5060 SRV 1 2 5060 sip.example.org"),
    ] {
        let (label, record_type, value) = (label.to_owned(), record_type.to_owned(), value.to_owned());
        let set = SetRecord { label, record_type, value, ..SetRecord::default() };
        names.set(set).await.expect("set");
    }
    for (arguments, expected) in [
        ("www.alice.gns.alt CAA +short", "0 issue \"ca.example.org\"\n"),
        ("www.alice.gns.alt TYPE65 +short +unknownformat", "\\# 10 00010000010003026832\n"),
        ("www.alice.gns.alt TYPE64 +short +unknownformat", "\\# 25 000103737663"),
        ("www.alice.gns.alt DS +short", "12345 8 2 AABBAABB"),
        ("www.alice.gns.alt SSHFP +short", "4 2 DDEEDDEE"),
        ("www.alice.gns.alt NAPTR +short", "100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:a@example.org!\" .\n"),
        ("www.alice.gns.alt OPENPGPKEY +short", "AAAA\n"),
        ("www.alice.gns.alt SPF +short", "\"v=spf1 -all\"\n"),
        ("www.alice.gns.alt URI +short", "10 1 \"https://example.org/\"\n"),
        ("_443._tcp.www.alice.gns.alt TLSA +short", "3 1 1 11221122"),
        ("_443._tcp.www.alice.gns.alt TLSA +short +tcp", "3 1 1 11221122"),
        ("_5060._udp.tel.alice.gns.alt SRV +short", "1 2 5060 sip.example.org.\n"),
        ("_443._udp.www.alice.gns.alt TLSA", "status: NXDOMAIN"),
        ("www.alice.gns.alt CERT", "status: NOERROR"),
        ("www.alice.gns.alt CERT", "ANSWER: 0"),
        ("www.alice.gns.alt ANY +tcp", "CAA\t0 issue \"ca.example.org\""),
    ] {
        let Some(printed) = dig(port, arguments).await else {
            eprintln!("skipped: there is no dig here");
            break;
        };
        assert!(printed.contains(expected), "dig {arguments}: no {expected:?} in\n{printed}");
    }
    running.shutdown().await;
}
