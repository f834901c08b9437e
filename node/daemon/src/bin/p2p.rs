//! `p2p`: sharing, cloning and looking, with a running node or with one of its own inside.

use std::process::ExitCode;
use std::time::Duration;

use p2p_cli::{Environment, NodeOptions, RunningNode, Stay};
use p2pnode_daemon::{Flags, GatewayFlag, Place, Verbosity, api_error, levels, name_tools, open_node};

/// How long blocking work may go on after the command has said goodbye.
const THREADS_DEADLINE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let environment = Environment::new(|options| Box::pin(start(options)))
        .with_name_tools(name_tools())
        .with_logs(|verbosity| drop(p2pnode_daemon::init_log(Verbosity::Command, levels(verbosity))));
    let status = runtime.block_on(p2p_cli::run(std::env::args_os(), environment));
    runtime.shutdown_timeout(THREADS_DEADLINE);
    ExitCode::from(status)
}

/// A node inside this command, with the settings of the home's own daemon.
async fn start(options: NodeOptions) -> anyhow::Result<RunningNode> {
    let place = Place { home: Some(options.home), api: Some(options.socket) };
    // Nobody visits a node that is gone in a moment.
    let no_dns = options.stay == Stay::WhileNeeded;
    let gateway = no_dns.then_some(GatewayFlag::Off);
    let node = open_node(&place, &Flags { gateway, no_dns, ..Flags::default() }).await.map_err(api_error)?;
    let socket = node.socket().to_owned();
    Ok(RunningNode { socket, shutdown: Box::new(|| Box::pin(node.shutdown())) })
}
