//! From arguments to an exit status.

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;

use crate::arguments::{Arguments, Command};
use crate::commands;
use crate::console::Console;
use crate::environment::{Environment, NodeEnvironment, Streams};
use crate::failure::{Failure, Report, Result};
use crate::node::{self, NodeArguments};
use crate::session::Context;

/// Runs `p2p` with its arguments, the first of which is the program's name. Returns the exit status.
pub async fn run(args: impl IntoIterator<Item = OsString>, mut environment: Environment) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let streams = std::mem::replace(&mut environment.streams, Streams::standard());
    let Arguments { global, command } = match Arguments::try_parse_from(&args) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&args, streams, &error),
    };
    (environment.init_logs)(global.verbosity());
    let console = Console::new(streams, global.json, global.quiet);
    let mut context = Context { global, console, environment };
    let result = dispatch(&mut context, command).await;
    finish(&mut context.console, result)
}

/// Runs `p2pnode` with its arguments, the first of which is the program's name. Returns the exit status.
pub async fn run_node(args: impl IntoIterator<Item = OsString>, mut environment: NodeEnvironment) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let streams = std::mem::replace(&mut environment.streams, Streams::standard());
    let NodeArguments { global, command } = match NodeArguments::try_parse_from(&args) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&args, streams, &error),
    };
    (environment.init_logs)(global.verbosity());
    let mut console = Console::new(streams, global.json, global.quiet);
    let result = node::dispatch(&mut console, &environment, global, command).await;
    finish(&mut console, result)
}

async fn dispatch(context: &mut Context, command: Command) -> Result<()> {
    match command {
        Command::Share(arguments) => commands::share::run(context, arguments).await,
        Command::Shares => commands::shares::run(context).await,
        Command::Unshare(arguments) => commands::unshare::run(context, arguments).await,
        Command::Clone(arguments) => commands::clone::run(context, arguments).await,
        Command::Ls(arguments) => commands::ls::run(context, arguments).await,
        Command::Cat(arguments) => commands::cat::run(context, arguments).await,
        Command::Info(arguments) => commands::info::run(context, arguments).await,
        Command::Sync(arguments) => commands::sync::run(context, arguments).await,
        Command::Conflicts(arguments) => commands::conflicts::run(context, arguments).await,
        Command::Writers(arguments) => commands::writers::run(context, arguments).await,
        Command::Log(arguments) => commands::log::run(context, arguments).await,
        Command::Diff(arguments) => commands::diff::run(context, arguments).await,
        Command::Restore(arguments) => commands::restore::run(context, arguments).await,
        Command::Tag(arguments) => commands::tag::run(context, arguments).await,
        Command::Open(arguments) => commands::open::run(context, arguments).await,
        Command::Peers => commands::peers::run(context).await,
        Command::Dial(arguments) => commands::dial::run(context, arguments).await,
        Command::Doctor(arguments) => commands::doctor::run(context, arguments).await,
        Command::Ping(arguments) => commands::ping::run(context, arguments).await,
        Command::App(arguments) => commands::app::run(context, arguments).await,
        Command::Dht(arguments) => commands::dht::run(context, arguments).await,
        Command::Name(arguments) => commands::name::run(context, arguments).await,
        Command::Identity(arguments) => commands::identity::run(context, arguments).await,
        Command::Contact(arguments) => commands::contact::run(context, arguments).await,
        Command::Lock(arguments) => commands::keystore::lock(context, arguments).await,
        Command::Unlock(arguments) => commands::keystore::unlock(context, arguments).await,
        Command::Passphrase(arguments) => commands::keystore::passphrase(context, arguments).await,
        Command::Du => commands::du::run(context).await,
        Command::Gc(arguments) => commands::gc::run(context, arguments).await,
        Command::Repair => commands::repair::run(context).await,
        Command::Api(arguments) => commands::api::run(context, arguments).await,
        Command::Completions(arguments) => commands::completions::run(&mut context.console, &arguments),
        Command::Man(arguments) => commands::man::run(&mut context.console, &arguments),
    }
}

fn finish(console: &mut Console, result: Result<()>) -> u8 {
    let Err(failure) = result else { return 0 };
    if let Some(report) = failure.report() {
        console.report(&report);
    }
    failure.exit_status()
}

/// Help and version are results; everything else is wrong usage.
fn refuse(args: &[OsString], streams: Streams, error: &clap::Error) -> u8 {
    let is_asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let is_json = args.iter().any(|arg| arg == "--json");
    let is_terminal = if is_asked_for { streams.is_out_terminal } else { streams.is_err_terminal };
    let rendered = error.render();
    let text = if is_terminal { rendered.ansi().to_string() } else { rendered.to_string() };
    let mut console = Console::new(streams, is_json && !is_asked_for, false);
    if is_asked_for {
        let written = console.write(text.as_bytes());
        return finish(&mut console, written);
    }
    if is_json {
        let mut lines = rendered.to_string().trim_start_matches("error: ").trim().to_owned();
        let usage = lines.find("\n\nUsage:").map(|at| lines.split_off(at));
        let hint = usage.map(|usage| usage.trim().to_owned());
        console.report(&Report { code: p2p_api::ErrorKind::InvalidInput.code(), message: lines, hint });
    } else {
        console.note(text.trim_end());
    }
    Failure::usage("").exit_status()
}
