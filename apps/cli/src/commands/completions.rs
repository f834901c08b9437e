//! `p2p completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::console::Console;
use crate::failure::Result;

/// Prints completions for a shell.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p completions bash > ~/.local/share/bash-completion/completions/p2p")]
pub(crate) struct Arguments {
    /// Which shell.
    shell: Shell,
}

pub(crate) fn run(console: &mut Console, arguments: &Arguments) -> Result<()> {
    let mut text = Vec::new();
    let mut command = crate::arguments::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "p2p", &mut text);
    console.write(&text)
}
