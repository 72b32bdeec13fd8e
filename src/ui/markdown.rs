//! The plan as Markdown, for a comment on a pull request.

use std::fmt::Write;

use super::{left_out, text, value};
use crate::engine::{Action, Plan, Step};

/// The whole plan.
pub fn plan(plan: &Plan) -> String {
    let mut out = format!("### ticketctl plan: `{}`\n\n{}\n", plan.stack, text::summary(plan));
    if !plan.steps.is_empty() {
        out.push_str("\n| | resource | kind | why |\n|---|---|---|---|\n");
        for step in &plan.steps {
            let reasons = step.reasons.join("; ");
            let _ = writeln!(
                out,
                "| {} | `{}` | {} | {} |",
                word(step.action),
                step.id,
                text::title(&step.kind),
                escape(&reasons)
            );
        }
    }
    for step in plan.steps.iter().filter(|step| step.action != Action::Create && !step.attributes.is_empty()) {
        write_attributes(&mut out, step);
    }
    if !plan.omitted.is_empty() {
        out.push_str("\nLeft out, because the endpoint can't hold it:\n\n");
        for line in left_out(&plan.omitted) {
            let _ = writeln!(out, "- {line}");
        }
    }
    out
}

fn write_attributes(out: &mut String, step: &Step) {
    // What stands between HTML tags on one line isn't read as Markdown.
    let word = word(step.action).trim_matches('*');
    let _ = writeln!(out, "\n<details><summary>{word} <code>{}</code></summary>\n", step.id);
    out.push_str("| attribute | now | then | effect |\n|---|---|---|---|\n");
    for attribute in &step.attributes {
        let (before, after) = (value(&attribute.before), value(&attribute.after));
        let effect = text::effect(attribute.effect);
        let _ = writeln!(out, "| `{}` | `{}` | `{}` | {effect} |", attribute.path, escape(&before), escape(&after));
    }
    out.push_str("\n</details>\n");
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "**replace**",
        Action::Delete => "**delete**",
        Action::Wait => "wait",
    }
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('`', "'").replace('\n', " ")
}
