//! Parse, dispatch, exit code; nothing else.

use clap::Parser;
use std::process::ExitCode;
use ticketctl::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    // Exit code 2 is "changes pending" here, so a wrong command line must not use it as clap does by itself.
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nowhere to write to: the exit code still tells.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match run(cli).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            anstream::eprintln!("{}", failure.render());
            ExitCode::from(failure.exit_code())
        }
    }
}
