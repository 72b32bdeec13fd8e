//! What apply and destroy share: the lock, the question, the run, the record.

use clap::Args;
use jiff::Timestamp;
use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

use super::{Failure, Global, Result, failure::hint, signals::Signals};
use crate::{
    aws::Context,
    blueprint::Blueprint,
    engine::{
        self, Event, Inventory, Observer, Options, Plan, Report,
        lock::Lock,
        record::{self, Record},
    },
    rollout::rolling::Rollout,
    stack::Stack,
    ui,
};

/// What every command that changes the stack takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// Don't ask.
    #[arg(short, long)]
    pub yes: bool,

    /// One event per line, as JSON, on standard output.
    #[arg(long)]
    pub json: bool,
}

/// What the commands take that carry out a plan.
#[derive(Debug, Args)]
pub struct Pace {
    /// How many operations may have calls in flight at once.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallelism: u16,
}

/// The alarms of a service that end a rollout: those that say that requests fail. A busy processor is no failure.
const GUARDS: [&str; 2] = ["target-5xx", "healthy-hosts"];

/// A run under the stack's lock.
pub struct Run<'a> {
    pub cx: &'a Context,
    pub lock: Lock,
    command: &'a str,
    name: String,
    began: Timestamp,
    stop: CancellationToken,
    /// Changes were begun, and stopped before they were through.
    cut_short: AtomicBool,
    signals: Signals,
    observer: Arc<dyn Observer>,
    json: bool,
    quiet: bool,
}

impl<'a> Run<'a> {
    /// Takes the lock; from here on, signals stop the run in order.
    pub async fn begin(cx: &'a Context, global: &Global, command: &'a str, json: bool) -> Result<Run<'a>> {
        let began = Timestamp::now();
        let name = record::run_name(began);
        let stop = CancellationToken::new();
        let observer: Arc<dyn Observer> = Arc::from(ui::progress::observer(json, global.quiet));
        let signals = Signals::listen(stop.clone(), observer.clone())?;
        let lock = Lock::take(cx, &name, command, stop.clone()).await?;
        let (cut_short, quiet) = (AtomicBool::new(false), global.quiet);
        Ok(Run { cx, lock, command, name, began, stop, cut_short, signals, observer, json, quiet })
    }

    /// Shows the plan: to whoever is asked whether to carry it out in any case, to others unless they want it otherwise.
    pub fn show(&self, plan: &Plan, detail: ui::text::Detail, is_asked: bool) -> Result<()> {
        let text = ui::text::plan(plan, detail);
        let shown = match self.json {
            // Standard output is for events.
            true if is_asked => write!(anstream::stderr(), "{text}"),
            false if is_asked || !self.quiet => write!(anstream::stdout(), "{text}"),
            _ => Ok(()),
        };
        shown.map_err(|error| Failure::new(format!("the plan can't be shown, so nothing was changed: {error}")))
    }

    /// Asks for a yes on the terminal, unless it was given beforehand.
    ///
    /// # Errors
    /// No terminal to ask on.
    pub async fn confirm(&self, question: &str, yes: bool) -> Result<bool> {
        if yes {
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new("there is no terminal to ask on").hint("--yes answers beforehand"));
        }
        let mut err = anstream::stderr();
        write!(err, "{question} Only \"yes\" is taken as a yes: ")?;
        err.flush()?;
        let answer = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line)
        });
        tokio::select! {
            answer = answer => {
                let answer = answer.map_err(|error| Failure::new(error.to_string()))??;
                Ok(answer.trim() == "yes")
            }
            () = self.stop.cancelled() => {
                ui::tell("");
                Ok(false)
            }
        }
    }

    /// Carries out the plan and writes its record.
    pub async fn carry_out(
        &self,
        plan: &Plan,
        blueprint: &Blueprint,
        inventory: &Inventory,
        parallelism: usize,
    ) -> Result<Report> {
        let fence = self.lock.fence();
        let options = Options { parallelism, stop: self.stop.clone(), permit: Arc::new(move || fence.check()) };
        let report = engine::run(self.cx, plan, blueprint, inventory, &*self.observer, &options)
            .await
            .map_err(|cycle| Failure::new(cycle.to_string()))?;
        self.cut_short.store(report.stopped, Ordering::Relaxed);
        let record = Record::new(&self.name, self.command, self.began, plan.summary, &report);
        if let Err(error) = record.write(self.cx).await {
            // What the run did matters more than that it isn't written down.
            tracing::warn!("the record of this run couldn't be written: {error}");
        }
        Ok(report)
    }

    /// Whether the lock is still ours: to be asked before every call that changes something.
    ///
    /// # Errors
    /// It was lost.
    pub fn permitted(&self) -> Result<()> {
        self.lock.fence().check().map_err(Failure::new)
    }

    /// Whether a signal has asked the run to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether only results and errors are wanted.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Tells something as an event of the run.
    pub fn notice(&self, text: String) {
        self.observer.observe(&Event::Notice { text });
    }

    /// The rollout of a service's group, under this run's lock.
    pub fn rollout<'r>(&'r self, service: &'r str, file: &Stack, group: &'r str) -> Rollout<'r> {
        let fence = self.lock.fence();
        let stack = &self.cx.stack;
        let wanted = &file.services[service];
        // A release is watched even if nobody is told of alarms.
        let thresholds = file.alerts.as_ref().map(|alerts| alerts.thresholds.clone()).unwrap_or_default();
        let health = &wanted.health;
        // The time that AWS gives an instance, and what the load balancer needs on top to find it healthy.
        let checks = i64::from(health.interval.secs()) * (i64::from(health.healthy) + 1);
        let patience = i64::from(health.grace.secs()) + checks;
        Rollout {
            cx: self.cx,
            service,
            group,
            alarms: GUARDS.iter().map(|guard| format!("{stack}/alarm-{service}-{guard}")).collect(),
            errors: thresholds.target_5xx,
            patience: Duration::from_secs(patience.unsigned_abs()),
            bake: Duration::from_secs(wanted.rollout.bake.secs().unsigned_abs().into()),
            observer: &*self.observer,
            stop: self.stop.clone(),
            permit: Arc::new(move || fence.check()),
        }
    }

    /// Gives the lock back, whatever came before, and passes that on.
    pub async fn end(self, result: Result<u8>) -> Result<u8> {
        let code = self.signals.exit_code();
        let result = match (self.lock.fence().check(), result) {
            (Err(lost), Err(failure)) => Err(failure.caused_by(lost)),
            (_, result) => result,
        };
        let released = self.lock.release(!self.cut_short.into_inner()).await;
        match (result, code) {
            (Ok(_), Some(code)) => Ok(code),
            (Err(failure), Some(code)) => Err(failure.code(code)),
            (result, None) => {
                let result = result?;
                released?;
                Ok(result)
            }
        }
    }
}

/// What remained undone, as a failure; or the exit code of success.
pub fn verdict(report: &Report, verb: &str) -> Result<u8> {
    if report.is_complete() {
        return Ok(0);
    }
    let (failed, skipped) = (report.failed.len(), report.skipped.len());
    if report.failed.is_empty() && report.stopped {
        return Err(Failure::new(format!("stopped; {} not begun or not waited for", operations(skipped)))
            .hint(format!("`ticketctl {verb}` goes on from here")));
    }
    let failure = Failure::new(format!("{} failed, {skipped} skipped", operations(failed)));
    let failure =
        report.failed.iter().fold(failure, |failure, one| failure.caused_by(format!("{}: {}", one.id, one.error)));
    let goes_on = format!("what was done stays; `ticketctl {verb}` goes on from here");
    Err(failure.hint(match report.failed.iter().find_map(|one| hint(&one.error)) {
        Some(hint) => format!("{hint}\n      {goes_on}"),
        None => goes_on,
    }))
}

fn operations(count: usize) -> String {
    if count == 1 { "1 operation".into() } else { format!("{count} operations") }
}
