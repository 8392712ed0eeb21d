//! Writes XML straight into a string.

use pileus_model::{Shape, StructureSchema, Value};

use crate::scalar;

#[derive(Default)]
pub(crate) struct Writer(String);

impl Writer {
    pub(crate) fn document() -> Self {
        Self("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned())
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }

    /// An element with what `content` writes inside.
    pub(crate) fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.element_in(name, "", content);
    }

    /// The same with a namespace, where it is not empty.
    pub(crate) fn element_in(&mut self, name: &str, namespace: &str, content: impl FnOnce(&mut Self)) {
        self.0.push('<');
        self.0.push_str(name);
        if !namespace.is_empty() {
            self.0.push_str(" xmlns=\"");
            self.push_escaped(namespace);
            self.0.push('"');
        }
        let start = self.0.len();
        self.0.push('>');
        content(self);
        if self.0.len() == start + 1 {
            self.0.truncate(start);
            self.0.push_str("/>");
        } else {
            self.0.push_str("</");
            self.0.push_str(name);
            self.0.push('>');
        }
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.element(name, |writer| writer.push_escaped(text));
    }

    fn push_escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                // A parser would turn a bare one into a line feed.
                '\r' => self.0.push_str("&#xD;"),
                '\t' | '\n' => self.0.push(c),
                // XML 1.0 cannot carry these in any form.
                c if c.is_control() && c < ' ' => self.0.push('\u{FFFD}'),
                '\u{FFFE}' | '\u{FFFF}' => self.0.push('\u{FFFD}'),
                c => self.0.push(c),
            }
        }
    }
}

/// The members of a structure, without an element around them.
pub(crate) fn structure(writer: &mut Writer, schema: &'static StructureSchema, value: &Value) {
    for member in schema.members {
        if let Some(value) = value.get(member.name) {
            named(writer, member.wire, member.shape, value);
        }
    }
}

fn named(writer: &mut Writer, name: &str, shape: &'static Shape, value: &Value) {
    match (shape, value) {
        (Shape::List { member, flattened: true, .. }, Value::List(items)) => {
            items.iter().for_each(|item| named(writer, name, member, item));
        }
        (Shape::List { member, item: item_name, .. }, Value::List(items)) => {
            writer
                .element(name, |writer| items.iter().for_each(|item| named(writer, item_name, member, item)));
        }
        (Shape::Map { value: shape, key_name, value_name, flattened, .. }, Value::Map(entries)) => {
            let entry_name = if *flattened { name } else { "entry" };
            let write = |writer: &mut Writer| {
                for (key, item) in entries {
                    writer.element(entry_name, |writer| {
                        writer.text(key_name, key);
                        named(writer, value_name, shape, item);
                    });
                }
            };
            if *flattened { write(writer) } else { writer.element(name, write) }
        }
        (Shape::Structure(schema), value) => writer.element(name, |writer| structure(writer, schema, value)),
        (_, value) => writer.text(name, &scalar::text(value).unwrap_or_default()),
    }
}
