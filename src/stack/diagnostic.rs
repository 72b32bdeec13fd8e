//! What is wrong with a stack file, where, and what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The stack can't be used.
    Error,
    /// The stack can be used, but probably doesn't do what its author wants.
    Warning,
}

/// A text that positions point into: a file, or one `--set` argument.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path as the user gave it, or `--set`.
    pub name: String,
    /// The whole text.
    pub text: Arc<str>,
}

/// Index of a [`Source`] in [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(usize);

/// All texts that a stack was read from.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Adds a text.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> SourceId {
        self.0.push(Source { name: name.into(), text: text.into() });
        SourceId(self.0.len() - 1)
    }

    /// The text behind an id that this collection has given out.
    pub fn get(&self, id: SourceId) -> &Source {
        &self.0[id.0]
    }

    /// Line and column of a span's beginning, both from 1, the column in characters.
    pub fn line_column(&self, span: &Span) -> (usize, usize) {
        let text = &self.get(span.source).text;
        let before = text.get(..span.range.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }

    /// A span as `file:line`, or `--set`.
    pub fn describe(&self, span: &Span) -> String {
        let name = &self.get(span.source).name;
        if name == SET { name.clone() } else { format!("{name}:{}", self.line_column(span).0) }
    }
}

/// Name of the sources that stand for `--set` arguments.
pub const SET: &str = "--set";

/// A piece of a source, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which text.
    pub source: SourceId,
    /// Which bytes of it.
    pub range: Range<usize>,
}

/// A marked piece of a source with a few words about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The piece.
    pub span: Span,
    /// The words; may be empty.
    pub text: String,
}

/// Code of findings about secrets.
pub const SECRET: &str = "secret";

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable short name, such as `unknown-key`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Where; the first is where the user should look first.
    pub labels: Vec<Label>,
    /// What is allowed, what was probably meant, what to do.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error without a position yet.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), labels: Vec::new(), help: Vec::new() }
    }

    /// A warning without a position yet.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Marks a place.
    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Adds a line of help.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// `hidden` are lines of which nothing is shown but what is marked.
    fn render(&self, sources: &Sources, hidden: &[Span], renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut report = Group::with_title(level.primary_title(&self.message).id(self.code));
        // One snippet per source, in the order of the labels.
        let mut shown: Vec<SourceId> = Vec::new();
        for label in &self.labels {
            let id = label.span.source;
            if shown.contains(&id) {
                continue;
            }
            shown.push(id);
            let source = sources.get(id);
            let spans = |list: &[Span]| -> Vec<Range<usize>> {
                list.iter().filter(|span| span.source == id).map(|span| span.range.clone()).collect()
            };
            let marked: Vec<Span> = self.labels.iter().map(|label| label.span.clone()).collect();
            let text = blank(&source.text, &spans(hidden), &spans(&marked));
            let mut snippet = Snippet::source(text).path(&source.name);
            for (index, label) in self.labels.iter().enumerate() {
                if label.span.source != id {
                    continue;
                }
                let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let range = visible(&source.text, &label.span.range);
                let text = (!label.text.is_empty()).then_some(label.text.as_str());
                snippet = snippet.annotation(kind.span(range).label(text));
            }
            report = report.element(snippet);
        }
        for help in &self.help {
            report = report.element(Level::HELP.message(help));
        }
        renderer.render(&[report])
    }
}

/// The text with dots for what is hidden and not marked, as long as before.
fn blank<'a>(text: &'a str, hidden: &[Range<usize>], marked: &[Range<usize>]) -> Cow<'a, str> {
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    let within = |ranges: &[Range<usize>], at: usize| ranges.iter().any(|range| range.contains(&at));
    let shown = |at: usize, c: char| c.is_whitespace() || !within(hidden, at) || within(marked, at);
    let legible = |(at, c): (usize, char)| if shown(at, c) { c.to_string() } else { ".".repeat(c.len_utf8()) };
    text.char_indices().map(legible).collect()
}

/// A range that can be underlined: inside the text, on character boundaries, and only the first line of
/// what spans several.
fn visible(text: &str, range: &Range<usize>) -> Range<usize> {
    let floor = |at: usize| {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(range.start);
    let end = floor(range.end.max(start));
    let first_line = text[start..end].find('\n').map_or(end, |at| start + at);
    let trimmed = text[start..first_line].trim_end();
    start..start + trimmed.len()
}

/// Everything that was found, with the texts it points into. The error type of loading.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    /// The texts.
    pub sources: Sources,
    /// The findings, in the order of the file as far as they have a place.
    pub list: Vec<Diagnostic>,
}

/// One finding as data, for other programs.
#[derive(Debug, Serialize)]
struct Finding<'a> {
    code: &'a str,
    severity: Severity,
    message: &'a str,
    file: Option<&'a str>,
    line: Option<usize>,
    column: Option<usize>,
    help: &'a [String],
}

/// How many findings are shown as text. Who has more mends these first.
const READABLE: usize = 100;

impl Diagnostics {
    /// True when nothing was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// True when at least one finding is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// The text that people see: one block per finding as far as they can be read, then how many there are.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let (shown, hidden) = (self.list.iter().take(READABLE), self.hidden());
        let mut blocks: Vec<String> =
            shown.map(|diagnostic| diagnostic.render(&self.sources, &hidden, &renderer)).collect();
        if let Some(more @ 1..) = self.list.len().checked_sub(READABLE) {
            blocks.push(format!("{more} more aren't shown"));
        }
        blocks.extend(self.summary());
        blocks.join("\n\n")
    }

    /// The lines of secrets: what stands beside a secret's name is the secret, and findings end up in logs.
    fn hidden(&self) -> Vec<Span> {
        let labels = self.list.iter().filter(|finding| finding.code == SECRET).flat_map(|finding| &finding.labels);
        let line = |label: &Label| {
            let Span { source, range } = label.span.clone();
            let text = &self.sources.get(source).text;
            let start = text.get(..range.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
            let end = text.get(range.end..).and_then(|after| after.find('\n')).map_or(text.len(), |at| range.end + at);
            Span { source, range: start..end }
        };
        labels.map(line).collect()
    }

    /// How many errors and warnings there are, when it is more than one finding.
    fn summary(&self) -> Option<String> {
        let errors = self.list.iter().filter(|d| d.severity == Severity::Error).count();
        let warnings = self.list.len() - errors;
        let count = |n: usize, what: &str| match n {
            1 => format!("1 {what}"),
            _ => format!("{n} {what}s"),
        };
        match (errors, warnings) {
            (0, 0) | (1, 0) | (0, 1) => None,
            (_, 0) => Some(count(errors, "error")),
            (0, _) => Some(count(warnings, "warning")),
            _ => Some(format!("{}, {}", count(errors, "error"), count(warnings, "warning"))),
        }
    }

    /// The findings as a JSON array with file, line and column of each.
    pub fn to_json(&self) -> serde_json::Value {
        let findings = self.list.iter().map(|d| {
            let place = d.labels.first().map(|label| {
                let (line, column) = self.sources.line_column(&label.span);
                (self.sources.get(label.span.source).name.as_str(), line, column)
            });
            let finding = Finding {
                code: d.code,
                severity: d.severity,
                message: &d.message,
                file: place.map(|p| p.0),
                line: place.map(|p| p.1),
                column: place.map(|p| p.2),
                help: &d.help,
            };
            serde_json::json!(finding)
        });
        findings.collect()
    }

    /// Puts the findings into the order in which a reader of the files meets them; errors without a place come first.
    pub(super) fn sort(&mut self) {
        self.list.sort_by_key(|d| d.labels.first().map(|label| (label.span.source.0, label.span.range.start)));
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// "did you mean …" for a word that isn't among the allowed ones; `None` when nothing is similar.
pub(super) fn did_you_mean<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_lowercase();
    let slips = match word.chars().count() {
        0..=1 => 0,
        2..=4 => 1,
        _ => 2,
    };
    allowed
        .into_iter()
        .map(|candidate| {
            let known = candidate.to_lowercase();
            let close = strsim::damerau_levenshtein(&word, &known) <= slips;
            let similarity = strsim::jaro_winkler(&word, &known) + if close { 1.0 } else { 0.0 };
            (candidate, similarity)
        })
        .filter(|(_, similarity)| *similarity > 0.8)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(candidate, _)| format!("did you mean `{candidate}`?"))
}

/// `a, b or c`, each in backticks.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut words: Vec<String> = words.into_iter().map(|w| format!("`{w}`")).collect();
    match words.pop() {
        None => String::new(),
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} or {last}", words.join(", ")),
    }
}
