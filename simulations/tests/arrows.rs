//! The arrows of ARCHITECTURE.md, read from the manifests: who may depend on whom, and that no app sees the network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a package may depend on, tests excepted. A new package has to be entered here, and in ARCHITECTURE.md.
const ARROWS: [(&str, &[&str]); 14] = [
    ("p2p-identity", &[]),
    ("p2p-names", &["p2p-identity"]),
    ("p2p-transport", &["p2p-identity"]),
    ("p2p-dht", &["p2p-identity"]),
    ("p2p-api", &["p2p-identity"]),
    ("p2p-drives", &["p2p-identity"]),
    ("p2p-client", &["p2p-api", "p2p-identity"]),
    ("p2p-cli", &["p2p-client", "p2p-api", "p2p-identity"]),
    ("p2p-files", &["p2p-api", "p2p-identity"]),
    ("p2p-gateway", &["p2p-api", "p2p-identity"]),
    ("p2p-dns", &["p2p-api"]),
    ("p2p-node", &["p2p-transport", "p2p-dht", "p2p-drives", "p2p-names", "p2p-api", "p2p-identity"]),
    (
        "p2pnode",
        &[
            "p2p-node",
            "p2p-cli",
            "p2p-client",
            "p2p-api",
            "p2p-files",
            "p2p-gateway",
            "p2p-dns",
            "p2p-names",
            "p2p-identity",
        ],
    ),
    ("p2p-simulations", &["p2p-node"]),
];

/// Packages below `apps/`: guests, who must not know what carries their bytes.
const GUESTS: [&str; 6] = ["p2p-api", "p2p-client", "p2p-cli", "p2p-files", "p2p-gateway", "p2p-dns"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate lies in the workspace").to_owned()
}

fn manifest(folder: &Path) -> toml::Table {
    let path = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every package of the workspace with what it depends on, tests excepted.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let workspace = manifest(&root());
    let members = workspace["workspace"]["members"].as_array().expect("members are a list");
    let packages = members.iter().map(|member| {
        let manifest = manifest(&root().join(member.as_str().expect("a member is a path")));
        let name = manifest["package"]["name"].as_str().expect("a package has a name").to_owned();
        let names = |table: &toml::Table| table.keys().cloned().collect::<BTreeSet<_>>();
        let mut needs: BTreeSet<String> =
            manifest.get("dependencies").and_then(toml::Value::as_table).map(names).unwrap_or_default();
        for target in manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values) {
            needs.extend(target.get("dependencies").and_then(toml::Value::as_table).map(names).unwrap_or_default());
        }
        (name, needs)
    });
    packages.collect()
}

#[test]
fn every_dependency_between_rooms_is_an_arrow_of_the_architecture() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let packages = packages();
    for (name, needs) in &packages {
        let allowed = allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no arrows"));
        let ours = needs.iter().filter(|need| packages.contains_key(*need));
        for need in ours {
            assert!(allowed.contains(&need.as_str()), "{name} must not depend on {need}");
        }
    }
}

#[test]
fn no_app_depends_on_the_network_library() {
    let packages = packages();
    for guest in GUESTS {
        let needs = &packages[guest];
        assert!(needs.iter().all(|need| !need.starts_with("libp2p")), "{guest} must not see libp2p: {needs:?}");
    }
}

#[test]
fn a_package_lies_where_its_name_says() {
    let workspace = manifest(&root());
    for member in workspace["workspace"]["members"].as_array().expect("members are a list") {
        let member = member.as_str().expect("a member is a path");
        let name = manifest(&root().join(member))["package"]["name"].as_str().expect("a name").to_owned();
        let folder = member.rsplit('/').next().unwrap_or(member);
        let expected = if member == "node/daemon" { "p2pnode".to_owned() } else { format!("p2p-{folder}") };
        assert_eq!(name, expected, "{member}");
        assert!(member.split('/').count() <= 2, "{member} lies deeper than one level below its room");
    }
}
