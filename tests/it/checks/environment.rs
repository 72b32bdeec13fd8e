//! The virtual environment with the checkers.

use std::{path::PathBuf, process::Command};

use crate::support::Ran;

/// A program of the environment that `TICKETCTL_CHECKS_VENV` names.
pub fn program(name: &str) -> Command {
    let environment = std::env::var("TICKETCTL_CHECKS_VENV").expect(
        "TICKETCTL_CHECKS_VENV isn't set: it names the virtual environment with cfn-lint and checkov; \
         `scripts/setup test` makes one in target/checks, and `make test` sets it",
    );
    let path = PathBuf::from(environment).join("bin").join(name);
    assert!(path.is_file(), "TICKETCTL_CHECKS_VENV names no environment with {name}: no {}", path.display());
    Command::new(path)
}

pub fn run(mut command: Command) -> Ran {
    Ran::new(command.output().expect("the checker starts"))
}

/// Where the environment's Python packages are.
pub fn packages() -> PathBuf {
    let ran = run({
        let mut python = program("python");
        python.args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]);
        python
    });
    PathBuf::from(ran.exits(0).out.trim())
}
