# `just` lists what there is.
default:
    @just --list

# What CI runs.
check:
    .ci/run

# The quick round while working: one crate's tests and lints.
one crate:
    cargo test -p {{crate}}
    cargo clippy -p {{crate}} --all-targets -- -D warnings
    cargo fmt -p {{crate}} --check

# Formats everything.
fmt:
    cargo fmt --all

# Licences, advisories and banned crates; needs cargo-deny.
deny:
    cargo deny check

# How fast sharing and cloning are, beside other tools; see node/daemon/benches/share.md.
bench-share *args:
    bash node/daemon/benches/share.sh {{args}}

# Writes node/daemon/p2pnode.example.toml anew from the defaults.
example-config:
    P2P_BLESS=1 cargo test -p p2p-node --lib the_example_file_shows_the_defaults

# How fast the gateway is, beside nginx.
bench-gateway *args:
    bash apps/gateway/benches/gateway.sh {{args}}

# Hundreds of real DHT nodes in one process, calm, a third silent, and under attack; writes simulations/reports/dht-lab.*
dht-lab *args:
    cargo run -p p2p-simulations --example dht_lab -- {{args}}

# Lookups among up to a million nodes in virtual time, beside those of the real nodes; writes simulations/reports/dht-model.*
dht-model:
    cargo test -p p2p-dht --locked --lib -- --ignored a_million_nodes

# How soon edits are at a follower; with --million and --swarm more; see node/daemon/benches/live.md.
bench-live *args:
    python3 node/daemon/benches/live.py {{args}}

# A thousand kill -9 of four nodes of one drive; about ten minutes.
kill-lab:
    KILLS=1000 bash simulations/kill-lab.sh
