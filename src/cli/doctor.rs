//! `ticketctl doctor`: what is at the endpoint, and what of this stack it can hold.

use clap::Args;
use owo_colors::OwoColorize;
use serde::Serialize;
use std::io::Write;

use super::{Global, Result, project::Project};
use crate::{
    aws::Error,
    blueprint::{self, Images},
    engine::{self, Inventory, Omission, lock},
    preflight::{self, Finding, Scope},
    resource::Scan,
    ui,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Serialize)]
struct Findings {
    endpoint: String,
    region: String,
    account: Option<String>,
    /// What keeps apply from working at all.
    problems: Vec<String>,
    /// How many resources the stack has, and which of them the endpoint can't hold.
    resources: usize,
    omitted: Vec<Omission>,
    /// What an apply would fail of, or should know beforehand.
    preflight: Vec<Finding>,
}

impl Findings {
    fn is_well(&self) -> bool {
        self.problems.is_empty() && !self.preflight.iter().any(|finding| matches!(finding, Finding::Problem(_)))
    }
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let findings = examine(&project).await?;
    let mut out = anstream::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&findings).expect("findings are plain data"))?;
    } else {
        write!(out, "{}", render(&findings))?;
    }
    Ok(u8::from(!findings.is_well()))
}

async fn examine(project: &Project) -> Result<Findings> {
    let cx = &project.cx;
    let endpoint = match (&cx.endpoint_url, &cx.emulator) {
        (Some(url), Some(emulator)) => format!("{emulator} at {url}"),
        _ => "AWS".to_owned(),
    };
    let mut findings = Findings {
        endpoint,
        region: cx.region.clone(),
        account: None,
        problems: Vec::new(),
        resources: 0,
        omitted: Vec::new(),
        preflight: Vec::new(),
    };
    match cx.account().await {
        Ok(account) => findings.account = Some(account.to_owned()),
        Err(error) => {
            // Without an account, everything else would fail for the same reason.
            findings.problems.push(error.to_string());
            return Ok(findings);
        }
    }
    if let Err(error) = lock::status(cx).await {
        findings.problems.push(error.to_string());
    }
    let scan = Scan::new(cx);
    let programs = project.programs().await;
    let facts = blueprint::facts(&scan, &project.stack, programs, Images::Kept);
    let (facts, inventory) = tokio::join!(facts, Inventory::of(&scan));
    let told = |errors: Vec<Error>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    match (facts, inventory) {
        (Ok(facts), Ok(inventory)) => {
            let blueprint = blueprint::compile(&project.stack, &facts);
            findings.resources = blueprint.nodes.len();
            findings.problems.extend(blueprint.faults.iter().cloned());
            match engine::plan(&blueprint, &inventory) {
                Ok(plan) => {
                    findings.preflight = preflight::run(cx, &blueprint, &plan, Scope::Stack).await;
                    findings.omitted = plan.omitted;
                }
                Err(cycle) => findings.problems.push(cycle.to_string()),
            }
        }
        (facts, inventory) => {
            findings.problems.extend(facts.err().map(|error| error.to_string()));
            findings.problems.extend(inventory.err().map(told).unwrap_or_default());
        }
    }
    Ok(findings)
}

fn render(findings: &Findings) -> String {
    let mut text = format!("endpoint  {}\nregion    {}\n", findings.endpoint, findings.region);
    if let Some(account) = &findings.account {
        text.push_str(&format!("account   {account}\n"));
    }
    for problem in &findings.problems {
        text.push_str(&format!("{} {problem}\n", "✗".red()));
    }
    if findings.problems.is_empty() {
        let held = findings.resources - findings.omitted.len();
        text.push_str(&format!("{} it can hold {held} of the stack's {} resources\n", "✓".green(), findings.resources));
    }
    for finding in &findings.preflight {
        text.push_str(&format!("{}\n", ui::outlook::finding(finding)));
    }
    for line in ui::left_out(&findings.omitted) {
        text.push_str(&format!("{} {line}\n", "·".yellow()));
    }
    text
}
