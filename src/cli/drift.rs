//! `ticketctl drift`: what has moved outside ticketctl since the last apply.

use super::{Failure, Global, Result, plan, project::Project};
use crate::engine::{self, Inventory};

pub async fn run(global: &Global, output: plan::Output) -> Result<u8> {
    let project = Project::open(global).await?;
    let (applied, inventory) = tokio::join!(engine::record::applied(&project.cx), Inventory::take(&project.cx));
    let Some(blueprint) = applied? else {
        return Err(Failure::new(format!("nothing has been applied to stack {} yet", project.cx.stack))
            .hint("`ticketctl plan` compares AWS with the stack file"));
    };
    let mut inventory = inventory.map_err(|errors| super::project::unreadable(&errors))?;
    let plan = plan::make(&blueprint, &mut inventory)?;
    plan::print(global, &plan, None, &output)?;
    Ok(plan::exit_code(&plan, &output))
}
