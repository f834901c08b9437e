use std::time::Duration;

use super::*;
use crate::{Flags, Lifetime, RecordType, Timestamp, ZoneSecret, ZoneType, data_from_text, data_to_text};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

const EXAMPLE: &str = r#"
$ORIGIN example.com.
$TTL 1h
@       IN SOA ns hostmaster.example.com. (
            2026112601 ; serial
            2h 30m 4w 1h )
        IN NS ns
        NS ns.other.example.
        MX 10 mail
        TXT "v=spf1 mx" " -all"   ; two strings, one text
        CAA 0 issue "ca.example"
        600 A 192.0.2.1
www     30d IN A 192.0.2.2
        IN 2w AAAA 2001:db8::2
WWW2    CNAME www
alias   CNAME target.example.net.
up      CNAME @
_443._tcp.www TLSA 3 1 1 00ff
_imaps._tcp SRV 0 0 993 mail
_odd._tcp SRV 0 0 1 mail
*       A 192.0.2.9
a.b     A 192.0.2.9
sub     NS ns1.sub
        NS ns.far.example.
        DS 1 8 2 aabb
ns1.sub A 192.0.2.53
xn--bcher-kva TXT "books"
web     HTTPS 1 . alpn="h2,h3" port=8443
unknown TYPE65280 \# 3 abcdef
broken  A 192.0.2
elsewhere.example. A 192.0.2.4
$INCLUDE other.zone
"#;

fn import(text: &str) -> ZoneImport {
    import_zone_file(text, &ImportOptions::default()).unwrap()
}

fn values(import: &ZoneImport, label: &str) -> Vec<String> {
    let records = import.labels.get(&label.parse::<Label>().unwrap());
    let show =
        |record: &StoredRecord| format!("{} {}", record.record_type, data_to_text(record.record_type, &record.data));
    records.into_iter().flatten().map(show).collect()
}

#[test]
fn a_dns_zone_becomes_labels() {
    let import = import(EXAMPLE);
    assert_eq!(
        values(&import, "@"),
        [
            "MX 10 mail.example.com",
            "TXT v=spf1 mx -all",
            "CAA 0 issue \"ca.example\"",
            "A 192.0.2.1",
            "BOX 6 993 SRV 0 0 993 mail.example.com"
        ]
    );
    assert_eq!(values(&import, "www"), ["A 192.0.2.2", "AAAA 2001:db8::2", "BOX 6 443 TLSA 3 1 1 00ff"]);
    assert_eq!(values(&import, "WWW2"), ["REDIRECT www.+"]);
    assert_eq!(values(&import, "alias"), ["REDIRECT target.example.net"]);
    assert_eq!(values(&import, "up"), ["REDIRECT +"]);
    assert_eq!(
        values(&import, "sub"),
        ["GNS2DNS sub.example.com@192.0.2.53", "GNS2DNS sub.example.com@ns.far.example", "DS 1 8 2 aabb"]
    );
    assert_eq!(values(&import, "bücher"), ["TXT books"]);
    assert_eq!(values(&import, "web"), ["HTTPS 1 . alpn=h2,h3 port=8443"]);
    assert_eq!(values(&import, "unknown"), ["TYPE65280 \\# 3 abcdef"]);
    assert_eq!(import.labels.len(), 9);
    let redirect = &import.labels[&"up".parse::<Label>().unwrap()][0];
    assert!(redirect.flags.contains(Flags::CRITICAL));
}

#[test]
fn what_does_not_fit_is_reported_with_its_line() {
    let import = import(EXAMPLE);
    let skipped: Vec<_> = import.skipped.iter().map(|skipped| (skipped.line, skipped.what.as_str())).collect();
    assert_eq!(
        skipped,
        [
            (4, "example.com SOA"),
            (7, "example.com NS"),
            (8, "example.com NS"),
            (20, "_odd._tcp.example.com SRV"),
            (21, "*.example.com A"),
            (22, "a.b.example.com A"),
            (30, "broken.example.com A"),
            (31, "elsewhere.example A"),
            (32, "$INCLUDE"),
        ]
    );
}

#[test]
fn lifetimes_are_at_least_the_default_or_the_ttl() {
    let days = |days: u64| Lifetime::For(Duration::from_secs(days * 86_400));
    let www = |import: &ZoneImport| {
        import.labels[&"www".parse::<Label>().unwrap()].iter().map(|record| record.lifetime).take(2).collect::<Vec<_>>()
    };
    assert_eq!(www(&import(EXAMPLE)), [days(30), days(14)]);
    let at_apex = |import: &ZoneImport| import.labels[&Label::apex()][0].lifetime;
    assert_eq!(at_apex(&import(EXAMPLE)), days(7));
    let exact = ImportOptions { lifetime: ImportedLifetime::Ttl, ..ImportOptions::default() };
    let exact = import_zone_file(EXAMPLE, &exact).unwrap();
    assert_eq!(at_apex(&exact), Lifetime::For(Duration::from_secs(3600)));
}

#[test]
fn records_that_cannot_stand_together_are_left_out() {
    let import = import("$ORIGIN example.\nwww CNAME a\nwww A 192.0.2.1\nok A 192.0.2.1\n");
    assert_eq!(import.labels.len(), 1);
    assert_eq!((import.skipped[0].line, import.skipped[0].what.as_str()), (2, "www"));
}

#[test]
fn files_that_do_not_end_are_errors() {
    let error = |text| import_zone_file(text, &ImportOptions::default()).unwrap_err();
    assert_eq!(error("a TXT \"open\n\n"), ZoneFileError::Open { line: 1, what: "a quoted text" });
    assert_eq!(error("\na SOA ( 1\n2"), ZoneFileError::Open { line: 2, what: "a parenthesis" });
    assert_eq!(error("a )"), ZoneFileError::Unbalanced { line: 1 });
    let bad = ImportOptions { origin: "a..b".to_owned(), ..ImportOptions::default() };
    assert_eq!(import_zone_file("", &bad), Err(ZoneFileError::BadOrigin));
}

#[test]
fn what_was_exported_is_imported_again() {
    let zone = *ZoneSecret::from_random(ZoneType::Edkey, &[1; 32]).public();
    let record = |record_type, value: &str| StoredRecord::new(record_type, data_from_text(record_type, value).unwrap());
    let mut labels = BTreeMap::<Label, Vec<StoredRecord>>::new();
    let mut put = |name: &str, records: Vec<StoredRecord>| labels.insert(name.parse().unwrap(), records);
    put("@", vec![record(RecordType::NICK, "al"), record(RecordType::MX, "10 mail.example")]);
    put(
        "www",
        vec![
            record(RecordType::A, "192.0.2.1"),
            record(RecordType::TXT, "say \"hi\"; \\ (x)"),
            record(RecordType::LEHO, "www.example"),
            record(RecordType::BOX, "6 443 TLSA 3 1 1 aa"),
            record(RecordType::HTTPS, "1 www alpn=h2"),
            record(RecordType::new(70_000), "\\# 1 ff"),
        ],
    );
    put("üb er;@", vec![record(RecordType::TXT, "odd")]);
    let critical = |record: StoredRecord| record.with_flags(Flags::CRITICAL);
    put("kid", vec![critical(record(RecordType::EDKEY, &zone.to_string()))]);
    put("redir", vec![critical(record(RecordType::REDIRECT, "www.+"))]);
    put("dns", vec![critical(record(RecordType::GNS2DNS, "example.com@192.0.2.1"))]);
    put("docs", vec![record(RecordType::P2PDRIVE, &format!("p2p://{}/a", p2p_identity::DriveId::from([3; 32])))]);
    let mut with_hidden = labels.clone();
    let www = with_hidden.get_mut(&"www".parse::<Label>().unwrap()).unwrap();
    www.push(record(RecordType::TXT, "private").with_flags(Flags::PRIVATE));
    www.push(record(RecordType::A, "192.0.2.9").with_flags(Flags::SHADOW));
    www.push(record(RecordType::A, "192.0.2.8").with_lifetime(Lifetime::Until(NOW)));
    let options = ExportOptions { zone, now: NOW };
    let text = export_zone_file(&options, with_hidden.iter().map(|(label, records)| (label, records.as_slice())));
    assert!(!text.contains("private") && text.contains("; shadow: www\t604800\tIN\tA\t192.0.2.9\n"), "{text}");
    let import = import(&text);
    assert_eq!(import.skipped, [], "{text}");
    assert_eq!(import.labels, labels, "{text}");
}

proptest! {
    #[test]
    fn any_text_is_a_zone_file_or_refused(text in "([a-z@$.]{1,4}|IN|A|TXT|CNAME|NS|192.0.2.1|[0-9]{1,5}|[\"();\\\\]|\\$ORIGIN|_443._tcp|[ \t\n]){0,60}", origin in "[a-z.]{0,8}") {
        let options = ImportOptions { origin, ..ImportOptions::default() };
        if let Ok(import) = import_zone_file(&text, &options) {
            prop_assert!(import.labels.values().all(|records| !records.is_empty()));
        }
    }

    #[test]
    fn any_characters_are_a_zone_file_or_refused(text in "\\PC{0,80}") {
        let _ = import_zone_file(&text, &ImportOptions::default());
    }
}
