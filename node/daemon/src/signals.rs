//! SIGINT and SIGTERM, which stop the node, and SIGUSR1, which locks its keys.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGUSR1: the keys are to be locked. Without this the signal would end the process.
#[derive(Debug)]
pub(crate) struct LockSignal(Signal);

impl LockSignal {
    /// Takes the signal over.
    pub(crate) fn listen() -> io::Result<Self> {
        signal(SignalKind::user_defined1()).map(Self)
    }

    /// The next one. Cancel safe.
    pub(crate) async fn next(&mut self) {
        // The end of the stream: the runtime is shutting down.
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// What asked the process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// Ctrl-C.
    Interrupt,
    /// The service manager, or `kill`.
    Terminate,
}

/// Listens for both from its making on, so none is lost in between.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Takes the signals over from the system's default of ending the process.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        }
    }
}
