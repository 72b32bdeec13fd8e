//! Stack files from end to end: what is accepted, and what people see when it isn't.

mod defects;
mod diagnostics;
mod hostile;
mod loading;
mod ready_stacks;

use super::load::load_text_in;
use super::{Diagnostics, Loaded};

/// Loads a text with these `--set` arguments and nothing in the environment but `NAME=value` and `EMPTY=`.
fn load_with(text: &str, sets: &[&str]) -> Result<Loaded, Diagnostics> {
    let environment = |name: &str| match name {
        "NAME" => Some("value".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    load_text_in("stack.yaml", text.as_bytes(), &sets, &environment)
}

/// Loads a text that must be accepted.
fn accepted(text: &str) -> Loaded {
    load_with(text, &[]).unwrap_or_else(|diagnostics| panic!("refused:\n{diagnostics}"))
}

/// A small valid stack with these lines added at the end.
fn stack_with(lines: &str) -> String {
    format!("project: ticketing\nenvironment: dev\nregion: ap-northeast-2\n{lines}")
}

/// A small valid stack with one service, `web`, of which these lines are a part.
fn service_with(lines: &str) -> String {
    let lines = lines.replace('\n', "\n    ");
    stack_with(&format!("services:\n  web:\n    artifact: app\n    {lines}\n"))
}

/// All findings about a text, as people see them.
fn findings(text: &str, sets: &[&str]) -> String {
    match load_with(text, sets) {
        Ok(loaded) => loaded.warnings.render(false),
        Err(diagnostics) => diagnostics.render(false),
    }
}

/// The codes of all findings about a text, with `?` behind those that are only warnings.
fn codes(text: &str) -> Vec<String> {
    let list = match load_with(text, &[]) {
        Ok(loaded) => loaded.warnings.list,
        Err(diagnostics) => diagnostics.list,
    };
    let code = |d: &super::Diagnostic| match d.severity {
        super::Severity::Error => d.code.to_owned(),
        super::Severity::Warning => format!("{}?", d.code),
    };
    list.iter().map(code).collect()
}
