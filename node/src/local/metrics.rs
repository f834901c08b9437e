//! Counters in OpenMetrics form.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use p2p_api::{ApiError, Result};
use p2p_drives::Drives;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::network::Snapshot;

/// Resident memory of this process in bytes; 0 where the system does not tell.
pub(super) fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    pages.map_or(0, |pages| pages * rustix::param::page_size() as u64)
}

fn help_of(counter: &str) -> &'static str {
    match counter {
        "network_changes" => "Changes of the addresses of this computer",
        "relay_circuits" => "Connections of others carried as a relay",
        "relay_circuits_cut" => "Connections of others that reached the cap of bytes or of time",
        _ if counter.starts_with("port_mappings_") => "Ports given by routers, by protocol, and what became of them",
        _ => "Refused by a limit or a check",
    }
}

pub(super) fn encode(snapshot: &Snapshot, drives: &Drives, uptime: Duration) -> Result<String> {
    let mut registry = Registry::with_prefix("p2pnode");
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(value as i64);
        registry.register(name, help, gauge);
    };
    gauge("uptime_seconds", "Seconds since the start", uptime.as_secs());
    gauge("resident_bytes", "Resident memory", resident_bytes());
    gauge("connections", "Open connections", snapshot.connections.len() as u64);
    gauge("dht_peers", "Peers in the DHT's routing table", snapshot.dht_peers as u64);
    gauge("dht_values_hidden", "Values of this node that nobody else finds", snapshot.hidden_values as u64);
    gauge("drives", "Drives known here", drives.list().len() as u64);
    let counters = drives.counters();
    let mut counter = |name: &str, help: &str, value: u64| {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    counter("drive_sessions", "Sessions that peers opened", counters.sessions.load(Relaxed));
    counter("drive_requests", "Requests of peers answered", counters.requests.load(Relaxed));
    counter("drive_bytes_sent", "Content bytes sent to peers", counters.bytes_sent.load(Relaxed));
    counter("drive_stale", "Requests that found content changed on disk", counters.stale.load(Relaxed));
    counter("drive_proofs_refused", "Wrong proofs and unknown topics", counters.refused_proofs.load(Relaxed));
    counter(
        "drive_streams_refused",
        "Streams refused because a peer had too many",
        counters.refused_streams.load(Relaxed),
    );
    let mut by_reason = BTreeMap::<&str, Family<Vec<(String, String)>, Counter>>::new();
    let browsed = drives.browse_counters();
    counter("browse_hits", "Reads of browsed drives answered from the disk", browsed.hits.load(Relaxed));
    counter("browse_damaged", "Damaged blocks of browsed drives dropped", browsed.damaged.load(Relaxed));
    counter("browse_not_kept", "Items of browsed drives for which there was no room", browsed.not_kept.load(Relaxed));
    counter("browse_evicted", "Browsed drives that made room for others", browsed.evicted.load(Relaxed));
    for (name, value) in &snapshot.counters {
        match name.split_once("{reason=\"") {
            Some((name, reason)) => {
                let reason = reason.trim_end_matches("\"}").to_owned();
                let family = by_reason.entry(name).or_default();
                family.get_or_create(&vec![("reason".to_owned(), reason)]).inc_by(*value);
            }
            None => counter(name, help_of(name), *value),
        }
    }
    for (name, family) in by_reason {
        registry.register(name, "Refused, by reason", family);
    }
    let mut text = String::new();
    encode_text(&mut text, &registry).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(text)
}
