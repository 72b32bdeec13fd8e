//! `ticketctl plan`: what apply would do.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
};

use super::{
    Failure, Global, Result, pause, programs,
    project::{self, Project},
    rollouts,
};
use crate::{
    aws::Context,
    blueprint::Blueprint,
    engine::{self, Action, Plan},
    preflight::Outlook,
    resource::{Kind, Subnet},
    ui,
};

/// How the plan is told.
#[derive(Debug, Args)]
pub struct Output {
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Exit with 2 instead of 0 when there are changes.
    #[arg(long)]
    pub detailed_exitcode: bool,
}

#[derive(Debug, Args)]
pub struct Arguments {
    /// Write the plan to a file, for `apply --plan FILE`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
    /// For a comment on a pull request.
    Markdown,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let (blueprint, plan, outlook) = match unchanged(&project, &arguments).await? {
        Some((blueprint, plan)) => (blueprint, plan, None),
        None => {
            let (blueprint, mut inventory) = project.look().await?;
            tell(&project, &blueprint, &inventory).await?;
            let plan = make(&blueprint, &mut inventory)?;
            let outlook = Outlook::of(&project.cx, &blueprint, &inventory, &plan).await;
            (blueprint, plan, outlook.map_err(|cycle| Failure::new(cycle.to_string()))?)
        }
    };
    print(global, &plan, outlook.as_ref(), &arguments.output)?;
    if let Some(path) = &arguments.out {
        SavedPlan::new(&project.cx, blueprint, plan.clone()).await?.write(path)?;
        if !global.quiet {
            ui::tell(format_args!("The plan is in {0}; `ticketctl apply --plan {0}` carries it out.", path.display()));
        }
    }
    Ok(exit_code(&plan, &arguments.output))
}

/// The plan if a sparing look shows that nothing is to do. A plan that is to be carried out rests on a full look.
async fn unchanged(project: &Project, arguments: &Arguments) -> Result<Option<(Blueprint, Plan)>> {
    if arguments.out.is_some() {
        return Ok(None);
    }
    let (blueprint, mut inventory) = project.glance().await?;
    let plan = make(&blueprint, &mut inventory)?;
    if !plan.is_empty() || !plan.waits.is_empty() {
        return Ok(None);
    }
    tell(project, &blueprint, &inventory).await?;
    Ok(Some((blueprint, plan)))
}

/// What whoever reads the plan should know about the services' releases and rest.
async fn tell(project: &Project, blueprint: &Blueprint, inventory: &engine::Inventory) -> Result<()> {
    programs::check(project, blueprint, false).await?;
    rollouts::tell_given_up(project, blueprint, inventory);
    rollouts::tell_under_way(project, inventory);
    let paused: Vec<_> = pause::paused(inventory).into_iter().collect();
    if !paused.is_empty() {
        project.tell_warning(format_args!("{} is paused; `ticketctl resume` wakes the stack up", paused.join(", ")));
    }
    Ok(())
}

/// The plan, with a mistake in the blueprint as an error. The inventory keeps, of several with one logical id, the one that fits.
pub fn make(blueprint: &Blueprint, inventory: &mut engine::Inventory) -> Result<Plan> {
    project::sound(blueprint)?;
    let planned = engine::choose(blueprint, inventory).and_then(|()| engine::plan(blueprint, inventory));
    let plan = planned.map_err(|cycle| Failure::new(cycle.to_string()))?;
    if plan.steps.iter().any(|step| step.id == "vpc" && step.action == Action::Replace) {
        return Err(Failure::new("the network of a stack that is there can't be changed: all that is in it would go")
            .hint("give the new network.cidr to a stack of another name and move over, or destroy this one first"));
    }
    match taken_range(&plan, inventory) {
        Some(message) => Err(Failure::new(message).hint(
            "network.subnets is in the order of network.zones: let each zone that stays keep its networks, and give new \
             zones others",
        )),
        None => Ok(plan),
    }
}

/// A new subnet whose addresses another one has that is to go as well. It never would: what lives in it can move only
/// once the new ones are there.
fn taken_range(plan: &Plan, inventory: &engine::Inventory) -> Option<String> {
    let is_new = |id: &str| {
        plan.steps.iter().any(|step| step.id == id && matches!(step.action, Action::Create | Action::Replace))
    };
    let subnets = inventory.resources.iter().filter(|(_, owned)| owned.kind.name() == Subnet::NAME);
    let taken: HashMap<&Value, &str> =
        subnets.filter_map(|(id, owned)| Some((owned.found.spec.get("cidr")?, id.as_str()))).collect();
    plan.steps.iter().filter(|step| step.kind == Subnet::NAME && is_new(&step.id)).find_map(|step| {
        let cidr = &step.attributes.iter().find(|attribute| attribute.path == "cidr")?.after;
        let owner = taken.get(cidr).filter(|owner| **owner != step.id)?;
        Some(format!("{} is to have {}, which {owner} has", step.id, cidr.as_str().unwrap_or_default()))
    })
}

/// Prints a plan and, if it does something, what it leads to.
pub fn print(global: &Global, plan: &Plan, outlook: Option<&Outlook>, output: &Output) -> Result<()> {
    let mut out = anstream::stdout().lock();
    match output.format {
        Format::Text => {
            write!(out, "{}", ui::text::plan(plan, ui::text::Detail { creations: global.verbose > 0 }))?;
            if let Some(outlook) = outlook {
                write!(out, "\n{}", ui::outlook::text(outlook))?;
            }
        }
        Format::Json => {
            let mut json = serde_json::to_value(plan).expect("a plan is plain data");
            if let Some(outlook) = outlook {
                json["outlook"] = serde_json::to_value(outlook).expect("an outlook is plain data");
            }
            writeln!(out, "{json:#}")?;
        }
        Format::Markdown => {
            write!(out, "{}", ui::markdown::plan(plan))?;
            if let Some(outlook) = outlook {
                let text = anstream::adapter::strip_str(&ui::outlook::text(outlook)).to_string();
                write!(out, "\n```text\n{text}```\n")?;
            }
        }
    }
    Ok(())
}

pub fn exit_code(plan: &Plan, output: &Output) -> u8 {
    if output.detailed_exitcode && !plan.is_empty() { 2 } else { 0 }
}

/// A plan in a file, with everything that carrying it out needs.
#[derive(Serialize, Deserialize)]
pub struct SavedPlan {
    account: String,
    region: String,
    pub blueprint: Blueprint,
    pub plan: Plan,
}

impl SavedPlan {
    async fn new(cx: &Context, blueprint: Blueprint, plan: Plan) -> Result<SavedPlan> {
        Ok(SavedPlan::of(cx.account().await?, &cx.region, blueprint, plan))
    }

    pub(super) fn of(account: &str, region: &str, blueprint: Blueprint, plan: Plan) -> SavedPlan {
        SavedPlan { account: account.to_owned(), region: region.to_owned(), blueprint, plan }
    }

    /// All or nothing, and for the owner's eyes alone: a plan tells much about a platform.
    fn write(&self, path: &Path) -> Result<()> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::new(format!("can't write {}", path.display())).caused_by(error);
        // A pipe or a device, such as /dev/stdout, is written to; a file in its place would help nobody.
        if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let mut text = serde_json::to_vec_pretty(self).map_err(|error| failed(&error))?;
            text.push(b'\n');
            let mut device = std::fs::File::options().write(true).open(path).map_err(|error| failed(&error))?;
            return device.write_all(&text).map_err(|error| failed(&error));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
        serde_json::to_writer_pretty(&mut file, self).map_err(|error| failed(&error))?;
        file.as_file().sync_all().map_err(|error| failed(&error))?;
        file.persist(path).map_err(|error| failed(&error.error))?;
        Ok(())
    }

    /// Reads a plan that `plan --out` has written.
    pub fn read(path: &Path) -> Result<SavedPlan> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(format!("can't read the plan {}", path.display())).caused_by(error)
        };
        let hint = "`ticketctl plan --out FILE` writes plans, of this version of ticketctl";
        let text = std::fs::read(path).map_err(|error| failed(&error))?;
        let saved: SavedPlan = serde_json::from_slice(&text).map_err(|error| failed(&error).hint(hint))?;
        saved.check().map_err(|flaw| failed(&flaw).hint(hint))?;
        Ok(saved)
    }

    /// Whether it can be carried out: another version, or somebody's hand, may have written it.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    fn check(&self) -> std::result::Result<(), String> {
        let (ours, theirs) = (engine::FORMAT_VERSION, self.plan.format_version);
        if theirs != ours {
            return Err(format!("it has format version {theirs}, and this ticketctl writes and reads {ours}"));
        }
        if self.blueprint.stack != self.plan.stack {
            return Err(format!("it names two stacks, {} and {}", self.plan.stack, self.blueprint.stack));
        }
        engine::check(&self.blueprint)
    }

    /// Whether the plan is for where we are connected to.
    pub async fn check_place(&self, cx: &Context) -> Result<()> {
        let here = (cx.stack.as_str(), cx.account().await?, cx.region.as_str());
        let there = (self.plan.stack.as_str(), self.account.as_str(), self.region.as_str());
        if here == there {
            return Ok(());
        }
        Err(Failure::new(format!(
            "the plan is for stack {} in account {}, {}, but this is stack {} in account {}, {}",
            there.0, there.1, there.2, here.0, here.1, here.2
        )))
    }

    /// Refuses if AWS has moved since the plan was made, saying what.
    pub fn check_unmoved(&self, now: &Plan) -> Result<()> {
        let moved: Vec<String> = moved(&self.plan, now);
        if moved.is_empty() {
            return Ok(());
        }
        let failure = Failure::new("AWS has moved since the plan was made; nothing was changed");
        Err(moved.iter().fold(failure, |failure, line| failure.caused_by(line)).hint("make a new plan"))
    }
}

/// How the same wish leads to other steps now.
fn moved(saved: &Plan, now: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &now.steps {
        match saved.steps.iter().find(|other| other.id == step.id) {
            Some(other) if other == step => {}
            Some(other) if other.action == step.action => lines.push(format!("{} differs in other ways", step.id)),
            Some(other) => {
                lines.push(
                    format!("{} is now to be {:?}d, not {:?}d", step.id, step.action, other.action).to_lowercase(),
                );
            }
            None => lines.push(format!("{} has changed: {}", step.id, step.reasons.join("; "))),
        }
    }
    for step in saved.steps.iter().filter(|step| !now.steps.iter().any(|other| other.id == step.id)) {
        lines.push(format!("{} needs no change any more", step.id));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn flaw(change: impl Fn(&mut Value)) -> Option<String> {
        let mut file = json!({
            "account": "123456789012", "region": "ap-northeast-2",
            "blueprint": {"stack": "shop-test", "outputs": {}, "nodes": {"gate": {
                "kind": "internet_gateway",
                "spec": {"vpc": "⟦vpc⟧", "attached": true},
                "tags": {"ticketctl:stack": "shop-test", "ticketctl:id": "gate"},
            }}},
            "plan": {"format_version": 1, "stack": "shop-test", "changes": [],
                "summary": {"create": 0, "update": 0, "replace": 0, "delete": 0, "unchanged": 0}},
        });
        change(&mut file);
        serde_json::from_value::<SavedPlan>(file).expect("a plan by its shape").check().err()
    }

    #[test]
    fn a_plan_of_another_version_or_by_another_hand_is_refused_in_words() {
        assert_eq!(flaw(|_| {}), None);
        let refused = |change: fn(&mut Value), word: &str| {
            let flaw = flaw(change).expect("refused");
            assert!(flaw.contains(word), "{flaw}");
        };
        refused(|file| file["plan"]["format_version"] = json!(7), "version 7");
        refused(|file| file["blueprint"]["stack"] = json!("other"), "two stacks");
        refused(|file| file["blueprint"]["nodes"]["gate"]["kind"] = json!("teapot"), "teapot");
        refused(|file| file["blueprint"]["nodes"]["gate"]["spec"] = json!({"vpc": 5}), "no internet_gateway");
        refused(|file| file["blueprint"]["nodes"]["gate"]["tags"] = json!({}), "tags");
    }
}
