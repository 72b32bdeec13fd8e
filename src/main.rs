//! Parse, dispatch, exit code; nothing else.

use clap::Parser;
use std::{io::Write, process::ExitCode};
use ticketctl::cli::{Cli, run};

fn main() -> ExitCode {
    // Exit code 2 is "changes pending" here, so a wrong command line must not use it as clap does by itself.
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nowhere to write to: the exit code still tells.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: the system gives no threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli));
    // A question that a signal has answered still waits for a line from the terminal: nobody waits for it.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            complain(&failure.render());
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Where nobody listens any more, the exit code still tells.
fn complain(text: &str) {
    if text.is_empty() {
        return;
    }
    let _ = writeln!(anstream::stderr(), "{text}");
}
