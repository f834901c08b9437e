//! What the programs hand in.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use futures::future::BoxFuture;

use crate::StartOptions;

/// How to run a node inside this process.
type StartNode = dyn Fn(NodeOptions) -> BoxFuture<'static, anyhow::Result<RunningNode>> + Send + Sync;
/// How to run the daemon.
type Start = dyn Fn(StartOptions) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync;
/// How to print a configuration.
type Config = dyn Fn(&StartOptions) -> anyhow::Result<String> + Send + Sync;
type InitLogs = dyn Fn(Verbosity) + Send + Sync;
/// A tool of the name system: text in, the JSON of its result out, or a sentence about the argument that is wrong.
type Tool<A> = Box<dyn Fn(A) -> Result<serde_json::Value, String> + Send + Sync>;

/// `p2p name block …` and `p2p name revocation …`: they work without a node, but with the name system, which this crate
/// does not know.
pub struct NameTools {
    /// Makes a block.
    pub make_block: Tool<MakeBlock>,
    /// Opens a block.
    pub open_block: Tool<OpenBlock>,
    /// Verifies a revocation.
    pub verify_revocation: Tool<VerifyRevocation>,
}

/// What [`NameTools::make_block`] is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct MakeBlock {
    /// The zone's secret key as RFC 9498 prints it, hexadecimal.
    pub key: String,
    /// Number of the zone type.
    pub ztype: u32,
    /// The label.
    pub label: String,
    /// Microseconds since 1970.
    pub expires: u64,
    /// The record set, hexadecimal.
    pub rdata: String,
}

/// What [`NameTools::open_block`] is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBlock {
    /// The zone as its zTLD.
    pub zone: String,
    /// The label.
    pub label: String,
    /// The block, hexadecimal.
    pub block: String,
}

/// What [`NameTools::verify_revocation`] is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyRevocation {
    /// The message, hexadecimal.
    pub message: String,
    /// The difficulty; `None` for that of the network.
    pub difficulty: Option<u32>,
}

/// What `p2p` needs of the program around it.
pub struct Environment {
    pub(crate) start_node: Box<StartNode>,
    pub(crate) name_tools: Option<NameTools>,
    pub(crate) init_logs: Box<InitLogs>,
    pub(crate) streams: Streams,
}

impl Environment {
    /// An environment where `start_node` runs a node in this process, for the commands that can do without a daemon. Its
    /// errors may be a [`p2p_api::ApiError`], which decides the exit status.
    pub fn new<F>(start_node: F) -> Self
    where
        F: Fn(NodeOptions) -> BoxFuture<'static, anyhow::Result<RunningNode>> + Send + Sync + 'static,
    {
        Self {
            start_node: Box::new(start_node),
            name_tools: None,
            init_logs: Box::new(|_| {}),
            streams: Streams::standard(),
        }
    }

    /// With the tools of the name system.
    #[must_use]
    pub fn with_name_tools(mut self, tools: NameTools) -> Self {
        self.name_tools = Some(tools);
        self
    }

    /// Called once with the wanted verbosity, before anything is logged.
    #[must_use]
    pub fn with_logs(mut self, init: impl Fn(Verbosity) + Send + Sync + 'static) -> Self {
        self.init_logs = Box::new(init);
        self
    }

    /// Other streams than those of the process.
    #[must_use]
    pub fn with_streams(mut self, streams: Streams) -> Self {
        self.streams = streams;
        self
    }
}

/// What `p2pnode` needs of the program around it.
pub struct NodeEnvironment {
    pub(crate) start: Box<Start>,
    pub(crate) config: Box<Config>,
    pub(crate) init_logs: Box<InitLogs>,
    pub(crate) streams: Streams,
}

impl NodeEnvironment {
    /// `start` runs the daemon until it is told to stop and says by itself when it is ready; `config` prints the
    /// effective configuration with every default and its comment.
    pub fn new<F, C>(start: F, config: C) -> Self
    where
        F: Fn(StartOptions) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync + 'static,
        C: Fn(&StartOptions) -> anyhow::Result<String> + Send + Sync + 'static,
    {
        Self {
            start: Box::new(start),
            config: Box::new(config),
            init_logs: Box::new(|_| {}),
            streams: Streams::standard(),
        }
    }

    /// Called once with the wanted verbosity, before anything is logged.
    #[must_use]
    pub fn with_logs(mut self, init: impl Fn(Verbosity) + Send + Sync + 'static) -> Self {
        self.init_logs = Box::new(init);
        self
    }

    /// Other streams than those of the process.
    #[must_use]
    pub fn with_streams(mut self, streams: Streams) -> Self {
        self.streams = streams;
        self
    }
}

/// A node to be run inside this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// Where it keeps its keys and data, absolute.
    pub home: PathBuf,
    /// Where its socket is to be, absolute.
    pub socket: PathBuf,
    /// How long it will be there.
    pub stay: Stay,
}

/// How long a node inside a command lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// As long as the command has work to do: nobody will visit it.
    WhileNeeded,
    /// Until Ctrl-C, as a daemon: with its web gateway.
    UntilInterrupted,
}

/// A node that runs inside this process.
pub struct RunningNode {
    /// Its socket, which already answers.
    pub socket: PathBuf,
    /// Stops it and waits until nothing of it runs any more.
    pub shutdown: Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>,
}

/// How much to log on stderr, where `P2PNODE_LOG` does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// `-q`: errors only.
    Quiet,
    /// Warnings. For a daemon also what is rare and worth knowing.
    Normal,
    /// `-v`: what happens.
    Verbose,
    /// `-vv`: for those who look for a mistake.
    Debug,
}

/// Where results and messages go.
pub struct Streams {
    /// Results.
    pub out: Box<dyn Write + Send>,
    /// Messages, errors, progress.
    pub err: Box<dyn Write + Send>,
    /// Whether a person reads the results: colours.
    pub is_out_terminal: bool,
    /// Whether a person reads the messages: progress bars.
    pub is_err_terminal: bool,
}

impl Streams {
    /// Those of the process.
    pub fn standard() -> Self {
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            is_out_terminal: io::stdout().is_terminal(),
            is_err_terminal: io::stderr().is_terminal(),
        }
    }
}
