//! Small protocols in which whoever accepts writes a few bytes and closes, and reads nothing.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use tokio_util::sync::CancellationToken;

use crate::network::Network;

/// Peers that are told at once.
const MAX_TOLD: usize = 16;
/// How long telling one may take.
const TELL_TIME: Duration = Duration::from_secs(5);

/// Tells whoever asks what `say` says then, until it is stopped.
pub(crate) async fn tell<const N: usize>(
    network: Network,
    protocol: &'static str,
    say: impl Fn(&Network) -> [u8; N],
    stop: CancellationToken,
) {
    let mut streams = match network.accept_streams(protocol).await {
        Ok(streams) => streams,
        Err(error) => return tracing::warn!(%error, protocol, "nobody is told"),
    };
    let mut telling = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = telling.join_next(), if !telling.is_empty() => {}
            next = streams.recv(), if telling.len() < MAX_TOLD => {
                let Some(incoming) = next else { break };
                let said = say(&network);
                telling.spawn(tokio::time::timeout(TELL_TIME, async move {
                    let mut stream = incoming.stream.compat();
                    // Who does not listen to the end has its answer already, or wants none.
                    let _ = stream.write_all(&said).await;
                    let _ = stream.shutdown().await;
                }));
            }
        }
    }
    telling.shutdown().await;
}
