//! `ticketctl cost`: what the stack costs per month.

use clap::Args;
use std::io::Write;

use super::{Failure, Global, Result, print, project};
use crate::{blueprint, cost, export::cloudformation, ui};

#[derive(Debug, Args)]
pub struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(global: &Global, arguments: &Arguments) -> Result<u8> {
    let stack = project::stack(global)?;
    let blueprint = blueprint::compile(&stack, &cloudformation::facts(&stack));
    let estimate = cost::of_blueprint(&blueprint, &stack.region).ok_or_else(|| {
        let known: Vec<_> = cost::regions().collect();
        Failure::new(format!("the price list of this ticketctl has no prices of {}", stack.region))
            .hint(format!("it has {}; `--region` shows what the stack would cost there", known.join(", ")))
    })?;
    if arguments.json {
        let json = serde_json::to_string_pretty(&estimate).expect("an estimate is plain data");
        writeln!(anstream::stdout(), "{json}")?;
        return Ok(0);
    }
    print(ui::cost::table(&blueprint.stack, &estimate))
}
