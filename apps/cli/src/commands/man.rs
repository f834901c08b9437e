//! `p2p man [DIR]`.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::node::NodeArguments;

/// Prints the manual page, or writes those of all commands into a folder.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p man ~/.local/share/man/man1")]
pub(crate) struct Arguments {
    /// Where to write all pages; made if it is not there.
    dir: Option<PathBuf>,
}

pub(crate) fn run(console: &mut Console, arguments: &Arguments) -> Result<()> {
    let programs = [crate::arguments::Arguments::command(), NodeArguments::command()];
    let Some(dir) = &arguments.dir else {
        let mut page = Vec::new();
        let [p2p, _] = programs;
        Man::new(p2p).render(&mut page).map_err(|error| Failure::disk("render the page", &error))?;
        return console.write(&page);
    };
    let failed = |error| Failure::disk(&format!("write the pages into {}", dir.display()), &error);
    fs::create_dir_all(dir).map_err(failed)?;
    for program in programs {
        clap_mangen::generate_to(program, dir).map_err(failed)?;
    }
    Ok(())
}
