//! Does a stack make sense? Every rule looks at typed values and reports where they were written.
//!
//! A rule reports and goes on, so that all findings come at once. It may take a refused value's default for
//! the value itself; whatever it then reports at that place is dropped by [`Checker`].

mod cache;
mod database;
mod ingress;
mod names;
mod network;
mod operations;
mod services;
mod windows;

pub use windows::overlap as windows_overlap;

use super::Stack;
use super::diagnostic::Diagnostic;
use super::facts::{AS_OF, Verdict};
use super::origins::Origins;
use super::units::Duration;

/// All findings about the stack, in no particular order.
pub(super) fn validate(stack: &Stack, origins: &Origins) -> Vec<Diagnostic> {
    let mut checker = Checker { stack, origins, found: Vec::new() };
    names::check(&mut checker);
    network::check(&mut checker);
    services::check(&mut checker);
    ingress::check(&mut checker);
    database::check(&mut checker);
    cache::check(&mut checker);
    operations::check(&mut checker);
    checker.found
}

/// What the rules work with.
struct Checker<'a> {
    stack: &'a Stack,
    origins: &'a Origins,
    found: Vec<Diagnostic>,
}

/// A finding on its way into the list.
struct Finding<'c, 'a> {
    checker: &'c mut Checker<'a>,
    diagnostic: Diagnostic,
    /// It is about a value that was refused already.
    moot: bool,
}

impl<'a> Checker<'a> {
    fn error(&mut self, code: &'static str, message: impl Into<String>) -> Finding<'_, 'a> {
        Finding { checker: self, diagnostic: Diagnostic::error(code, message), moot: false }
    }

    fn warning(&mut self, code: &'static str, message: impl Into<String>) -> Finding<'_, 'a> {
        Finding { checker: self, diagnostic: Diagnostic::warning(code, message), moot: false }
    }

    /// Reports what a table of AWS classes says.
    fn class(&mut self, path: &str, class: &str, what: &str, verdict: Verdict) {
        match verdict {
            Verdict::Offered => {}
            Verdict::Unknown => self
                .warning("unknown-class", format!("`{class}` isn't in ticketctl's tables of {AS_OF}"))
                .at(path, "AWS may refuse this")
                .report(),
            Verdict::Wrong { reason, help } => {
                let message = format!("`{class}` is not {what}");
                let mut finding = self.error("class", message).at(path, reason);
                for line in help {
                    finding = finding.help(line);
                }
                finding.report();
            }
        }
    }

    /// Refuses a duration outside `least..=most` or not in whole seconds.
    fn seconds(&mut self, path: &str, value: Duration, least: &str, most: &str) {
        let bound = |text: &str| text.parse::<Duration>().unwrap_or(value);
        if value < bound(least) || value > bound(most) || !value.is_whole_secs() {
            self.error("range", format!("`{path}` must be from {least} to {most}, in whole seconds"))
                .at(path, "")
                .report();
        }
    }

    /// Refuses a duration outside `least..=most` days or not in whole days.
    fn days(&mut self, path: &str, value: Duration, least: i32, most: i32) {
        if !(least..=most).contains(&value.days()) || !value.is_whole_days() {
            self.error("range", format!("`{path}` must be from {least}d to {most}d, in whole days"))
                .at(path, "")
                .report();
        }
    }
}

impl Finding<'_, '_> {
    /// Marks the value at a path. For a default the label says so, and the nearest key around it is marked.
    fn at(mut self, path: &str, text: impl Into<String>) -> Self {
        let origins = self.checker.origins;
        self.moot |= origins.is_refused(path);
        let mut text = text.into();
        if !origins.is_written(path) {
            let key = path.rsplit('.').next().unwrap_or(path);
            text = match text.as_str() {
                "" => format!("`{key}` is at its default"),
                text => format!("`{key}` is at its default: {text}"),
            };
        }
        if let Some(span) = origins.span(path) {
            self.diagnostic = self.diagnostic.label(span, text);
        }
        self
    }

    /// Marks the key at a path.
    fn at_key(mut self, path: &str, text: impl Into<String>) -> Self {
        let origins = self.checker.origins;
        self.moot |= origins.is_refused(path);
        if let Some(span) = origins.key_span(path) {
            self.diagnostic = self.diagnostic.label(span, text);
        }
        self
    }

    fn help(mut self, text: impl Into<String>) -> Self {
        self.diagnostic = self.diagnostic.help(text);
        self
    }

    fn maybe_help(self, text: Option<String>) -> Self {
        match text {
            Some(text) => self.help(text),
            None => self,
        }
    }

    fn report(self) {
        if !self.moot {
            self.checker.found.push(self.diagnostic);
        }
    }
}
