//! `ticketctl output`: what the stack offers to the outside.

use clap::Args;
use indexmap::IndexMap;
use serde_json::Value;
use std::io::Write;

use super::{Failure, Global, Result, project::Project};
use crate::{
    blueprint::Blueprint,
    engine::Inventory,
    resource::{self, Target},
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Which output; all if left out.
    name: Option<String>,

    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let (blueprint, inventory) = project.look().await?;
    if inventory.is_empty() {
        return Err(
            Failure::new(format!("stack {} isn't there yet", project.cx.stack)).hint("`ticketctl apply` makes it")
        );
    }
    let outputs = resolve(&blueprint, &inventory);
    let mut out = anstream::stdout().lock();
    match arguments.name {
        Some(name) => {
            let value = outputs.get(&name).ok_or_else(|| {
                let names: Vec<_> = outputs.keys().map(String::as_str).collect();
                Failure::new(format!("there is no output called {name}"))
                    .hint(format!("there are: {}", names.join(", ")))
            })?;
            match value {
                Value::String(text) if !arguments.json => writeln!(out, "{text}")?,
                value => writeln!(out, "{value}")?,
            }
        }
        None if arguments.json => {
            writeln!(out, "{}", serde_json::to_string_pretty(&outputs).expect("outputs are plain data"))?;
        }
        None => {
            drop(out);
            print_text(&outputs)?;
        }
    }
    Ok(0)
}

/// The outputs that can be told: all of whose references exist.
pub fn resolve(blueprint: &Blueprint, inventory: &Inventory) -> IndexMap<String, Value> {
    let lookup = |target: &Target| {
        let found = &inventory.resources.get(&target.id)?.found;
        match &target.output {
            None => Some(found.id.clone()),
            Some(output) => found.outputs.get(output).cloned(),
        }
    };
    let resolved = blueprint.outputs.iter().map(|(name, value)| (name.clone(), resource::resolve(value, &lookup)));
    resolved.filter(|(_, value)| resource::targets(value).is_empty()).collect()
}

pub fn print_text(outputs: &IndexMap<String, Value>) -> Result<()> {
    let width = outputs.keys().map(String::len).max().unwrap_or_default();
    let mut out = anstream::stdout().lock();
    for (name, value) in outputs {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map_or(item.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(", "),
            value => value.to_string(),
        };
        writeln!(out, "{name:width$}  {text}")?;
    }
    Ok(())
}
