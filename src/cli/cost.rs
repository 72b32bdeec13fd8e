//! `ticketctl cost`: what the stack costs per month.

use clap::Args;
use std::io::Write;

use super::{Failure, Global, Result, print, project, project::Project};
use crate::{
    aws::Error,
    blueprint::{self, Blueprint},
    cost::{self, Estimate},
    export::cloudformation,
    stack::Stack,
    ui,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Ask AWS for its prices of today instead of taking those of the list. Needs credentials with `pricing:GetProducts`.
    #[arg(long)]
    live: bool,

    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8> {
    let (name, estimate) = if arguments.live { live(global).await? } else { listed(global)? };
    if arguments.json {
        let json = serde_json::to_string_pretty(&estimate).expect("an estimate is plain data");
        writeln!(anstream::stdout(), "{json}")?;
        return Ok(0);
    }
    print(ui::cost::table(&name, &estimate))
}

fn compiled(stack: &Stack) -> Blueprint {
    blueprint::compile(stack, &cloudformation::facts(stack))
}

fn listed(global: &Global) -> Result<(String, Estimate)> {
    let stack = project::stack(global)?;
    let estimate = cost::of_blueprint(&compiled(&stack), &stack.region).ok_or_else(|| {
        let known: Vec<_> = cost::regions().collect();
        Failure::new(format!("the price list of this ticketctl has no prices of {}", stack.region)).hint(format!(
            "`--live` asks AWS for them; the list has {}, and `--region` shows what the stack would cost there",
            known.join(", ")
        ))
    })?;
    Ok((stack.name(), estimate))
}

async fn live(global: &Global) -> Result<(String, Estimate)> {
    if global.local {
        return Err(Failure::new("the local cloud has no prices").hint("leave out --local: `cost` changes nothing"));
    }
    let project = Project::open(global).await?;
    let estimate = cost::of_blueprint_live(&compiled(&project.stack), &project.cx).await.map_err(untold)?;
    Ok((project.stack.name(), estimate))
}

fn untold(error: Error) -> Failure {
    let denied = error.code.starts_with("AccessDenied");
    let failure = Failure::from(error);
    if denied {
        failure.hint("allow `pricing:GetProducts`, or leave out --live for the prices of the list")
    } else {
        failure
    }
}
