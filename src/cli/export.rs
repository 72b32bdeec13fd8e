//! `ticketctl export`: the stack in the words of another tool.

use clap::{Args, Subcommand, ValueEnum};

use super::{Global, Result, print, project};
use crate::{blueprint, export::cloudformation};

#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Print the stack as a CloudFormation template, for any account. Asks AWS nothing.
    ///
    /// What it makes belongs to CloudFormation and carries none of ticketctl's own tags. Its names are the same, so that
    /// it can't be made beside the stack that ticketctl made, in the same account and region.
    Cloudformation(Arguments),
}

#[derive(Debug, Args)]
pub struct Arguments {
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

pub fn run(global: &Global, command: &ExportCommand) -> Result<u8> {
    let ExportCommand::Cloudformation(arguments) = command;
    let stack = project::stack(global)?;
    let blueprint = blueprint::compile(&stack, &cloudformation::facts(&stack));
    project::sound(&blueprint)?;
    let template = cloudformation::template(&stack, &blueprint);
    print(match arguments.format {
        Format::Yaml => serde_yaml::to_string(&template).expect("a template is plain data"),
        Format::Json => format!("{template:#}\n"),
    })
}
