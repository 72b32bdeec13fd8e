//! The `ticketing` command: parse, dispatch, exit code.

use clap::Parser;
use std::process::ExitCode;

// glibc keeps what ten thousand connections needed for a moment; this one gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = ticketing::commands::Cli::parse();
    match ticketing::commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
