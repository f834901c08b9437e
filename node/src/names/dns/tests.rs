//! The client against real servers on loopback, each at an address of its own and at one port.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, MX, NS, TXT};
use hickory_proto::rr::{Name, RData, Record as DnsRecord};
use p2p_names::data_to_text;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A server at `127.0.0.n`; how often it was asked.
struct Server {
    port: u16,
    asked: Arc<AtomicUsize>,
}

/// Fills in the answer to a question.
type Zone = fn(&str, &mut Message);

impl Server {
    /// At a port; 0 for any.
    async fn at(n: u8, port: u16, zone: Zone) -> Self {
        let udp = UdpSocket::bind((format!("127.0.0.{n}"), port)).await.expect("an address");
        let port = udp.local_addr().expect("bound").port();
        let tcp = TcpListener::bind(udp.local_addr().expect("bound")).await.expect("the same port");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1_500];
            while let Ok((len, from)) = udp.recv_from(&mut buffer).await {
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = answer(&buffer[..len], zone);
                if answer.metadata.response_code == ResponseCode::BADKEY {
                    continue;
                }
                let whole = answer.to_vec().expect("an answer");
                let sent = if whole.len() > 1_232 { answer.truncate().to_vec().expect("less") } else { whole };
                // One that is none comes first.
                let mut stray = sent.clone();
                stray[0] ^= 1;
                udp.send_to(&stray, from).await.expect("sent");
                udp.send_to(&sent, from).await.expect("sent");
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let len = stream.read_u16().await.expect("a length");
                let mut question = vec![0; usize::from(len)];
                stream.read_exact(&mut question).await.expect("a question");
                let bytes = answer(&question, zone).to_vec().expect("an answer");
                stream.write_u16(bytes.len() as u16).await.expect("sent");
                stream.write_all(&bytes).await.expect("sent");
            }
        });
        Self { port, asked }
    }
}

fn answer(question: &[u8], zone: Zone) -> Message {
    let question = Message::from_vec(question).expect("a question");
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.add_queries(question.queries.iter().cloned());
    let Query { name, query_type, .. } = &question.queries[0];
    zone(&format!("{name} {query_type}"), &mut answer);
    answer
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn record(owner: &str, data: RData) -> DnsRecord {
    DnsRecord::from_rdata(name(owner), 7_200, data)
}

fn a(owner: &str, last: u8) -> DnsRecord {
    record(owner, RData::A(A::new(192, 0, 2, last)))
}

fn example(question: &str, answer: &mut Message) {
    let alias = |owner: &str, target: &str| record(owner, RData::CNAME(CNAME(name(target))));
    match question {
        "www.example.org. A" => answer.add_answer(a("www.example.org.", 7)),
        "many.example.org. TXT" => {
            let text = |n: u8| record("many.example.org.", RData::TXT(TXT::new(vec![n.to_string(), "x".repeat(200)])));
            answer.add_answers((0..100).map(text))
        }
        "mail.example.org. MX" => {
            answer.add_answer(record("mail.example.org.", RData::MX(MX::new(10, name("mx.example.org.")))))
        }
        "alias.example.org. A" => answer.add_answer(alias("alias.example.org.", "www.example.org.")),
        "away.example.org. A" => answer.add_answer(alias("away.example.org.", "www.elsewhere.net.")),
        "loop.example.org. A" => {
            answer.add_answer(alias("loop.example.org.", "pool.example.org."));
            answer.add_answer(alias("pool.example.org.", "loop.example.org."))
        }
        "chase.example.org. A" => answer.add_answer(alias("chase.example.org.", "hunt.example.org.")),
        "hunt.example.org. A" => answer.add_answer(alias("hunt.example.org.", "chase.example.org.")),
        "alt.example.org. A" => answer.add_answer(alias("alt.example.org.", "secret.gns.alt.")),
        "www.sub.example.org. A" => {
            answer.add_authority(record("sub.example.org.", RData::NS(NS(name("ns.sub.example.org.")))));
            answer.add_additional(record("ns.sub.example.org.", RData::A(A::new(127, 0, 0, 3))))
        }
        "www.down.example.org. A" => {
            answer.add_authority(record("down.example.org.", RData::NS(NS(name("ns.elsewhere.net.")))))
        }
        "round.example.org. A" => {
            answer.add_authority(record("example.org.", RData::NS(NS(name("ns.example.org.")))));
            answer.add_additional(record("ns.example.org.", RData::A(A::new(127, 0, 0, 2))))
        }
        "silent.example.org. A" => {
            answer.metadata.response_code = ResponseCode::BADKEY;
            answer
        }
        "broken.example.org. A" => {
            answer.metadata.response_code = ResponseCode::ServFail;
            answer
        }
        text if text.starts_with("www.example.org.") => answer,
        _ => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            answer
        }
    };
}

fn further(question: &str, answer: &mut Message) {
    match question {
        "www.sub.example.org. A" => answer.add_answer(a("www.sub.example.org.", 8)),
        "www.down.example.org. A" => answer.add_answer(a("www.down.example.org.", 9)),
        "www.example.org. A" => answer.add_answer(a("www.example.org.", 70)),
        "www.elsewhere.net. A" => answer.add_answer(a("www.elsewhere.net.", 10)),
        "ns.elsewhere.net. A" => answer.add_answer(record("ns.elsewhere.net.", RData::A(A::new(127, 0, 0, 3)))),
        _ => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            answer
        }
    };
}

/// The servers of `example.org` at `.2`; at `.3` one further down, and a resolver.
async fn world() -> (Dns, Server, Server) {
    // A port that is free at one address is nearly always free at the next, but tests run side by side.
    loop {
        let first = Server::at(2, 0, example).await;
        if UdpSocket::bind(("127.0.0.3", first.port)).await.is_ok() {
            let second = Server::at(3, first.port, further).await;
            let resolver = SocketAddr::from(([127, 0, 0, 3], first.port));
            return (Dns::new(Some(resolver), first.port), first, second);
        }
    }
}

const FIRST: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2))];

async fn values(dns: &Dns, name: &str, wanted: RecordType) -> Result<Vec<String>, DnsError> {
    let found = dns.query(&FIRST, Whose::Own, name, Some(wanted), NOW).await?;
    assert!(found.iter().all(|record| record.expiration == NOW.after(Duration::from_secs(3_600))), "an hour at most");
    Ok(found.iter().map(|record| data_to_text(record.record_type, &record.data)).collect())
}

#[tokio::test]
async fn answers_come_in_the_form_of_names() {
    let (dns, ..) = world().await;
    assert_eq!(values(&dns, "www.example.org", RecordType::A).await.expect("found"), ["192.0.2.7"]);
    assert_eq!(values(&dns, "mail.example.org", RecordType::MX).await.expect("found"), ["10 mx.example.org"]);
    let texts = values(&dns, "many.example.org", RecordType::TXT).await.expect("over TCP");
    assert_eq!((texts.len(), texts[1].len()), (MAX_RECORDS, 201), "bounded, and without length bytes");
    assert_eq!(values(&dns, "www.example.org", RecordType::TXT).await, Ok(vec![]), "there, but not of this type");
    assert_eq!(values(&dns, "nothing.example.org", RecordType::A).await, Err(DnsError::NotFound));
    let any = dns.query(&FIRST, Whose::Own, "www.example.org", None, NOW).await.expect("A and AAAA");
    assert_eq!(any.len(), 1);
}

#[tokio::test]
async fn aliases_and_referrals_are_followed_and_end() {
    let (dns, first, _) = world().await;
    for (name, value) in [
        ("alias.example.org", "192.0.2.7"),
        ("away.example.org", "192.0.2.10"),
        ("www.sub.example.org", "192.0.2.8"),
        ("www.down.example.org", "192.0.2.9"),
    ] {
        assert_eq!(values(&dns, name, RecordType::A).await.as_deref(), Ok([value.to_owned()].as_slice()), "{name}");
    }
    for name in ["loop.example.org", "chase.example.org", "round.example.org"] {
        let before = first.asked.load(Ordering::Relaxed);
        let found = values(&dns, name, RecordType::A).await;
        assert!(found.as_ref().map_or(true, Vec::is_empty), "{name}: {found:?}");
        assert!(first.asked.load(Ordering::Relaxed) - before <= MAX_QUESTIONS, "{name}");
    }
}

#[tokio::test]
async fn the_first_server_that_answers_wins() {
    let (dns, ..) = world().await;
    let nobody = IpAddr::from([127, 0, 0, 4]);
    let servers = [nobody, FIRST[0], IpAddr::from([127, 0, 0, 3])];
    let ask = async |name: &str| {
        let found = dns.query(&servers, Whose::Own, name, Some(RecordType::A), NOW).await?;
        Ok::<_, DnsError>(found.iter().map(Record::value).collect::<Vec<_>>())
    };
    assert_eq!(ask("www.example.org").await, Ok(vec!["192.0.2.7".to_owned()]));
    assert_eq!(ask("www.elsewhere.net").await, Ok(vec!["192.0.2.10".to_owned()]), "the first knew nothing of it");
    assert!(matches!(values(&dns, "broken.example.org", RecordType::A).await, Err(DnsError::Failed(_))));
    let asked = std::time::Instant::now();
    assert_eq!(values(&dns, "silent.example.org", RecordType::A).await, Err(DnsError::Timeout));
    assert!(asked.elapsed() < LIMIT);
}

#[tokio::test]
async fn a_strangers_zone_makes_nobody_knock_at_this_computer_or_the_lan() {
    let (dns, first, second) = world().await;
    for server in
        ["127.0.0.2", "::1", "10.0.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "::ffff:127.0.0.2", "fe80::1"]
    {
        let servers = [server.parse().expect("an address")];
        let refused = dns.query(&servers, Whose::Stranger, "www.example.org", Some(RecordType::A), NOW).await;
        assert_eq!(refused, Err(DnsError::LocalServer), "{server}");
    }
    // Names below .alt are asked nowhere, also when an alias leads there.
    for name in ["x.gns.alt", "alt", "x.ALT"] {
        assert_eq!(dns.lookup(name, Some(RecordType::A), NOW).await, Err(DnsError::NotFound), "{name}");
    }
    assert_eq!((first.asked.load(Ordering::Relaxed), second.asked.load(Ordering::Relaxed)), (0, 0), "nobody was asked");
    assert_eq!(values(&dns, "alt.example.org", RecordType::A).await, Err(DnsError::NotFound));
    let found = dns.lookup("www.elsewhere.net", Some(RecordType::A), NOW).await.expect("the resolver is asked");
    assert_eq!(found[0].value(), "192.0.2.10");
}

#[tokio::test]
async fn without_a_resolver_of_its_own_the_system_s_is_asked() {
    let server = Server::at(1, 0, example).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("resolv.conf");
    // The first one is not there: a port on which nobody answers is refused at once.
    std::fs::write(&file, "search lan\nnameserver 127.0.0.9\nnameserver 127.0.0.1\n").expect("written");
    let mut dns = Dns::new(None, 1);
    dns.system = (file.clone(), server.port);
    let found = dns.lookup("www.example.org", Some(RecordType::A), NOW).await.expect("found");
    assert_eq!(found.len(), 1);
    assert!(server.asked.load(Ordering::Relaxed) >= 1);
    let missing = dns.lookup("nothing.example.org", Some(RecordType::A), NOW).await.expect_err("not there");
    assert_eq!(missing, DnsError::NotFound);
    // It is read anew: another network has other resolvers, or none.
    std::fs::write(&file, "search lan\n").expect("written");
    assert_eq!(dns.lookup("www.example.org", None, NOW).await.expect_err("nobody to ask"), DnsError::NoServer);
    assert!(matches!(dns.lookup("x.gns.alt", None, NOW).await, Err(DnsError::NoServer | DnsError::NotFound)));
}
