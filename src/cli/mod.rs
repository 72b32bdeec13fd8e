//! The command line: one file per command.

mod apply;
pub mod config;
mod cost;
mod deploy;
mod destroy;
mod doctor;
mod drift;
mod drill;
mod events;
mod export;
mod failure;
#[cfg(test)]
mod golden;
mod history;
mod iam;
pub mod init;
mod local;
mod lock;
mod logs;
mod output;
mod pause;
mod plan;
mod programs;
mod project;
mod releases;
mod resources;
mod rollback;
mod rollouts;
mod run;
pub mod schema;
mod session;
mod shell;
mod signals;
mod status;
pub mod validate;

use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use std::{error::Error, io::Write, path::PathBuf};

pub use failure::{Failure, Result};

/// From one YAML file to a working, crash-safe ticketing platform: on AWS or on this machine.
#[derive(Debug, Parser)]
#[command(name = "ticketctl", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ticketctl init                                  write a commented stack.yaml
  ticketctl plan                                  show what apply would do
  ticketctl apply --local                         make the stack on this machine, without an AWS account
  ticketctl apply -f stacks/prod.yaml             make or change it on AWS
  ticketctl destroy                               take it all away again

Exit codes: 0 done; 1 error; 2 changes pending (with --detailed-exitcode); 130 stopped by Ctrl-C; 143 by SIGTERM;
exec and connect: that of what they ran.";

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The stack file.
    #[arg(short, long, value_name = "STACK", global = true, env = "TICKETCTL_FILE", default_value = "stack.yaml")]
    pub file: PathBuf,

    /// Set a value of the stack file, such as services.web.instances.max=40. May be given several times.
    #[arg(long, value_name = "PATH=VALUE", global = true)]
    pub set: Vec<String>,

    /// Send all calls to this endpoint, for example LocalStack's. The SDK's own AWS_ENDPOINT_URL counts too.
    #[arg(long, value_name = "URL", global = true, env = "AWS_ENDPOINT_URL", value_parser = endpoint)]
    pub endpoint_url: Option<String>,

    /// Use the local cloud on this machine; started if it isn't running. Needs no AWS account.
    #[arg(long, global = true, conflicts_with = "profile")]
    pub local: bool,

    /// Another region than the stack file's.
    #[arg(long, global = true)]
    pub region: Option<String>,

    /// A profile of the AWS configuration.
    #[arg(long, global = true)]
    pub profile: Option<String>,

    /// When to use colours.
    #[arg(long, value_enum, value_name = "WHEN", global = true, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,

    /// Tell more; twice for every AWS call.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// Tell only results and errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// How log lines on standard error look.
    #[arg(long, value_enum, value_name = "FORMAT", global = true, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// An endpoint's URL; an empty one, as in a variable that was cleared, goes to the SDK, which takes it for none.
fn endpoint(text: &str) -> std::result::Result<String, String> {
    let parsed = text.parse::<hyper::Uri>().ok();
    let is_url = parsed.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if text.is_empty() || is_url { Ok(text.into()) } else { Err("write a URL, such as http://127.0.0.1:4566".into()) }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what apply would do.
    Plan(plan::Arguments),
    /// Make the stack as the file says.
    Apply(apply::Arguments),
    /// Bring a new release onto the instances of a service, or of all.
    Deploy(deploy::Arguments),
    /// Go back to an earlier release.
    Rollback(rollback::Arguments),
    /// List the releases of the services.
    Releases(releases::Arguments),
    /// The stack in one screen: instances, releases, database, cache, alarms.
    Status(status::Arguments),
    /// What the instances of a service write.
    Logs(logs::Arguments),
    /// What AWS did to the stack: launches, terminations, failovers.
    Events(events::Arguments),
    /// Run a command on a service's instances, through Systems Manager.
    Exec(session::ExecArguments),
    /// Open a terminal on an instance, through Systems Manager.
    Connect(session::ConnectArguments),
    /// Break something on purpose, and tell what visitors noticed.
    Drill(drill::Arguments),
    /// Take the instances away and stop the database, until `resume`.
    Pause(pause::Arguments),
    /// Wake a paused stack up.
    Resume(pause::Arguments),
    /// Take away everything that the stack owns.
    Destroy(destroy::Arguments),
    /// Show what has moved outside ticketctl since the last apply.
    Drift(plan::Output),
    /// Ask the endpoint what it is, and what of this stack it can hold.
    Doctor(doctor::Arguments),
    /// Print the stack's outputs, or one of them.
    Output(output::Arguments),
    /// List everything that the stack owns.
    Resources(resources::Arguments),
    /// The stack's lock.
    #[command(subcommand)]
    Lock(lock::LockCommand),
    /// List the last runs.
    History(history::Arguments),
    /// The local cloud on this machine.
    #[command(subcommand)]
    Local(local::LocalCommand),
    /// Check the stack file.
    Validate {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of stack files, for editors.
    Schema,
    /// Write a commented stack file to start from.
    Init {
        /// Overwrite an existing file.
        #[arg(long)]
        force: bool,
    },
    /// The stack as ticketctl understands it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show what the stack costs per month, by the price list in ticketctl or, with --live, by AWS's own.
    Cost(cost::Arguments),
    /// What the stack needs of IAM.
    #[command(subcommand)]
    Iam(iam::IamCommand),
    /// Print the stack in the words of another tool.
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Print a completion script for a shell.
    Completions { shell: clap_complete::Shell },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective stack, and where each value comes from.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Global {
    /// What is laid over the stack file. Zones, certificates and names depend on the region, so `--region` counts as a value.
    fn sets(&self) -> Vec<String> {
        let region = self.region.iter().map(|region| format!("region={}", literal(region)));
        self.set.iter().cloned().chain(region).collect()
    }
}

/// A text as the value of a `--set`, whatever is in it.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace("${", "$${")
}

/// Runs the command; the answer is the exit code.
///
/// # Errors
/// Whatever went wrong, with its exit code.
pub async fn run(cli: Cli) -> Result<u8> {
    let Cli { global, command } = cli;
    start_logging(&global);
    global.color.write_global();
    match command {
        Command::Plan(arguments) => plan::run(&global, arguments).await,
        Command::Apply(arguments) => apply::run(&global, arguments).await,
        Command::Deploy(arguments) => deploy::run(&global, arguments).await,
        Command::Rollback(arguments) => rollback::run(&global, arguments).await,
        Command::Releases(arguments) => releases::run(&global, arguments).await,
        Command::Status(arguments) => status::run(&global, arguments).await,
        Command::Logs(arguments) => logs::run(&global, arguments).await,
        Command::Events(arguments) => events::run(&global, arguments).await,
        Command::Exec(arguments) => session::exec(&global, arguments).await,
        Command::Connect(arguments) => session::connect(&global, arguments).await,
        Command::Drill(arguments) => drill::run(&global, arguments).await,
        Command::Pause(arguments) => pause::pause(&global, arguments).await,
        Command::Resume(arguments) => pause::resume(&global, arguments).await,
        Command::Destroy(arguments) => destroy::run(&global, arguments).await,
        Command::Drift(output) => drift::run(&global, output).await,
        Command::Doctor(arguments) => doctor::run(&global, arguments).await,
        Command::Output(arguments) => output::run(&global, arguments).await,
        Command::Resources(arguments) => resources::run(&global, arguments).await,
        Command::Lock(command) => lock::run(&global, command).await,
        Command::History(arguments) => history::run(&global, arguments).await,
        Command::Local(command) => local::run(&global, command).await,
        Command::Validate { json } => validate_command(&global, json),
        Command::Schema => print(schema::run()),
        Command::Init { force } => {
            let failure = |error: init::InitError| {
                error.source().into_iter().fold(Failure::new(error.to_string()), Failure::caused_by)
            };
            print(init::run(&global.file, force).map_err(failure)?)
        }
        Command::Config(ConfigCommand::Show { json }) => {
            let show = if json { config::show_json } else { config::show };
            print(show(&global.file, &global.sets()).map_err(|findings| Failure::rendered(findings.render(true)))?)
        }
        Command::Cost(arguments) => cost::run(&global, &arguments).await,
        Command::Iam(command) => iam::run(&global, &command),
        Command::Export(command) => export::run(&global, &command),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man => shell::man(),
    }
}

fn print(text: impl std::fmt::Display) -> Result<u8> {
    write!(anstream::stdout(), "{text}")?;
    Ok(0)
}

/// A line on standard output. Unlike `println!` it fails where nobody reads any more, instead of panicking.
fn say(line: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(anstream::stdout(), "{line}")?)
}

fn validate_command(global: &Global, json: bool) -> Result<u8> {
    if json {
        let (valid, findings) = validate::run_json(&global.file, &global.sets());
        writeln!(anstream::stdout(), "{findings:#}")?;
        return Ok(u8::from(!valid));
    }
    let checked = validate::run(&global.file, &global.sets(), true);
    print(checked.map_err(|findings| Failure::rendered(findings.render(true)))?)
}

/// Log lines go to standard error. `TICKETCTL_LOG` takes a tracing filter for those who look for something special.
fn start_logging(global: &Global) {
    use tracing_subscriber::{
        EnvFilter, Layer,
        filter::{FilterExt, filter_fn},
        layer::SubscriberExt,
        util::SubscriberInitExt,
    };
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) => "ticketctl=warn",
        (_, 1) => "ticketctl=debug,warn",
        _ => "ticketctl=trace,aws_smithy_runtime=debug,info",
    };
    let filter = EnvFilter::try_from_env("TICKETCTL_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match global.log_format {
        LogFormat::Text => layer.with_ansi(false).boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    let safe = filter_fn(|event| may_be_logged(event.target(), *event.level()));
    // A second start, in a test, keeps the first one's settings.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter.and(safe))).try_init();
}

/// The SDK traces the bodies of requests and answers: Redis's password and other secrets are among them. No setting may
/// let them into a log.
fn may_be_logged(target: &str, level: tracing::Level) -> bool {
    level <= tracing::Level::DEBUG || target.starts_with("ticketctl")
}

trait WriteGlobal {
    fn write_global(self);
}

impl WriteGlobal for ColorChoice {
    fn write_global(self) {
        match self {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

#[cfg(test)]
mod tests {
    use super::{endpoint, may_be_logged};
    use tracing::Level;

    #[test]
    fn an_endpoint_is_a_url() {
        for good in ["http://127.0.0.1:4566", "https://aws.example.com/base", ""] {
            assert_eq!(endpoint(good).as_deref(), Ok(good));
        }
        for bad in ["foo:bar", "127.0.0.1:4566", "ftp://x", "http://", "localhost"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_setting_lets_the_bodies_of_requests_into_a_log() {
        assert!(!may_be_logged("aws_smithy_runtime::client::orchestrator", Level::TRACE));
        assert!(may_be_logged("aws_smithy_runtime::client::orchestrator", Level::DEBUG));
        assert!(may_be_logged("ticketctl::engine", Level::TRACE));
    }
}
