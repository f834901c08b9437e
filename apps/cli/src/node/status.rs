//! `p2pnode status`.

use p2p_api::{DhtMode, NodeInfo, Reachability};
use p2p_client::Client;

use crate::arguments::Global;
use crate::console::Console;
use crate::failure::Result;
use crate::human::{bytes, count, seconds};
use crate::withheld;

pub(super) async fn run(console: &mut Console, global: &Global) -> Result<()> {
    let client = Client::connect(global.socket()?.path).await?;
    let info = client.node().info().await?;
    console.emit(&info)?;
    for line in lines(&info) {
        console.say(line)?;
    }
    for drive in client.node().drives().list().await? {
        withheld::note(console, &drive);
    }
    Ok(())
}

fn lines(info: &NodeInfo) -> Vec<String> {
    let reachability = match info.reachability {
        Reachability::Public => "others can dial it",
        Reachability::Private => "others cannot dial it",
        Reachability::Unknown => "nobody has tried to dial it yet",
    };
    let mode = match info.dht_mode {
        DhtMode::Server => "server",
        DhtMode::Client => "client",
    };
    let mut lines = vec![
        format!("node      {}", info.peer_id),
        format!("version   {}, network {}, up {}", info.version, info.network, seconds(info.uptime_s as f64)),
        format!("reached   {reachability}"),
        format!("peers     {} connected, {} in the DHT ({mode})", info.peers, info.dht_peers),
        format!("drives    {}", info.drives),
    ];
    if info.locked {
        lines.push("keys      locked: p2p unlock".to_owned());
    }
    lines.extend(info.listen.iter().map(|address| format!("listen    {address}")));
    lines.extend(info.external.iter().map(|address| format!("external  {address}")));
    lines.extend(info.relays.iter().map(|address| format!("relay     {address}")));
    lines.extend(info.gateway.iter().map(|address| format!("gateway   {address}")));
    if info.rss_bytes > 0 {
        lines.push(format!("memory    {}", bytes(info.rss_bytes)));
    }
    if !info.notices.is_empty() {
        lines.push(format!("{} since the start:", count(info.notices.len() as u64, "notice", "notices")));
        lines.extend(info.notices.iter().map(|notice| format!("  {notice}")));
    }
    lines
}
