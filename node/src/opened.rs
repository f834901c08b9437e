//! The home of a node with its keys, before anything else of the node is there; and the waiting for a passphrase in
//! between (specs/overlay.md, 3.2).

use std::path::Path;

use p2p_api::LockLevel;
use p2p_identity::{Keystore, SecretKey, TransportKeyAt, load_or_create_transport_key};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::StartError;
use crate::api::{SocketGuard, bind, serve_closed};
use crate::home::Home;
use crate::keys::Keys;

/// The file of the transport key in a home.
const TRANSPORT_KEY: &str = "transport.key";

/// A home that this process holds, from which a node can be started with [`crate::start_in`].
#[must_use = "dropping it gives the home back"]
pub struct OpenHome {
    pub(crate) home: Home,
    pub(crate) keys: Keys,
    /// `None` while the node is closed.
    pub(crate) transport_key: Option<SecretKey>,
    /// A socket that answers already.
    pub(crate) socket: Option<(UnixListener, SocketGuard)>,
    pub(crate) warnings: Vec<String>,
    level: LockLevel,
}

/// How the waiting for a passphrase ended.
#[non_exhaustive]
pub enum Waited {
    /// It came: a node can be started.
    Unlocked(Box<OpenHome>),
    /// Somebody asked the node to stop, through the socket.
    Stopped,
}

impl OpenHome {
    /// Takes the home, its keystore and the transport key. `level` says what locking closes, and so where that key lies.
    ///
    /// # Errors
    /// Another node holds the home, or its keys cannot be used.
    pub async fn open(home: &Path, level: LockLevel) -> Result<Self, StartError> {
        let home = Home::open_soon(home).await?;
        let keystore = Keystore::open_or_create(home.path()).map_err(|error| StartError::Keys(error.to_string()))?;
        let warnings = keystore.warnings().iter().map(ToString::to_string).collect();
        let keys = Keys::new(keystore, level);
        let mut opened = Self { home, keys, transport_key: None, socket: None, warnings, level };
        opened.load_transport_key()?;
        Ok(opened)
    }

    /// Whoever runs the node closes it when asked, by [`crate::RunningNode::close_requested`], and starts it again.
    /// Without this nobody is offered [`LockLevel::Full`].
    pub fn with_closing(self) -> Self {
        self.keys.allow_closing();
        self
    }

    /// Whether a passphrase is needed to open the keys.
    pub fn is_protected(&self) -> bool {
        self.keys.info().protected
    }

    /// Forgets the transport key until the passphrase comes, also where a file has it.
    pub fn close(&mut self) {
        if self.keys.is_locked() {
            self.transport_key = None;
        }
    }

    /// Whether no node can be started from it before somebody told the passphrase.
    pub fn is_closed(&self) -> bool {
        self.transport_key.is_none()
    }

    /// Opens the socket at `path`. Calls wait there until [`OpenHome::wait`] answers them, or a node does.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn listen(&mut self, path: &Path) -> Result<(), StartError> {
        self.socket = Some(bind(path).map_err(StartError::Socket)?);
        Ok(())
    }

    /// Answers at the socket, where [`OpenHome::listen`] has opened one: everything but the passphrase is told that the
    /// keys are locked. Dropped midway it gives up the home.
    ///
    /// # Errors
    /// The keys cannot be used although they are unlocked.
    pub async fn wait(mut self) -> Result<Waited, StartError> {
        let stop = CancellationToken::new();
        if let Some((listener, _)) = &self.socket {
            let mut locked = self.keys.locked();
            let ended = async {
                tokio::select! {
                    _ = locked.wait_for(|locked| !locked) => {}
                    () = stop.cancelled() => {}
                }
            };
            serve_closed(listener, self.keys.clone(), stop.clone(), ended).await;
        }
        if self.keys.is_locked() {
            return Ok(Waited::Stopped);
        }
        self.load_transport_key()?;
        Ok(Waited::Unlocked(Box::new(self)))
    }

    fn load_transport_key(&mut self) -> Result<(), StartError> {
        let at = match self.level {
            LockLevel::Identity => TransportKeyAt::File,
            LockLevel::Full => TransportKeyAt::Keystore,
        };
        let key = load_or_create_transport_key(&self.home.join(TRANSPORT_KEY), &mut self.keys.open(), at);
        self.transport_key = key.map_err(|error| StartError::Keys(error.to_string()))?;
        Ok(())
    }
}
