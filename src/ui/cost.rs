//! What a stack costs, as a table.

use owo_colors::OwoColorize;
use std::fmt::Write;

use crate::cost::{Amount, Estimate, Line, Sources};

/// The whole table, with what it rests on and what it leaves out.
pub fn table(stack: &str, estimate: &Estimate) -> String {
    let width = |text: fn(&Line) -> usize| estimate.lines.iter().map(text).max().unwrap_or_default();
    let (id, what) = (width(|line| line.id.len()), width(|line| line.what.chars().count() + 1));
    let prices = match &estimate.sources {
        Some(_) => "on-demand prices of AWS's own list".to_owned(),
        None => format!("on-demand list prices of {}", estimate.as_of),
    };
    let mut out = format!("Stack {stack} in {}: US dollars per month, {prices}\n\n", estimate.region.bold());
    let _ = writeln!(out, "{:id$}  {:what$}  {:>10} {:>10} {:>10}", "", "", "smallest", "as begun", "largest");
    for line in &estimate.lines {
        let text = format!("{}{}", if line.estimated { "~" } else { "" }, line.what);
        let _ = writeln!(out, "{:id$}  {text:what$}  {}", line.id, amounts(line.month));
    }
    let _ = writeln!(out, "{:id$}  {:what$}  {}", "total".bold(), "", amounts(Some(estimate.month)));
    for line in estimate.unpriced() {
        let _ = writeln!(out, "\n{} no price is known for {} ({})", "!".yellow(), line.what, line.id);
    }
    if let Some(sources) = &estimate.sources {
        out.push_str(&told(sources, estimate.as_of));
    }
    out.push_str("\n~ depends on use; a little of it is assumed. Not counted:\n");
    for missing in estimate.not_counted {
        let _ = writeln!(out, "  · {missing}");
    }
    out
}

/// Which prices are whose.
fn told(sources: &Sources, as_of: &str) -> String {
    let published = sources.published.as_ref().map(|day| format!(", published until {day}")).unwrap_or_default();
    let mut text = format!("\nAsked of AWS{published}: {}\n", one_line(&sources.live));
    if !sources.listed.is_empty() {
        let listed = one_line(&sources.listed);
        let _ = writeln!(
            text,
            "{} AWS's list told no price of these, so ticketctl's of {as_of} stands: {listed}",
            "!".yellow()
        );
    }
    text
}

fn one_line(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn amounts(month: Option<Amount>) -> String {
    match month {
        Some(Amount { min, now, max }) => format!("{min:>10.2} {now:>10.2} {max:>10.2}"),
        None => format!("{:>10} {:>10} {:>10}", "?", "?", "?"),
    }
}
