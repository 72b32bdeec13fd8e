//! `ticketctl iam`: what a stack needs of IAM.

use clap::{Args, Subcommand};

use super::{Global, Result, print, project};
use crate::{
    access::{self, Place},
    aws::partition,
    blueprint,
    export::cloudformation,
};

#[derive(Debug, Subcommand)]
pub enum IamCommand {
    /// Print the least policy with which the stack can be made, changed, paused and destroyed. Asks AWS nothing.
    ///
    /// It fits into an inline policy of a role. Not in it is what `exec`, `connect`, `drill`, `logs`, `events` and
    /// `cost --live` need besides.
    Policy(PolicyArguments),
}

#[derive(Debug, Args)]
pub struct PolicyArguments {
    /// The account that the policy is for; any if left out.
    #[arg(long, value_name = "DIGITS", default_value = "*", value_parser = account)]
    account: String,
}

fn account(text: &str) -> std::result::Result<String, String> {
    let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_account || text == "*" { Ok(text.to_owned()) } else { Err("an account has twelve digits".into()) }
}

pub fn run(global: &Global, command: &IamCommand) -> Result<u8> {
    let IamCommand::Policy(PolicyArguments { account }) = command;
    let stack = project::stack(global)?;
    let blueprint = blueprint::compile(&stack, &cloudformation::facts(&stack));
    let partition = partition(&stack.region).to_owned();
    let place = Place { partition, region: stack.region.clone(), account: account.clone() };
    let policy = access::document(&access::statements(&blueprint, &place));
    print(format!("{policy:#}\n"))
}
