use std::fs;
use std::path::Path;

use super::*;

fn listen() -> Vec<String> {
    ["/ip4/0.0.0.0/tcp/4101", "/ip4/0.0.0.0/udp/4101/quic-v1"].map(str::to_owned).to_vec()
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("config.toml"), text)
}

/// A folder of its own for a test; gone with it.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_missing_file_is_all_defaults() {
    assert_eq!(Config::load(Path::new("/does/not/exist.toml")).unwrap(), Config::default());
}

#[test]
fn what_is_not_named_has_its_default() {
    let config = parse("network = \"lab\"\n[transport]\nmdns = false\n").unwrap();
    let mut expected = Config { network: "lab".into(), ..Config::default() };
    expected.transport.mdns = false;
    assert_eq!(config, expected);
}

#[test]
fn an_error_names_file_line_and_what_to_do() {
    for (text, line, word) in [
        ("network = \"main\"\nnetwrok = 1\n", 2, "netwrok"),
        ("\n\n[transport]\nmdns = \"yes\"\n", 4, "boolean"),
        ("[transport.limits]\nper_peer = -1\n", 2, "-1"),
        ("cache_mib = \n", 1, ""),
    ] {
        let error = parse(text).unwrap_err();
        let ConfigError::Parse { line: found, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*found, line, "{error}");
        let words = error.to_string();
        assert!(words.starts_with("config.toml, line ") && words.contains(word), "{words}");
        assert!(words.contains("p2pnode config") && !words.contains('\n'), "{words}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for text in
        ["network = \"\"", "network = \"Main\"", "network = \"a/b\"", "cache_mib = 0", "browse_cache = \"much\""]
    {
        assert!(matches!(parse(text), Err(ConfigError::Value { .. })), "{text}");
    }
    assert!(parse(&format!("network = \"{}\"", "x".repeat(33))).is_err());
    assert!(parse(&format!("network = \"{}\"", "x".repeat(32))).is_ok());
}

#[test]
fn a_file_that_is_no_configuration_is_not_read_into_memory() {
    let home = folder();
    let path = home.path().join("config.toml");
    fs::write(&path, "#".repeat(2 * 1024 * 1024)).unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::TooLarge { .. })));
    assert!(matches!(set_listen(&path, &listen()), Err(ConfigError::TooLarge { .. })));
}

#[test]
fn every_value_is_printed_and_reads_back() {
    let mut changed = Config { network: "lab".into(), cache_mib: 99, ..Config::default() };
    changed.transport.listen = vec!["/ip4/127.0.0.1/tcp/1".into()];
    changed.transport.limits.trusted_peers = vec!["a\"b".into(), "c".into()];
    changed.dht.mode = p2p_dht::ModeSetting::Server;
    for config in [Config::default(), changed] {
        let text = config.to_commented_toml();
        let printed: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(printed, toml::Table::try_from(&config).unwrap(), "{text}");
        assert_eq!(parse(&text).unwrap(), config);
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    }
}

#[test]
fn every_value_has_a_comment_above_it() {
    let text = Config::default().to_commented_toml();
    let lines: Vec<_> = text.lines().collect();
    for pair in lines.windows(2) {
        if pair[1].contains(" = ") && !pair[1].starts_with('#') {
            assert!(pair[0].starts_with("# "), "{} has no comment", pair[1]);
        }
    }
}

#[test]
fn the_example_file_shows_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("daemon/p2pnode.example.toml");
    let text = Config::default().to_commented_toml();
    if std::env::var_os("P2P_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let example = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(example, text, "run the test with P2P_BLESS=1 to write the file anew");
}

#[test]
fn listen_addresses_are_put_in_and_everything_else_stays() {
    let written = "[\n    \"/ip4/0.0.0.0/tcp/4101\",\n    \"/ip4/0.0.0.0/udp/4101/quic-v1\",\n]";
    for (before, after) in [
        ("", "\n[transport]\nlisten = NEW\n"),
        ("# mine", "# mine\n\n[transport]\nlisten = NEW\n"),
        (
            "# a\nnetwork = \"lab\" # b\n[transport] # c\nlisten = [ # old\n  \"/ip4/0.0.0.0/tcp/0\",\n] # d\nmdns = false\n",
            "# a\nnetwork = \"lab\" # b\n[transport] # c\nlisten = NEW # d\nmdns = false\n",
        ),
        ("[transport] # c\n# d\nmdns = false\n", "[transport] # c\nlisten = NEW\n# d\nmdns = false\n"),
        ("[transport]", "[transport]\nlisten = NEW\n"),
        ("[dht]\nmode = \"client\"\n", "[dht]\nmode = \"client\"\n\n[transport]\nlisten = NEW\n"),
        (
            "[transport.limits]\nper_peer = 3\n[dht]\n",
            "[transport.limits]\nper_peer = 3\n[dht]\n\n[transport]\nlisten = NEW\n",
        ),
        (
            "cache_mib = 9\ntransport.mdns = false\n[dht]\n",
            "cache_mib = 9\ntransport.listen = NEW\ntransport.mdns = false\n[dht]\n",
        ),
        ("transport.listen = [] # x\n[dht]\n", "transport.listen = NEW # x\n[dht]\n"),
        ("transport = { mdns = false } # x\n", "transport = { listen = NEW, mdns = false } # x\n"),
        ("transport = {}\n", "transport = { listen = NEW}\n"),
        (
            "transport = { listen = [\"/dns/a]/tcp/1\"], mdns = false }\n",
            "transport = { listen = NEW, mdns = false }\n",
        ),
        ("# [transport]\n", "# [transport]\n\n[transport]\nlisten = NEW\n"),
    ] {
        let home = folder();
        let path = home.path().join("config.toml");
        fs::write(&path, before).unwrap();
        let old = Config::load(&path).unwrap();
        set_listen(&path, &listen()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), after.replace("NEW", written), "from {before:?}");
        let mut expected = old;
        expected.transport.listen = listen();
        assert_eq!(Config::load(&path).unwrap(), expected);
    }
}

#[test]
fn a_missing_file_is_made_small() {
    let home = folder();
    let path = home.path().join("new/config.toml");
    set_listen(&path, &listen()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# Settings") && text.lines().count() < 10, "{text}");
    assert_eq!(Config::load(&path).unwrap().transport.listen, listen());
    assert_eq!(fs::read_dir(home.path().join("new")).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_file_that_cannot_be_understood_is_left_alone() {
    let home = folder();
    let path = home.path().join("config.toml");
    fs::write(&path, "network = \n").unwrap();
    assert!(matches!(set_listen(&path, &listen()), Err(ConfigError::Parse { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "network = \n");
}

#[cfg(unix)]
#[test]
fn links_and_permissions_of_the_file_survive() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let home = folder();
    let (real, link) = (home.path().join("real.toml"), home.path().join("config.toml"));
    fs::write(&real, "network = \"lab\"\n").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    symlink("real.toml", &link).unwrap();
    set_listen(&link, &listen()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Config::load(&real).unwrap().transport.listen, listen());
}
