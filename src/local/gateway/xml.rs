//! A small XML tree: what the query protocols answer with, read, mended and written again.

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesStart, Event};

/// One element: its text or its children. Mixed content does not occur in AWS answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Element>,
    pub text: String,
}

impl Element {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub fn leaf(name: impl Into<String>, text: impl ToString) -> Self {
        Self { name: name.into(), text: text.to_string(), ..Self::default() }
    }

    pub fn with(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    pub fn with_all(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children.extend(children);
        self
    }

    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn child_mut(&mut self, name: &str) -> Option<&mut Element> {
        self.children.iter_mut().find(|child| child.name == name)
    }

    /// The text of a child, or the empty string when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.as_str())
    }

    /// Replaces the child of the same name, or appends it.
    pub fn set(&mut self, child: Element) {
        match self.child_mut(&child.name) {
            Some(existing) => *existing = child,
            None => self.children.push(child),
        }
    }

    /// Every element of that name, at any depth, in document order.
    pub fn all<'a>(&'a self, name: &str) -> Vec<&'a Element> {
        let mut found = Vec::new();
        self.collect(name, &mut found);
        found
    }

    fn collect<'a>(&'a self, name: &str, found: &mut Vec<&'a Element>) {
        for child in &self.children {
            if child.name == name {
                found.push(child);
            }
            child.collect(name, found);
        }
    }

    /// The first element of that name at any depth.
    pub fn find(&self, name: &str) -> Option<&Element> {
        self.children.iter().find_map(|child| if child.name == name { Some(child) } else { child.find(name) })
    }

    pub fn find_mut(&mut self, name: &str) -> Option<&mut Element> {
        for child in &mut self.children {
            if child.name == name {
                return Some(child);
            }
            if let Some(found) = child.find_mut(name) {
                return Some(found);
            }
        }
        None
    }

    /// The members of a list, named `list`, that is the first of its name at any depth.
    pub fn members(&self, list: &str) -> &[Element] {
        self.find(list).map_or(&[], |list| list.children.as_slice())
    }

    pub fn parse(text: &str) -> Result<Self, quick_xml::Error> {
        let mut reader = Reader::from_str(text);
        let mut stack = vec![Element::default()];
        loop {
            match reader.read_event()? {
                Event::Start(start) => stack.push(open(&start)?),
                Event::Empty(start) => {
                    let element = open(&start)?;
                    append(&mut stack, element);
                }
                Event::End(_) => {
                    if let Some(mut element) = stack.pop() {
                        if !element.children.is_empty() {
                            element.text.clear();
                        }
                        append(&mut stack, element);
                    }
                }
                Event::Text(text) => add_text(&mut stack, &text.xml10_content()),
                Event::CData(data) => add_text(&mut stack, &data),
                Event::GeneralRef(reference) => {
                    let resolved = match reference.resolve_char_ref()? {
                        Some(character) => character.to_string(),
                        None => resolve_predefined_entity(&reference).unwrap_or_default().to_owned(),
                    };
                    add_text(&mut stack, &resolved);
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let root = stack.swap_remove(0);
        Ok(root.children.into_iter().next().unwrap_or_default())
    }
}

fn open(start: &BytesStart<'_>) -> Result<Element, quick_xml::Error> {
    let mut element = Element::new(start.name().as_ref());
    for attribute in start.attributes() {
        let attribute = attribute?;
        element.attributes.push((attribute.key.as_ref().to_owned(), attribute.value.to_string()));
    }
    Ok(element)
}

fn append(stack: &mut [Element], element: Element) {
    if let Some(parent) = stack.last_mut() {
        parent.children.push(element);
    }
}

fn add_text(stack: &mut [Element], text: &str) {
    if let Some(element) = stack.last_mut() {
        // Servers indent between elements; inside a leaf every character counts.
        element.text.push_str(text);
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{}", self.name)?;
        for (key, value) in &self.attributes {
            write!(f, " {key}=\"{value}\"")?;
        }
        write!(f, ">")?;
        if self.children.is_empty() {
            write!(f, "{}", escape(self.text.as_str()))?;
        } else {
            for child in &self.children {
                child.fmt(f)?;
            }
        }
        write!(f, "</{}>", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::Element;

    #[test]
    fn reads_and_writes_what_it_read() {
        let text = "<A xmlns=\"urn:x\"><B>a &amp; b &lt;c&gt;</B><C></C><L><m>1</m><m> 2 </m></L></A>";
        let element = Element::parse(&format!("<?xml version=\"1.0\"?>\n{text}\n")).unwrap();
        assert_eq!(element.get("B"), "a & b <c>");
        assert_eq!(element.members("L")[1].text, " 2 ");
        assert_eq!(element.to_string(), text);
    }

    #[test]
    fn refuses_what_is_not_xml() {
        assert!(Element::parse("<A><B></A>").is_err());
    }
}
