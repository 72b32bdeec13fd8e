//! Parameters of the query protocols: `Tags.member.1.Key=a&Tags.member.1.Value=b`.

use std::collections::BTreeMap;

/// The parameters of one call, in the order sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl Form {
    pub fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
    }

    /// The form of a call that the gateway makes itself.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    pub fn encode(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    pub fn number(&self, key: &str) -> Option<i64> {
        self.get(key)?.parse().ok()
    }

    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.remove(key);
        self.0.push((key.to_owned(), value.into()));
    }

    pub fn push(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.push((key.into(), value.into()));
    }

    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(name, _)| name != key);
    }

    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Every parameter under `prefix.`, with the prefix taken off.
    pub fn under(&self, prefix: &str) -> Form {
        Form(
            self.0
                .iter()
                .filter_map(|(key, value)| {
                    let rest = key.strip_prefix(prefix)?.strip_prefix('.')?;
                    Some((rest.to_owned(), value.clone()))
                })
                .collect(),
        )
    }

    /// The structures of a list: `prefix.1.x`, `prefix.member.1.x` and `prefix.Name.1.x` all count.
    pub fn structures(&self, prefix: &str) -> Vec<Form> {
        let mut entries = BTreeMap::<u32, Form>::new();
        for (key, value) in &self.under(prefix).0 {
            let mut parts = key.splitn(3, '.');
            let first = parts.next().unwrap_or_default();
            let (index, rest) = match first.parse() {
                Ok(index) => (Some(index), key[first.len()..].trim_start_matches('.').to_owned()),
                Err(_) => {
                    (parts.next().and_then(|second| second.parse().ok()), parts.next().unwrap_or_default().to_owned())
                }
            };
            if let Some(index) = index {
                entries.entry(index).or_default().0.push((rest, value.clone()));
            }
        }
        entries.into_values().collect()
    }

    /// The values of a list of strings.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        self.structures(prefix).iter().filter_map(|entry| entry.get("").map(str::to_owned)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn reads_the_three_ways_to_write_a_list() {
        let form = Form::parse(b"A.1=x&A.2=y&B.member.1=z&C.Tag.1.Key=k&C.Tag.1.Value=v&D=1");
        assert_eq!(form.list("A"), ["x", "y"]);
        assert_eq!(form.list("B"), ["z"]);
        assert_eq!(form.structures("C")[0].text("Value"), "v");
        assert_eq!(form.number("D"), Some(1));
        assert_eq!(Form::parse(form.encode().as_bytes()), form);
    }
}
