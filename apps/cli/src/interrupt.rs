//! SIGINT and SIGTERM.

use std::future::pending;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for the next SIGINT or SIGTERM. Where the system gives no handler, for ever.
pub(crate) async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
