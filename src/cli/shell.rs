//! Completion scripts and the manual page, made from the command line's own definition.

use clap::CommandFactory;

use super::{Cli, Result};

pub fn completions(shell: clap_complete::Shell) -> Result<u8> {
    clap_complete::generate(shell, &mut Cli::command(), "ticketctl", &mut std::io::stdout());
    Ok(0)
}

pub fn man() -> Result<u8> {
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
    Ok(0)
}
