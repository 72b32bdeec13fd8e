//! The plan for a person at a terminal. Colours are taken out again where there is no terminal.

use owo_colors::{OwoColorize, Style};
use std::fmt::Write;

use super::{changed_lines, left_out, value};
use crate::{
    engine::{Action, Attribute, DESTROYED, Plan, Step, Summary},
    resource::Effect,
};

/// How much to show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// The attributes of what is created, too.
    pub creations: bool,
}

/// The whole plan.
pub fn plan(plan: &Plan, detail: Detail) -> String {
    let mut out = String::new();
    let id_width = plan.steps.iter().map(|step| step.id.chars().count()).max().unwrap_or_default();
    for step in &plan.steps {
        write_step(&mut out, step, id_width, detail);
    }
    if !plan.omitted.is_empty() {
        let _ = writeln!(out, "\n{}", "Left out, because the endpoint can't hold it:".yellow());
        for line in left_out(&plan.omitted) {
            let _ = writeln!(out, "  {line}");
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(out, "{}", summary(plan));
    out
}

fn write_step(out: &mut String, step: &Step, id_width: usize, detail: Detail) {
    let (sign, style) = sign(step.action);
    let id = format!("{:id_width$}", step.id);
    let aws_id = step.aws_id.as_ref().map(|aws_id| format!(" {}", aws_id.dimmed())).unwrap_or_default();
    let _ = writeln!(out, "{} {}  {}{aws_id}", sign.style(style), id.bold(), title(&step.kind));
    // That a stack is destroyed needs no repeating for each resource.
    if matches!(step.action, Action::Replace | Action::Delete) {
        for reason in step.reasons.iter().filter(|reason| *reason != DESTROYED) {
            let _ = writeln!(out, "      {}", reason.style(style));
        }
    }
    if step.action == Action::Create && !detail.creations {
        return;
    }
    for attribute in &step.attributes {
        write_attribute(out, attribute, step.action);
    }
}

fn write_attribute(out: &mut String, attribute: &Attribute, action: Action) {
    let Attribute { path, before, after, effect } = attribute;
    if action == Action::Create {
        let _ = writeln!(out, "      {path}: {}", value(after));
        return;
    }
    let note = match effect {
        Effect::InPlace => String::new(),
        Effect::Interrupts => format!("  {}", self::effect(*effect).yellow()),
        Effect::Replace => format!("  {}", self::effect(*effect).red()),
    };
    match changed_lines(before, after) {
        Some(changed) => {
            let _ = writeln!(out, "      {path}:{note}");
            for (sign, line) in changed {
                let style = if sign == '-' { Style::new().red() } else { Style::new().green() };
                let _ = writeln!(out, "        {}", format!("{sign} {line}").style(style));
            }
        }
        None => {
            let _ = writeln!(out, "      {path}: {} → {}{note}", value(before), value(after));
        }
    }
}

/// What changing an attribute does, in words; nothing for a change in place.
pub fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::InPlace => "",
        Effect::Interrupts => "interrupts",
        Effect::Replace => "forces replacement",
    }
}

/// `nat_gateway` → `nat gateway`.
pub fn title(kind: &str) -> String {
    kind.replace('_', " ")
}

/// The sign and colour of an action.
pub fn sign(action: Action) -> (&'static str, Style) {
    match action {
        Action::Create => ("+", Style::new().green()),
        Action::Update => ("~", Style::new().yellow()),
        Action::Replace => ("±", Style::new().magenta()),
        Action::Delete => ("-", Style::new().red()),
        Action::Wait => ("…", Style::new().cyan()),
    }
}

/// The last line of a plan.
pub fn summary(plan: &Plan) -> String {
    let Summary { create, update, replace, delete, unchanged } = plan.summary;
    if plan.is_empty() {
        return format!("No changes: {unchanged} resources are as the stack file wants them.");
    }
    format!(
        "Plan: {create} to create, {update} to update, {replace} to replace, {delete} to delete, {unchanged} unchanged."
    )
}
