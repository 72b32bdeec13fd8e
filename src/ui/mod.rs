//! What people and programs see: the plan as text and Markdown, progress while a run goes on. Nothing below imports it.

pub mod cost;
pub mod markdown;
pub mod outlook;
pub mod overview;
pub mod progress;
pub mod release;
pub mod text;

use owo_colors::OwoColorize;
use serde_json::Value;
use std::{collections::BTreeMap, io::Write};

use crate::{
    engine::Omission,
    resource::{CLOSE, OPEN},
};

/// Writes a line to standard error. Where nobody reads it any more (`2>&1 | head`), the work goes on unseen: it must not
/// die of it halfway, as it would with `eprintln!`.
pub fn tell(line: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// A line on standard error that begins with "warning:".
pub fn warn(line: impl std::fmt::Display) {
    tell(format_args!("{} {line}", "warning:".yellow().bold()));
}

/// A number of bytes as people say it.
pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// The longest value that is shown whole.
const WIDTH: usize = 72;

/// A value on one line: texts in quotes, what isn't known yet named as such, what is long cut.
pub fn value(value: &Value) -> String {
    let text = match value {
        Value::Null => return "(none)".into(),
        Value::String(text) if text.contains(OPEN) && text.contains(CLOSE) => return unknown(text),
        other => {
            let text = other.to_string();
            if text.contains(OPEN) { format!("{} (known later)", named(&text)) } else { text }
        }
    };
    if text.chars().count() <= WIDTH {
        return text;
    }
    let start: String = text.chars().take(WIDTH - 1).collect();
    format!("{start}…")
}

/// What is left out, each reason once with all its logical ids: first what the endpoint lacks, then what needs that.
pub fn left_out(omitted: &[Omission]) -> Vec<String> {
    let mut reasons: BTreeMap<(bool, &str), Vec<&str>> = BTreeMap::new();
    for omission in omitted {
        reasons.entry((omission.needs.is_some(), &omission.reason)).or_default().push(&omission.id);
    }
    reasons.iter().map(|((_, reason), ids)| format!("{reason}: {}", ids.join(", "))).collect()
}

/// What differs between two texts of several lines, such as scripts: the lines that go (`-`) and those that come (`+`),
/// without what is alike before and behind them. None for all other values.
pub fn changed_lines<'a>(before: &'a Value, after: &'a Value) -> Option<Vec<(char, &'a str)>> {
    let (before, after) = (before.as_str()?, after.as_str()?);
    if !before.trim_end().contains('\n') || !after.trim_end().contains('\n') {
        return None;
    }
    let (mut gone, mut come): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    while !gone.is_empty() && gone.last() == come.last() {
        gone.pop();
        come.pop();
    }
    let alike = gone.iter().zip(&come).take_while(|(old, new)| old == new).count();
    let gone = gone.split_off(alike).into_iter().map(|line| ('-', line));
    let come = come.split_off(alike).into_iter().map(|line| ('+', line));
    Some(gone.chain(come).collect())
}

/// A text with references in it: they are known once what they point at is there.
fn unknown(text: &str) -> String {
    let whole = text.starts_with(OPEN) && text.ends_with(CLOSE) && text.matches(OPEN).count() == 1;
    let inner = text.trim_matches([OPEN, CLOSE]).trim_end_matches('!');
    if whole { format!("(known once {inner} is there)") } else { format!("{:?} (known later)", named(text)) }
}

/// References as the names of what they lead to, in round brackets.
fn named(text: &str) -> String {
    text.replace(&format!("!{CLOSE}"), ")").replace(CLOSE, ")").replace(OPEN, "(")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_scripts_only_the_lines_that_differ_are_shown() {
        let (before, after) = (json!("#!/bin/bash\na\nb\nend\n"), json!("#!/bin/bash\na\nc\nd\nend\n"));
        assert_eq!(changed_lines(&before, &after), Some(vec![('-', "b"), ('+', "c"), ('+', "d")]));
        assert_eq!(changed_lines(&before, &json!("#!/bin/bash\na\nend\n")), Some(vec![('-', "b")]));
        assert_eq!(changed_lines(&json!("one"), &after), None);
        assert_eq!(changed_lines(&json!(1), &json!(2)), None);
    }
}
