//! The node that a command talks to: one that runs, or one inside this process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use p2p_api::socket;
use p2p_client::{Client, ConnectError};

use crate::arguments::Global;
use crate::console::Console;
use crate::environment::{Environment, NodeOptions, RunningNode, Stay};
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
    /// Else one inside this process, for as long as the command works.
    RunningOrInside,
    /// Else one inside this process that stays until Ctrl-C.
    RunningOrStaying,
}

/// How a command goes on with its node.
pub(crate) struct Course {
    is_inside: bool,
    may_end: AtomicBool,
}

impl Course {
    /// Whether the node runs in this process and ends with the command.
    pub(crate) fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// From now on an interruption is the proper end of the command.
    pub(crate) fn may_end(&self) {
        self.may_end.store(true, Ordering::Relaxed);
    }

    /// What an interruption means by now. There is one listener for signals, as two would be woken in any order.
    fn interrupted(&self) -> Result<()> {
        if self.may_end.load(Ordering::Relaxed) { Ok(()) } else { Err(Failure::Interrupted) }
    }
}

struct Session {
    client: Client,
    inside: Option<RunningNode>,
}

impl Context {
    /// Runs `command` with a node, until it ends or is interrupted; then a node inside this process is stopped.
    pub(crate) async fn with_node(
        &mut self,
        need: Need,
        command: impl AsyncFnOnce(&mut Console, &Client, &Course) -> Result<()>,
    ) -> Result<()> {
        let session = tokio::select! {
            session = self.open(need) => session?,
            () = interrupted() => return Err(Failure::Interrupted),
        };
        let course = Course { is_inside: session.inside.is_some(), may_end: AtomicBool::new(false) };
        let result = tokio::select! {
            biased;
            result = command(&mut self.console, &session.client, &course) => result,
            () = interrupted() => course.interrupted(),
        };
        session.close().await;
        result
    }

    async fn open(&self, need: Need) -> Result<Session> {
        let socket = self.global.socket()?.path;
        match Client::connect(&socket).await {
            Ok(client) => Ok(Session { client, inside: None }),
            Err(ConnectError::NoNode { .. }) if need != Need::Running => {
                let stay = match need {
                    Need::RunningOrStaying => Stay::UntilInterrupted,
                    Need::Running | Need::RunningOrInside => Stay::WhileNeeded,
                };
                let home = socket::default_home(self.global.home.as_deref())
                    .map_err(|error| Failure::usage(error.to_string()))?;
                let started = (self.environment.start_node)(NodeOptions { home, socket, stay }).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_is_a_failure_until_the_command_may_end() {
        let course = Course { is_inside: true, may_end: AtomicBool::new(false) };
        assert!(matches!(course.interrupted(), Err(Failure::Interrupted)));
        course.may_end();
        assert!(course.interrupted().is_ok());
    }
}
