//! `p2pnode`: the daemon, and what is asked of it.

use std::process::ExitCode;
use std::time::Duration;

use p2p_cli::{GatewaySetting, NodeEnvironment, RelaySetting, StartOptions};
use p2pnode_daemon::{
    Flags, GatewayFlag, Place, RelayMode, State, Verbosity, api_error, levels, load_config, run_daemon,
};

/// How long blocking work may go on after the node has said goodbye.
const THREADS_DEADLINE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let environment = NodeEnvironment::new(|options| Box::pin(start(options)), config)
        .with_logs(|verbosity| drop(p2pnode_daemon::init_log(Verbosity::Daemon, levels(verbosity))));
    let status = runtime.block_on(p2p_cli::run_node(std::env::args_os(), environment));
    runtime.shutdown_timeout(THREADS_DEADLINE);
    ExitCode::from(status)
}

async fn start(options: StartOptions) -> anyhow::Result<()> {
    let flags = flags(&options);
    let place = Place { home: Some(options.home), api: Some(options.socket.path) };
    let json = options.json;
    let print = move |state: &State| if json { state.to_json() } else { state.to_string() };
    run_daemon(&place, &flags, print).await.map_err(api_error)
}

fn config(options: &StartOptions) -> anyhow::Result<String> {
    let (config, _) = load_config(&options.home, &flags(options)).map_err(api_error)?;
    if options.json {
        return Ok(serde_json::to_string(&config)? + "\n");
    }
    Ok(config.to_commented_toml())
}

fn flags(options: &StartOptions) -> Flags {
    let relay = options.relay.map(|relay| match relay {
        RelaySetting::Off => RelayMode::Off,
        RelaySetting::Trusted => RelayMode::Trusted,
        RelaySetting::Public => RelayMode::Public,
    });
    let gateway = options.gateway.as_ref().map(|gateway| match gateway {
        GatewaySetting::Off => GatewayFlag::from("off"),
        GatewaySetting::Localhost(port) => GatewayFlag::from(format!("localhost:{port}").as_str()),
        GatewaySetting::At(address) => GatewayFlag::from(address.to_string().as_str()),
    });
    Flags {
        config: options.config.clone(),
        listen: options.listen.clone(),
        bootstrap: options.bootstrap.clone(),
        network: options.network.clone(),
        no_mdns: options.no_mdns,
        no_port_mapping: options.no_port_mapping,
        relay,
        gateway,
        no_dns: false,
    }
}
