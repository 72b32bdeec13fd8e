//! Laying one stack file over another, and `--set` arguments over both.

use indexmap::IndexMap;

use super::diagnostic::{Diagnostic, SET, SourceId, Sources, Span};
use super::tree::{self, Entry, Node, Value};

/// Lays `over` on `base`: mappings are merged key by key, everything else is replaced.
pub(super) fn merge(base: &mut Node, over: Node) {
    match (&mut base.value, over) {
        (Value::Map(base), Node { value: Value::Map(over), .. }) => {
            for (name, entry) in over {
                match base.get_mut(&name) {
                    Some(existing) => {
                        existing.key = entry.key;
                        merge(&mut existing.node, entry.node);
                    }
                    None => {
                        base.insert(name, entry);
                    }
                }
            }
        }
        (_, over) => *base = over,
    }
}

/// One step of a `--set` path, with the bytes of the argument that it stands in.
struct Step {
    name: String,
    index: Option<usize>,
    /// Written in brackets, so that only a list will do.
    bracketed: bool,
    span: Span,
}

/// Applies `path=value`. The value is YAML: `7`, `[a, c]`, `{cpu: 60}`, `null`.
pub(super) fn set(root: &mut Node, argument: &str, sources: &mut Sources) -> Result<(), Diagnostic> {
    let source = sources.add(SET, argument);
    let (path, value_at) = split(argument, source)?;
    let mut value = tree::parse(sources, source, value_at)?;
    if matches!(value.value, Value::Empty) {
        let end = argument.len();
        return Err(Diagnostic::error("set", "nothing after the equals sign")
            .label(span(source, end, end), "")
            .help("write a value, or `null` for the default"));
    }
    if let [only] = path.as_slice()
        && only.name == "extends"
    {
        return Err(Diagnostic::error("set", "`extends` can't be set")
            .label(only.span.clone(), "")
            .help("write it into a stack file, and name that one with --file"));
    }
    // A bare scalar's span is its own; a container's is only its first character.
    if !matches!(value.value, Value::Scalar { .. }) {
        value.span = span(source, value_at, argument.len());
    }
    insert(root, &path, value)
}

fn span(source: SourceId, start: usize, end: usize) -> Span {
    Span { source, range: start..end }
}

/// Cuts the argument at the first equals sign outside quotes and the path at dots and brackets.
/// Returns the steps and where the value begins.
fn split(argument: &str, source: SourceId) -> Result<(Vec<Step>, usize), Diagnostic> {
    let malformed = |start: usize, end: usize, what: &str| {
        Diagnostic::error("set", what).label(span(source, start, end), "").help(
            "write `--set path=value`, such as `--set services.web.instances.max=40` or `--set 'network.zones=[a, b]'`",
        )
    };
    let mut steps: Vec<Step> = Vec::new();
    let mut at = 0;
    loop {
        let rest = &argument[at..];
        let (name, length, indexed) = if let Some(quoted) = rest.strip_prefix('"') {
            let Some(end) = quoted.find('"') else {
                return Err(malformed(at, argument.len(), "a quote without its end"));
            };
            (&quoted[..end], end + 2, false)
        } else if let Some(bracketed) = rest.strip_prefix('[') {
            let Some(end) = bracketed.find(']') else {
                return Err(malformed(at, argument.len(), "a bracket without its end"));
            };
            (&bracketed[..end], end + 2, true)
        } else {
            let end = rest.find(['.', '=', '[', '"']).unwrap_or(rest.len());
            (&rest[..end], end, false)
        };
        let index = name.parse::<usize>().ok();
        if name.is_empty() || (indexed && index.is_none()) {
            let end = (at + length.max(1)).min(argument.len());
            return Err(malformed(at.min(end), end, "a path needs a key or an index here"));
        }
        steps.push(Step { name: name.to_owned(), index, bracketed: indexed, span: span(source, at, at + length) });
        at += length;
        match argument[at..].chars().next() {
            Some('=') => return Ok((steps, at + 1)),
            Some('.') => at += 1,
            Some('[') => {}
            _ => return Err(malformed(0, argument.len(), "an equals sign is missing")),
        }
    }
}

/// Puts the value at the path, making the mappings on the way.
fn insert(node: &mut Node, path: &[Step], value: Node) -> Result<(), Diagnostic> {
    let Some((step, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    if let Value::List(items) = &mut node.value {
        let count = items.len();
        let Some(index) = step.index.filter(|index| *index <= count) else {
            return Err(Diagnostic::error("set", format!("`{}` is no element of this list", step.name))
                .label(step.span.clone(), format!("the list has {count}"))
                .help(format!("use 0 to {count}; {count} appends, and `path=[…]` sets the whole list")));
        };
        if index == count {
            items.push(Node { value: Value::Null, span: step.span.clone() });
        }
        return insert(&mut items[index], rest, value);
    }
    if step.bracketed {
        return Err(Diagnostic::error("set", "there is no list here")
            .label(step.span.clone(), "an element of what?")
            .help("set the whole list: `path=[…]`"));
    }
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(IndexMap::new());
        node.span = step.span.clone();
    }
    let Value::Map(map) = &mut node.value else {
        return Ok(());
    };
    let entry = map.entry(step.name.clone()).or_insert_with(|| Entry {
        key: step.span.clone(),
        node: Node { value: Value::Null, span: step.span.clone() },
    });
    if rest.is_empty() {
        entry.key = step.span.clone();
    }
    insert(&mut entry.node, rest, value)
}
