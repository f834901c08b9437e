//! The node that a command talks to: one that runs, or one inside this process.

use std::time::Duration;

use p2p_api::socket;
use p2p_client::{Client, ConnectError};

use crate::arguments::Global;
use crate::console::Console;
use crate::environment::{Environment, NodeOptions, RunningNode};
use crate::failure::{Failure, Result};
use crate::interrupt::interrupted;

/// How long a node inside this process may take to say goodbye.
const GOODBYE_TIME: Duration = Duration::from_secs(10);

/// What a command gets.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) console: Console,
    pub(crate) environment: Environment,
}

/// Which nodes will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// One that runs already.
    Running,
    /// Else one inside this process.
    RunningOrInside,
}

/// Where the node is that a command talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In a process of its own: it goes on when the command has ended.
    Elsewhere,
    /// In this process: it ends with the command.
    Inside,
}

struct Session {
    client: Client,
    inside: Option<RunningNode>,
}

impl Context {
    /// Runs `command` with a node, until it ends or is interrupted; then a node inside this process is stopped.
    pub(crate) async fn with_node<T>(
        &mut self,
        need: Need,
        command: impl AsyncFnOnce(&mut Console, &Client, Home) -> Result<T>,
    ) -> Result<T> {
        let session = tokio::select! {
            session = self.open(need) => session?,
            () = interrupted() => return Err(Failure::Interrupted),
        };
        let home = if session.inside.is_some() { Home::Inside } else { Home::Elsewhere };
        let result = tokio::select! {
            // The command first: it may take an interruption as its proper end.
            biased;
            result = command(&mut self.console, &session.client, home) => result,
            () = interrupted() => Err(Failure::Interrupted),
        };
        session.close().await;
        result
    }

    async fn open(&self, need: Need) -> Result<Session> {
        let socket = self.global.socket()?.path;
        match Client::connect(&socket).await {
            Ok(client) => Ok(Session { client, inside: None }),
            Err(ConnectError::NoNode { .. }) if need == Need::RunningOrInside => {
                let home = socket::default_home(self.global.home.as_deref())
                    .map_err(|error| Failure::usage(error.to_string()))?;
                let started = (self.environment.start_node)(NodeOptions { home, socket }).await;
                let inside = started.map_err(|error| Failure::program(&error))?;
                let client = Client::connect(&inside.socket).await?;
                Ok(Session { client, inside: Some(inside) })
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Session {
    /// Waits for a node inside this process to end; a second interruption is obeyed at once.
    async fn close(self) {
        if let Some(RunningNode { shutdown, .. }) = self.inside {
            tokio::select! {
                () = shutdown() => {}
                () = interrupted() => {}
                () = tokio::time::sleep(GOODBYE_TIME) => {}
            }
        }
    }
}
