//! `${env:NAME}` and `${env:NAME:-default}` in values.

use super::diagnostic::{Diagnostic, Sources, Span};
use super::tree::{Node, Value};

/// Reads an environment variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces every `${env:…}` below this node. `$${` stands for a literal `${`.
pub(super) fn interpolate(
    node: &mut Node,
    environment: Environment<'_>,
    sources: &Sources,
    findings: &mut Vec<Diagnostic>,
) {
    match &mut node.value {
        Value::Null | Value::Empty | Value::Refused => {}
        Value::List(items) => {
            for item in items {
                interpolate(item, environment, sources, findings);
            }
        }
        Value::Map(map) => {
            for entry in map.values_mut() {
                interpolate(&mut entry.node, environment, sources, findings);
            }
        }
        Value::Scalar { text, .. } if !text.contains("${") => {}
        Value::Scalar { text, .. } => match expand(text, environment) {
            // An expression that yields nothing leaves the key to its default.
            Ok(expanded) if expanded.is_empty() => node.value = Value::Null,
            Ok(expanded) => {
                node.value = Value::Scalar {
                    text: expanded,
                    // YAML asks for quotes around `${…}` in some places, so they don't make it a text.
                    quoted: false,
                };
            }
            Err(problem) => {
                let place = locate(&node.span, &problem.expression, sources);
                let mut finding = Diagnostic::error(problem.code, problem.message).label(place, problem.label);
                finding.help.push(problem.help);
                findings.push(finding);
                node.value = Value::Refused;
            }
        },
    }
}

struct Problem {
    code: &'static str,
    expression: String,
    message: String,
    label: &'static str,
    help: String,
}

fn expand(text: &str, environment: Environment<'_>) -> Result<String, Problem> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            expanded.push_str(&rest[..at - 1]);
            expanded.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        expanded.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}').map(|end| at + end) else {
            return Err(Problem {
                code: "expression",
                expression: rest[at..].to_owned(),
                message: "`${` without its `}`".to_owned(),
                label: "",
                help: "write `${env:NAME}`, or `$${` for the characters themselves".to_owned(),
            });
        };
        let expression = &rest[at..=end];
        expanded.push_str(&value_of(expression, environment)?);
        rest = &rest[end + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The value of one whole `${…}`.
fn value_of(expression: &str, environment: Environment<'_>) -> Result<String, Problem> {
    let inner = &expression[2..expression.len() - 1];
    let body = inner.strip_prefix("env:").unwrap_or_default();
    let (name, default) = match body.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (body, None),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(Problem {
            code: "expression",
            expression: expression.to_owned(),
            message: format!("`{expression}` is no expression that ticketctl knows"),
            label: "not understood",
            help: "write `${env:NAME}` or `${env:NAME:-default}`; `$${` stands for the characters themselves"
                .to_owned(),
        });
    }
    // As in the shell, `:-` also steps in for a variable that is set to nothing.
    let value = environment(name).filter(|value| default.is_none() || !value.is_empty());
    value.or_else(|| default.map(str::to_owned)).ok_or_else(|| Problem {
        code: "environment-variable",
        expression: expression.to_owned(),
        message: format!("the environment variable `{name}` is not set"),
        label: "needed here",
        help: format!("set {name}, or give a default: `${{env:{name}:-value}}`"),
    })
}

/// The expression's own place if it can be found in what was written, else the whole value's.
fn locate(span: &Span, expression: &str, sources: &Sources) -> Span {
    let text = &sources.get(span.source).text;
    let written = text.get(span.range.clone()).unwrap_or_default();
    match written.find(expression) {
        Some(at) => {
            let start = span.range.start + at;
            Span { source: span.source, range: start..start + expression.len() }
        }
        None => span.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Option<String> {
        let environment = |name: &str| match name {
            "HOME_OF" => Some("attic".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        expand(text, &environment).ok()
    }

    #[test]
    fn expressions_are_replaced() {
        for (text, result) in [
            ("${env:HOME_OF}", Some("attic")),
            ("x-${env:HOME_OF}-${env:HOME_OF}", Some("x-attic-attic")),
            ("${env:NOPE:-cellar}", Some("cellar")),
            ("${env:NOPE:-}", Some("")),
            ("${env:EMPTY:-cellar}", Some("cellar")),
            ("${env:EMPTY}", Some("")),
            ("$${env:HOME_OF}", Some("${env:HOME_OF}")),
            ("${env:NOPE}", None),
            ("${env:}", None),
            ("${env:A B}", None),
            ("${HOME_OF}", None),
            ("${env:HOME_OF", None),
            ("$", Some("$")),
        ] {
            assert_eq!(expanded(text).as_deref(), result, "{text}");
        }
    }
}
