//! Where each value of a loaded stack comes from.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::diagnostic::{Sources, Span};

/// Path of a key, such as `services.web.paths[0]`.
pub(super) fn child(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Path of an element of a list.
pub(super) fn element(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The path that holds this one: `a.b[0]` → `a.b` → `a`.
fn parent(path: &str) -> Option<&str> {
    path.rfind(['.', '[']).map(|at| &path[..at])
}

/// Where one value was written.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// Its key; elements of a list have none.
    pub key: Option<Span>,
    /// The value itself.
    pub value: Span,
    /// True for mappings and lists, whose key is the better place to point at.
    pub container: bool,
}

/// Where each value of a loaded stack comes from, by path.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    pub(super) written: IndexMap<String, Written>,
    /// Defaults that follow from other values, with a few words about how.
    pub(super) derived: IndexMap<String, &'static str>,
    /// Values that were refused. A default stands in their place, so nothing may be concluded from them.
    pub(super) refused: BTreeSet<String>,
    /// Mappings in which a key isn't known.
    pub(super) misspelt: BTreeSet<String>,
}

impl Origins {
    /// Where to point for this path: at the value, or, for a default, at the nearest key around it.
    pub(super) fn span(&self, path: &str) -> Option<Span> {
        if let Some(written) = self.written.get(path) {
            let key = written.key.clone().filter(|_| written.container);
            return Some(key.unwrap_or_else(|| written.value.clone()));
        }
        let mut path = path;
        while let Some(outer) = parent(path) {
            if let Some(written) = self.written.get(outer) {
                return Some(written.key.clone().unwrap_or_else(|| written.value.clone()));
            }
            path = outer;
        }
        None
    }

    /// Where to point when the key is what is meant.
    pub(super) fn key_span(&self, path: &str) -> Option<Span> {
        let key = self.written.get(path).and_then(|written| written.key.clone());
        key.or_else(|| self.span(path))
    }

    /// True when the user wrote this value (in a file or with `--set`).
    pub fn is_written(&self, path: &str) -> bool {
        self.written.contains_key(path)
    }

    /// True when the value, or something around it, was refused.
    pub(super) fn is_refused(&self, path: &str) -> bool {
        let mut path = Some(path);
        while let Some(inner) = path {
            if self.refused.contains(inner) {
                return true;
            }
            path = parent(inner);
        }
        false
    }

    /// True when this mapping has keys that aren't known.
    pub(super) fn has_unknown_keys(&self, path: &str) -> bool {
        self.misspelt.contains(path)
    }

    /// The origin in words: `stacks/dev.yaml:12`, `--set`, or `default`.
    pub fn describe(&self, path: &str, sources: &Sources) -> String {
        if let Some(written) = self.written.get(path) {
            return sources.describe(&written.value);
        }
        match self.derived.get(path) {
            Some(how) => format!("default: {how}"),
            None => "default".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parent;

    #[test]
    fn paths_have_parents() {
        assert_eq!(parent("a.b[0]"), Some("a.b"));
        assert_eq!(parent("a.b"), Some("a"));
        assert_eq!(parent("a"), None);
    }
}
