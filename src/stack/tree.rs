//! A YAML document as a tree in which every key and value knows where it was written.

use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::diagnostic::{Diagnostic, SourceId, Sources, Span};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Value,
    pub span: Span,
}

/// What YAML can say.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// `null` or `~`, written out.
    Null,
    /// Nothing after the colon.
    Empty,
    /// Something that has been reported already.
    Refused,
    /// A number, boolean or text; which of them it is, the schema decides.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Node>),
    Map(IndexMap<String, Entry>),
}

/// A key of a map, with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: Span,
    pub node: Node,
}

impl Value {
    /// What it is, for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null | Self::Empty | Self::Refused => "nothing",
            Self::Scalar { .. } => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// What serde sees of a YAML node.
enum Raw {
    Null,
    /// A scalar that isn't text: its exact spelling is in the source.
    Typed,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

/// Parses part of a source, from byte `from` to its end.
///
/// A stack file is small: the limits below are far above any real one and keep hostile files
/// (deep nesting, alias bombs) from costing time or memory.
pub(super) fn parse(sources: &Sources, source: SourceId, from: usize) -> Result<Node, Diagnostic> {
    let text = &sources.get(source).text[from..];
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 40,
            max_nodes: 50_000,
            max_events: 200_000,
            max_documents: 2,
            flow_nesting_limit: 40,
        },
        strict_booleans: true,
        with_snippet: false,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
    };
    let whole = Span { source, range: from..from };
    serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options)
        .map(|raw| node(raw, &Place { source, from, text }))
        .map_err(|error| {
            let place = Place { source, from, text };
            let span = error.location().map(|location| place.span(&location));
            Diagnostic::error("syntax", format!("not valid YAML: {}", explain(&error))).label(span.unwrap_or(whole), "")
        })
}

/// The parser's message in our words where its own speak of its settings, and without the position, which the
/// diagnostic shows itself.
fn explain(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is there twice"),
        serde_saphyr::Error::DuplicateMappingKey { key: None, .. } => "a key is there twice".to_owned(),
        serde_saphyr::Error::MultipleDocuments { .. } => "one file holds one document".to_owned(),
        serde_saphyr::Error::Budget { .. } => "larger or deeper than any stack file".to_owned(),
        other => {
            let text = other.to_string();
            let line = text.lines().next().unwrap_or_default();
            let end = line.rfind(" at line ").unwrap_or(line.len());
            line[..end].trim_end_matches([',', ':']).to_owned()
        }
    }
}

struct Place<'a> {
    source: SourceId,
    from: usize,
    text: &'a str,
}

impl Place<'_> {
    fn span(&self, location: &serde_saphyr::Location) -> Span {
        let at = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok());
        // Errors of the scanner have a line and a column only.
        let start = at(location.span().byte_offset())
            .unwrap_or_else(|| self.byte_at(location.line(), location.column()))
            .min(self.text.len());
        let length = at(location.span().byte_len()).unwrap_or_default();
        let end = start.saturating_add(length).min(self.text.len());
        Span { source: self.source, range: self.from + start..self.from + end }
    }

    /// The byte at a line and column, both from 1.
    fn byte_at(&self, line: u64, column: u64) -> usize {
        let skipped = |n: u64| usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
        let line_start: usize = self.text.split_inclusive('\n').take(skipped(line)).map(str::len).sum();
        let rest = &self.text[line_start..];
        line_start + rest.chars().take(skipped(column)).map(char::len_utf8).sum::<usize>()
    }

    /// The characters as they were written.
    fn written(&self, span: &Span) -> &str {
        let range = span.range.start - self.from..span.range.end - self.from;
        self.text.get(range).unwrap_or_default().trim()
    }
}

fn node(raw: Spanned<Raw>, place: &Place<'_>) -> Node {
    let span = place.span(&raw.defined);
    let written = place.written(&span);
    let value = match raw.value {
        Raw::Null if written.is_empty() => Value::Empty,
        Raw::Null => Value::Null,
        Raw::Typed => Value::Scalar { text: written.to_owned(), quoted: false },
        Raw::Text(text) => Value::Scalar { text, quoted: written.starts_with(['"', '\'', '|', '>']) },
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, place)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let entry = Entry { key: place.span(&key.defined), node: node(value, place) };
                    (key.value, entry)
                })
                .collect(),
        ),
    };
    Node { value, span }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Node, Diagnostic> {
        let mut sources = Sources::default();
        let id = sources.add("test.yaml", text);
        parse(&sources, id, 0)
    }

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Empty | Value::Refused => "empty".to_owned(),
            Value::Scalar { text, quoted } => format!("{text:?}{}", if *quoted { "q" } else { "" }),
            Value::List(items) => {
                format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(","))
            }
            Value::Map(map) => {
                let entries = map.iter().map(|(k, e)| format!("{k}={}", show(&e.node)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }
        }
    }

    #[test]
    fn scalars_keep_their_spelling_and_position() {
        let text = "a: 010\nb: '8080'\nc:\nd: ~\ne: [on, 1e3, 7d]\n7: é\nf: 0x1F # note\ng: .inf\nh: true\n";
        let node = parsed(text).expect("valid");
        assert_eq!(
            show(&node),
            r#"{a="010",b="8080"q,c=empty,d=null,e=["on","1e3","7d"],7="é",f="0x1F",g=".inf",h="true"}"#
        );
        let Value::Map(map) = &node.value else { panic!("a map") };
        assert_eq!(&text[map["7"].node.span.range.clone()], "é");
        assert_eq!(&text[map["b"].key.range.clone()], "b");
    }

    #[test]
    fn aliases_and_merges_are_followed() {
        let node = parsed("x: &x {a: 1, b: 2}\ny: *x\nz:\n  <<: *x\n  b: 3\n").expect("valid");
        assert_eq!(show(&node), r#"{x={a="1",b="2"},y={a="1",b="2"},z={b="3",a="1"}}"#);
    }

    #[test]
    fn hostile_documents_are_errors_and_take_no_time() {
        let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (level, previous) in ('b'..='z').zip('a'..='y') {
            let aliases = vec![format!("*{previous}"); 9].join(", ");
            bomb.push_str(&format!("{level}: &{level} [{aliases}]\n"));
        }
        let deep = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
        let deep_map = format!("{}1", "a: {".repeat(3000));
        for text in [bomb.as_str(), &deep, &deep_map, "a: 1\na: 2", "[", "a: b: c", "\u{0}", "--- 1\n--- 2", "a: *nope"]
        {
            let started = std::time::Instant::now();
            assert!(parsed(text).is_err(), "{:.40?} was accepted", text);
            assert!(started.elapsed().as_secs() < 5, "{:.40?} took too long", text);
        }
    }
}
