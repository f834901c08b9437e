use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn windows(stored: &str) -> String {
    local_name(stored, &NameRules::windows()).into_owned()
}

#[test]
fn what_windows_cannot_hold_is_escaped_and_keeps_its_extension() {
    for (stored, local) in [
        ("plain.txt", "plain.txt"),
        ("a:b.txt", "a%3Ab~p2p.txt"),
        ("what?", "what%3F~p2p"),
        ("end.", "end%2E~p2p"),
        ("end ", "end%20~p2p"),
        ("CON", "%43ON~p2p"),
        ("nul.tar.gz", "%6Eul.tar~p2p.gz"),
        ("com7.txt", "%63om7~p2p.txt"),
        ("con .txt", "%63on ~p2p.txt"),
        ("console", "console"),
        ("com10", "com10"),
        ("100%:", "100%25%3A~p2p"),
        ("100%", "100%"),
        ("a\\b", "a%5Cb~p2p"),
        (".hidden:", ".hidden%3A~p2p"),
        ("tab\there", "tab%09here~p2p"),
        ("ä:ö", "ä%3Aö~p2p"),
    ] {
        assert_eq!(windows(stored), local, "{stored:?}");
        assert_eq!(stored_name(local.as_bytes()), stored, "{local:?}");
    }
}

#[test]
fn what_looks_like_an_escape_is_escaped_once_more() {
    for (stored, local) in [
        ("a~p2p", "a~p2p~p2p"),
        ("a~p2p.txt", "a~p2p~p2p.txt"),
        ("a%3Ab~p2p.txt", "a%253Ab~p2p~p2p.txt"),
        ("a~p2p~p2p", "a~p2p~p2p~p2p"),
        ("~p2p", "~p2p"),
        ("a~p2p.b.c", "a~p2p.b.c"),
        ("a%4~p2p", "a%4~p2p"),
    ] {
        assert_eq!(local_name(stored, &NameRules::UNIX), local, "{stored:?}");
        assert_eq!(stored_name(local.as_bytes()), stored, "{local:?}");
    }
    // Where case does not count, this would be the escape of `a`.
    assert_eq!(windows("a~P2P"), "a~P2P~p2p");
    assert_eq!(local_name("a~P2P", &NameRules::UNIX), "a~P2P");
}

#[test]
fn what_no_drive_can_hold_becomes_an_escape_and_can_be_found_again() {
    for (local, stored) in [
        (b"caf\xe9".as_slice(), "caf%E9~p2p"),
        (b"caf\xe9.txt", "caf%E9~p2p.txt"),
        (b"a\x01b", "a%01b~p2p"),
        (b"50%\xff", "50%25%FF~p2p"),
        ("e\u{301}\u{1}".as_bytes(), "e%CC%81%01~p2p"),
    ] {
        assert_eq!(stored_name(local), stored, "{local:?}");
        assert_eq!(foreign_bytes(stored).as_deref(), Some(local));
        // Elsewhere the escape itself is the name.
        assert_eq!(local_name(stored, &NameRules::UNIX), stored);
        assert_eq!(stored_name(stored.as_bytes()), stored);
    }
    assert_eq!(stored_name("e\u{301}".as_bytes()), "é");
    assert_eq!(foreign_bytes("a~p2p"), None);
    assert_eq!(foreign_bytes("a%2F%FF~p2p"), None, "no separator is smuggled in");
}

#[test]
fn an_escape_that_stands_for_no_name_is_a_name_of_its_own() {
    for name in ["%2E~p2p", "%2E%2E~p2p", "a%2Fb~p2p", "%00~p2p", "e%CC%81~p2p", "~p2p", "%61%~p2p"] {
        assert_eq!(stored_name(name.as_bytes()), name);
        assert_eq!(local_name(name, &NameRules::UNIX), name);
    }
}

#[test]
fn a_long_name_is_cut_and_told_apart_by_its_hash() {
    let long = format!("{}:{}", "ü".repeat(120), "x.txt");
    let local = windows(&long);
    assert_eq!(local.len(), 252);
    let other = windows(&format!("{}:{}", "ü".repeat(123), "x.txt"));
    assert!(is_cut_name(&other) && other.len() <= 255 && other.ends_with("~p2p.txt"), "{other}");
    assert!(!is_cut_name(&local));
    let short = NameRules { max_bytes: 143, ..NameRules::UNIX };
    let (a, b) = (format!("{}a", "n".repeat(200)), format!("{}b", "n".repeat(200)));
    let (cut, other) = (local_name(&a, &short), local_name(&b, &short));
    assert!(is_cut_name(&cut) && cut.len() == 143 && cut != other, "{cut}");
    // Who names a file so has it escaped.
    assert_ne!(local_name(&cut, &NameRules::UNIX), cut);
}

#[test]
fn names_that_differ_in_case_are_told_apart() {
    let rules = NameRules::windows();
    let names = ["README", "readme", "Readme", "README.md", "Straße", "STRASSE", "strasse"];
    let mut seen = HashMap::new();
    for name in names {
        let apart = case_apart(name, &rules);
        assert_eq!(stored_name(apart.as_bytes()), name, "{apart}");
        assert_eq!(seen.insert(folded_name(&apart), name), None, "{apart}");
    }
    assert_eq!(case_apart("readme", &rules), "readme~p2p");
    assert_eq!(case_apart("Readme.md", &rules), "%52eadme~p2p.md");
    for (a, b) in [("README", "readme"), ("Straße", "STRASSE"), ("\u{212a}", "k"), ("ÉTÉ", "été")] {
        assert_eq!(folded_name(a), folded_name(b));
    }
}

fn a_stored_name() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a",
        "B",
        "é",
        "ß",
        "日",
        "😀",
        ":",
        "?",
        "*",
        "\\",
        "<",
        "|",
        "\"",
        ".",
        " ",
        "%",
        "~p2p",
        "~P2P",
        "%~",
        "%41",
        "%E9",
        "%2F",
        "0123456789abcdef",
        "CON",
        "nul",
        "COM1",
        "lpt9",
        ".txt",
        "\u{2}",
        "long-long-long-long",
    ]);
    let text = prop_oneof![
        prop::collection::vec(pieces, 1..14).prop_map(|pieces| pieces.concat()),
        "\\PC{1,255}",
        "[aA:]{250,255}",
    ];
    text.prop_map(|text| {
        let text: String = text.nfc().filter(|c| !matches!(c, '/' | '\0' | '\u{1}')).collect();
        let text: String = text
            .chars()
            .scan(0, |len, c| {
                *len += c.len_utf8();
                (*len <= 255).then_some(c)
            })
            .collect();
        text.nfc().collect()
    })
    .prop_filter("a stored name", |text: &String| is_stored(text))
}

fn some_rules() -> impl Strategy<Value = NameRules> {
    let text = prop::sample::select(vec![NameText::Any, NameText::Basic, NameText::Ascii]);
    let refused = prop_oneof![Just(0), Just(NameRules::windows().refused), Just(1_u128 << b':')];
    (refused, any::<[bool; 3]>(), text, 64_usize..300).prop_map(|(refused, flags, text, max_bytes)| {
        let [refuses_ends, has_devices, folds_case] = flags;
        NameRules { refused, refuses_ends, has_devices, folds_case, text, max_bytes }
    })
}

/// What every name on disk must be.
fn check(local: &str, rules: &NameRules) {
    assert!((1..=rules.max_bytes.min(255)).contains(&local.len()), "{local:?}");
    assert!(local != "." && local != ".." && !local.contains(['/', '\0', '\u{1}']), "{local:?}");
    assert!(!local.chars().any(|character| rules.refuses(character)), "{local:?}");
    assert!(!(rules.refuses_ends && local.ends_with(['.', ' '])), "{local:?}");
    assert!(!(rules.has_devices && is_device(local)), "{local:?}");
}

proptest! {
    #[test]
    fn a_name_on_disk_is_allowed_and_read_back(stored in a_stored_name(), rules in some_rules()) {
        for local in [local_name(&stored, &rules).into_owned(), case_apart(&stored, &rules)] {
            check(&local, &rules);
            if is_cut_name(&local) {
                prop_assert!(stored.len() + MARKER.len() > rules.max_bytes.min(255) || local != stored);
            } else {
                prop_assert_eq!(stored_name(local.as_bytes()), stored.clone(), "{:?}", local);
            }
            // Whoever reads the disk again gets the same again.
            let again = stored_name(local.as_bytes());
            prop_assert_eq!(stored_name(again.as_bytes()).len() <= again.len(), true);
        }
    }

    #[test]
    fn different_names_stay_different(a in a_stored_name(), b in a_stored_name(), rules in some_rules()) {
        prop_assume!(a != b);
        prop_assert_ne!(local_name(&a, &rules), local_name(&b, &rules));
        let apart = (case_apart(&a, &rules), case_apart(&b, &rules));
        prop_assert_ne!(folded_name(&apart.0), folded_name(&apart.1), "{:?}", apart);
        // Nor does one that is set apart meet one that is not.
        if rules.folds_case {
            let plain = local_name(&b, &rules);
            if plain == b {
                prop_assert_ne!(folded_name(&apart.0), folded_name(&plain), "{:?} {:?}", apart.0, plain);
            }
        }
    }

    #[test]
    fn what_is_plain_is_the_same_everywhere(stored in a_stored_name(), rules in some_rules()) {
        if is_plain_name(&stored) {
            prop_assert_eq!(local_name(&stored, &rules), stored.clone());
        }
    }

    #[test]
    fn any_bytes_have_a_stored_name(local in prop::collection::vec(any::<u8>(), 1..=255)) {
        prop_assume!(!local.contains(&0) && !local.contains(&b'/') && local != b"." && local != b"..");
        let stored = stored_name(&local);
        prop_assert!(!stored.is_empty() && stored != "." && stored != ".." && is_nfc(&stored));
        prop_assert!(!stored.bytes().any(|byte| matches!(byte, 0 | 1 | b'/')), "{:?}", stored);
        let is_text = std::str::from_utf8(&local).is_ok_and(|text| !text.contains('\u{1}'));
        if !is_text {
            prop_assert_eq!(foreign_bytes(&stored), Some(local));
            prop_assert_eq!(stored_name(stored.as_bytes()), stored.clone());
        }
    }
}
