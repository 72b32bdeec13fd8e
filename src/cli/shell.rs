//! Completion scripts and the manual page, made from the command line's own definition.

use clap::CommandFactory;
use std::io::Write;

use super::{Cli, Result};

pub fn completions(shell: clap_complete::Shell) -> Result<u8> {
    // Not straight to standard output: the generator panics where nobody reads it to its end.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ticketctl", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(0)
}

pub fn man() -> Result<u8> {
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
    Ok(0)
}
