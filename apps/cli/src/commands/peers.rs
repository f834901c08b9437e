//! `p2p peers`.

use p2p_api::PeerInfo;

use crate::failure::Result;
use crate::human::printable;
use crate::session::{Context, Need};

pub(crate) async fn run(context: &mut Context) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| {
            let peers = client.node().peers().list().await?;
            console.emit(&peers)?;
            if peers.is_empty() {
                return console.say("No peer is connected.");
            }
            let heading = ["PEER", "PATH", "TRANSPORT", "RTT", "ADDRESS", "AGENT"];
            console.table(heading, peers.iter().map(row).collect())?;
            for (peer, why) in peers.iter().filter_map(|peer| Some((peer.peer, peer.why_relayed.as_deref()?))) {
                console.say(format!("{peer} is relayed: {}", printable(why)))?;
            }
            Ok(())
        })
        .await
}

fn row(peer: &PeerInfo) -> [String; 6] {
    [
        peer.peer.to_string(),
        peer.way().as_str().to_owned(),
        peer.transport.clone(),
        peer.rtt_ms.map(|rtt| format!("{rtt:.1} ms")).unwrap_or_default(),
        printable(&peer.address),
        printable(peer.agent.as_deref().unwrap_or_default()),
    ]
}
