//! Structured data of RFC 5424: elements with an id, names and values.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Elements with their names and values. Serializes as an object of objects; of a name that comes
/// more than once the value is a list. An id that comes twice, which the form forbids, is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StructuredData<'a> {
    elements: Vec<Element<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Element<'a> {
    id: &'a str,
    values: Vec<(&'a str, Vec<Cow<'a, str>>)>,
}

impl<'a> StructuredData<'a> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The values of a name in the element of an id.
    pub fn values(&self, id: &str, name: &str) -> &[Cow<'a, str>] {
        let element = self.elements.iter().find(|element| element.id == id);
        let values = element.and_then(|element| element.values.iter().find(|(n, _)| *n == name));
        values.map_or(&[], |(_, values)| values)
    }

    /// Takes `-` or elements from the front of `text`; `None` if they are malformed.
    pub(super) fn take(text: &'a str) -> Option<(Self, &'a str)> {
        let mut all = Self::default();
        if let Some(rest) = text.strip_prefix('-') {
            return Some((all, rest));
        }
        let mut rest = all.take_element(text)?;
        while rest.starts_with('[') {
            rest = all.take_element(rest)?;
        }
        Some((all, rest))
    }

    fn take_element(&mut self, text: &'a str) -> Option<&'a str> {
        let (id, mut rest) = name(text.strip_prefix('[')?)?;
        let element = self.element(id);
        loop {
            if let Some(rest) = rest.strip_prefix(']') {
                return Some(rest);
            }
            let (name, after) = name(rest.strip_prefix(' ')?)?;
            let (value, after) = value(after.strip_prefix("=\"")?)?;
            match element.values.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => element.values.push((name, vec![value])),
            }
            rest = after;
        }
    }

    fn element(&mut self, id: &'a str) -> &mut Element<'a> {
        let known = self.elements.iter().position(|element| element.id == id);
        let index = known.unwrap_or_else(|| {
            self.elements.push(Element { id, values: Vec::new() });
            self.elements.len() - 1
        });
        &mut self.elements[index]
    }
}

/// An id or a name: printable ASCII but for `=`, space, `]` and `"`.
fn name(text: &str) -> Option<(&str, &str)> {
    let is_of_name = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'=' | b']' | b'"');
    let length = text.bytes().take_while(is_of_name).count();
    (length > 0).then(|| text.split_at(length))
}

/// A value up to its closing quote: `\"`, `\\` and `\]` stand for what follows the backslash.
/// A backslash before anything else stands for itself.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut unescaped: Option<String> = None;
    let (mut from, mut bytes) = (0, text.bytes().enumerate());
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let last = &text[from..at];
                let value = match unescaped {
                    None => Cow::Borrowed(last),
                    Some(before) => Cow::Owned(before + last),
                };
                return Some((value, &text[at + 1..]));
            }
            // It has to be escaped.
            b']' => return None,
            b'\\' if matches!(text.as_bytes().get(at + 1), Some(b'"' | b'\\' | b']')) => {
                unescaped.get_or_insert_default().push_str(&text[from..at]);
                from = at + 1;
                bytes.next();
            }
            _ => {}
        }
    }
    None
}

impl Serialize for StructuredData<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.elements.iter().map(|element| (element.id, element)))
    }
}

impl Serialize for Element<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (name, values) in &self.values {
            match values.as_slice() {
                [one] => map.serialize_entry(name, one)?,
                many => map.serialize_entry(name, many)?,
            }
        }
        map.end()
    }
}
