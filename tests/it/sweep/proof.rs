//! One report of all full sweeps, as text and as a page: for each promise the cases that were run, those that were survived, and
//! what was found beside.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use tera::{Context, Tera};

use crate::sweep::report::{Outcome, folder, workers};

/// The files that the full sweeps leave.
const SWEEPS: [&str; 7] =
    ["kill-apply", "kill-change", "kill-destroy", "lock", "fault-apply", "fault-change", "fault-destroy"];

const TEMPLATE: &str = include_str!("report.html.tera");

/// What came of one promise.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Line {
    promise: String,
    cases: usize,
    /// One of so many was taken.
    of: usize,
    survived: usize,
    duplicates: usize,
    orphans: usize,
    /// Of a case, with the run that was cut short, the one that went on, and the looks at what is there.
    seconds_median: f64,
    seconds_most: f64,
}

fn lines(outcomes: &[Outcome]) -> Vec<Line> {
    let mut by_promise: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        by_promise.entry(&outcome.promise).or_default().push(outcome);
    }
    let line = |(promise, outcomes): (&str, Vec<&Outcome>)| {
        let mut seconds: Vec<f64> = outcomes.iter().map(|outcome| outcome.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        Line {
            promise: promise.to_owned(),
            cases: outcomes.len(),
            of: outcomes.iter().map(|outcome| outcome.of).max().unwrap_or(1),
            survived: outcomes.iter().filter(|outcome| outcome.is_survived()).count(),
            duplicates: outcomes.iter().map(|outcome| outcome.duplicates.len()).sum(),
            orphans: outcomes.iter().map(|outcome| outcome.orphans.len()).sum(),
            seconds_median: seconds[seconds.len() / 2],
            seconds_most: seconds[seconds.len() - 1],
        }
    };
    by_promise.into_iter().map(line).collect()
}

/// The conditions, in one line.
fn conditions() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
    format!(
        "{date}, ticketctl {}, development build; stacks/dev.yaml against moto behind the strict gateway, {} clouds side by side \
         on the same {cores} cores",
        env!("CARGO_PKG_VERSION"),
        workers()
    )
}

fn text(lines: &[Line], conditions: &str) -> String {
    let mut text = format!(
        "{conditions}\n\n| promise | cases | taken | survived | duplicates | orphans | median | longest |\n|---|---|---|---|---|---|---|---|\n"
    );
    for line in lines {
        let Line { promise, cases, of, survived, duplicates, orphans, seconds_median, seconds_most } = line;
        let taken = if *of == 1 { "all".to_owned() } else { format!("1 of {of}") };
        writeln!(
            text,
            "| {promise} | {cases} | {taken} | {survived} | {duplicates} | {orphans} | {seconds_median:.1} s | {seconds_most:.1} s |"
        )
        .expect("a text");
    }
    text
}

fn page(lines: &[Line], outcomes: &[Outcome], conditions: &str) -> String {
    let mut tera = Tera::default();
    tera.add_raw_template("report.html", TEMPLATE).expect("a template");
    let mut context = Context::new();
    context.insert("lines", lines);
    context.insert("conditions", conditions);
    context.insert("lost", &outcomes.iter().filter(|outcome| !outcome.is_survived()).collect::<Vec<_>>());
    context.insert("outcomes", outcomes);
    tera.render("report.html", &context).expect("every variable is set")
}

/// What the full sweeps that have run have left in `target/prove`.
#[test]
#[ignore = "after the full sweeps: make prove"]
fn report() {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for sweep in SWEEPS {
        let path = folder().join(format!("{sweep}.jsonl"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        outcomes.extend(text.lines().map(|line| serde_json::from_str::<Outcome>(line).expect("an outcome")));
    }
    let (lines, conditions) = (lines(&outcomes), conditions());
    std::fs::write(folder().join("report.md"), text(&lines, &conditions)).expect("written");
    std::fs::write(folder().join("report.html"), page(&lines, &outcomes, &conditions)).expect("written");
    println!("{}\n{}", text(&lines, &conditions), folder().join("report.html").display());
    let lost: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_survived()).map(|outcome| &outcome.case).collect();
    assert!(lost.is_empty(), "not survived: {lost:#?}");
}

#[test]
fn a_report_counts_by_promise_and_shows_what_was_lost() {
    let outcome = |promise: &str, seconds, orphans: &[&str]| Outcome {
        promise: promise.to_owned(),
        case: "before ec2:CreateVpc #1".to_owned(),
        seconds,
        of: 3,
        duplicates: Vec::new(),
        orphans: orphans.iter().map(ToString::to_string).collect(),
        faults: Vec::new(),
    };
    let outcomes = [outcome("b", 1.0, &[]), outcome("a", 3.0, &["<vpc>"]), outcome("a", 2.0, &[])];
    let lines = lines(&outcomes);
    let told = text(&lines, "here");
    assert!(
        told.contains("| a | 2 | 1 of 3 | 1 | 0 | 1 | 3.0 s | 3.0 s |\n| b | 1 | 1 of 3 | 1 | 0 | 0 | 1.0 s | 1.0 s |"),
        "{told}"
    );
    let page = page(&lines, &outcomes, "here");
    assert!(page.contains("&lt;vpc&gt;") && !page.contains("<vpc>"), "{page}");
}
