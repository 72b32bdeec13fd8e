//! Progress of a run: a live list on a terminal, plain lines elsewhere, one JSON object per line for programs.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;
use owo_colors::OwoColorize;
use serde::Serialize;
use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::text::sign;
use crate::engine::{Action, Event, Observer, Outcome};

/// The renderer that fits: JSON if asked for, a live list on a terminal, lines otherwise.
pub fn observer(json: bool, quiet: bool) -> Box<dyn Observer> {
    if json {
        Box::new(Json)
    } else if std::io::stderr().is_terminal() && !quiet {
        Box::new(Live::new())
    } else {
        Box::new(Lines { quiet })
    }
}

/// One event per line on standard output.
struct Json;

#[derive(Serialize)]
struct Timed<'a> {
    time: Timestamp,
    #[serde(flatten)]
    event: &'a Event,
}

impl Observer for Json {
    fn observe(&self, event: &Event) {
        let timed = Timed { time: Timestamp::now(), event };
        let line = serde_json::to_string(&timed).expect("events are plain data");
        // Whoever read us has gone: the run goes on without them.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// A line for each end and each change of state, on standard error.
struct Lines {
    quiet: bool,
}

impl Observer for Lines {
    fn observe(&self, event: &Event) {
        let wanted =
            !self.quiet || matches!(event, Event::End { outcome: Outcome::Failed, .. } | Event::Stopping { .. });
        if let Some(line) = line(event).filter(|_| wanted) {
            super::tell(line);
        }
    }
}

/// The event in words, if it is worth a line.
pub fn line(event: &Event) -> Option<String> {
    let line = match event {
        Event::Begin { operations, .. } => format!("{operations} operations"),
        Event::End { id, action, outcome, seconds, aws_id, reason, .. } => {
            let aws_id = aws_id.as_deref().filter(|_| *action != Action::Delete);
            let aws_id = aws_id.map(|id| format!("{id} ")).unwrap_or_default();
            match outcome {
                Outcome::Done => {
                    let (sign, style) = sign(*action);
                    format!(
                        "{} {id} {} {aws_id}{}",
                        sign.style(style),
                        past(*action),
                        format!("{seconds:.1}s").dimmed()
                    )
                }
                Outcome::Failed => format!("{} {id} failed: {}", "✗".red(), reason.as_deref().unwrap_or_default()),
                Outcome::Skipped => format!("{} {id} skipped: {}", "·".yellow(), reason.as_deref().unwrap_or_default()),
            }
        }
        Event::Progress { id, text, seconds, .. } => {
            format!("  {id}: {text} {}", format!("{seconds:.0}s").dimmed()).dimmed().to_string()
        }
        Event::Stopping { reason } => format!("{} {reason}", "stopping:".yellow()),
        Event::Rollout { service, text } => format!("{} {service}: {text}", "→".cyan()),
        Event::Notice { text } => text.clone(),
        Event::Start { .. } | Event::Created { .. } => return None,
    };
    Some(line)
}

fn past(action: Action) -> &'static str {
    match action {
        Action::Create => "created",
        Action::Update => "updated",
        Action::Replace => "replaced",
        Action::Delete => "deleted",
        Action::Wait => "ready",
    }
}

fn present(action: Action) -> &'static str {
    match action {
        Action::Create => "creating",
        Action::Update => "updating",
        Action::Replace => "replacing",
        Action::Delete => "deleting",
        Action::Wait => "waiting for",
    }
}

/// A bar for the whole, a line for each operation under way, and what has ended above them.
struct Live {
    bars: MultiProgress,
    whole: ProgressBar,
    open: Mutex<HashMap<String, ProgressBar>>,
}

impl Live {
    fn new() -> Self {
        let bars = MultiProgress::new();
        let style = ProgressStyle::with_template("{bar:30.cyan/dim} {pos}/{len} {elapsed:.dim}").expect("a constant");
        let whole = bars.add(ProgressBar::new(0).with_style(style));
        Live { bars, whole, open: Mutex::default() }
    }
}

impl Observer for Live {
    fn observe(&self, event: &Event) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Begin { operations, .. } => self.whole.set_length(*operations as u64),
            Event::Start { id, action, .. } => {
                let style = ProgressStyle::with_template("  {spinner} {msg} {elapsed:.dim}").expect("a constant");
                let bar = self.bars.add(ProgressBar::new_spinner().with_style(style));
                bar.set_message(format!("{} {id}", present(*action)));
                bar.enable_steady_tick(Duration::from_millis(120));
                open.insert(id.clone(), bar);
            }
            Event::Progress { id, text, .. } => {
                if let Some(bar) = open.get(id) {
                    bar.set_message(format!("{id} {}", text.dimmed()));
                }
            }
            Event::End { id, .. } => {
                if let Some(bar) = open.remove(id) {
                    bar.finish_and_clear();
                }
                self.whole.inc(1);
                self.print(event);
            }
            Event::Rollout { .. } | Event::Stopping { .. } | Event::Notice { .. } => self.print(event),
            Event::Created { .. } => {}
        }
        if self.whole.length() == Some(self.whole.position()) {
            self.whole.finish_and_clear();
        }
    }
}

impl Live {
    fn print(&self, event: &Event) {
        if let Some(line) = line(event) {
            // A terminal that can't be written to has nobody before it.
            let plain = anstream::ColorChoice::global() == anstream::ColorChoice::Never;
            let _ = self.bars.println(if plain { anstream::adapter::strip_str(&line).to_string() } else { line });
        }
    }
}
