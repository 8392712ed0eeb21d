//! A parsed XML document, as far as AWS responses need one: elements and text.

use pileus_core::ApiError;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use crate::error::malformed;

const MAX_DEPTH: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Element {
    /// Without a namespace prefix.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the element at the end of a path of names.
    pub(crate) fn text_at(&self, path: &[&str]) -> Option<&str> {
        let element = path.iter().try_fold(self, |element, name| element.child(name))?;
        Some(&element.text)
    }
}

/// The root element of a document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Element, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("The XML document is not UTF-8."))?;
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::default()];
    loop {
        let event =
            reader.read_event().map_err(|cause| malformed(format!("The document is not XML: {cause}.")))?;
        match event {
            Event::Start(start) if open.len() < MAX_DEPTH => open.push(begin(&start)),
            Event::Start(_) => return Err(malformed("The XML document is nested too deep.")),
            Event::Empty(start) => append(&mut open, begin(&start)),
            Event::End(_) => {
                let element = open.pop().unwrap_or_default();
                append(&mut open, element);
            }
            Event::Text(text) => push(&mut open, &text),
            Event::CData(text) => push(&mut open, &text),
            Event::GeneralRef(reference) => push(&mut open, resolve(&reference)?.encode_utf8(&mut [0; 4])),
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => {}
        }
    }
    if open.len() != 1 {
        return Err(malformed("The XML document ends inside an element."));
    }
    let root = open.pop().and_then(|mut document| document.children.pop());
    root.ok_or_else(|| malformed("The XML document is empty."))
}

fn begin(start: &BytesStart<'_>) -> Element {
    let name = start.local_name();
    Element { name: name.as_ref().to_owned(), ..Element::default() }
}

fn append(open: &mut [Element], element: Element) {
    if let Some(parent) = open.last_mut() {
        parent.children.push(element);
    }
}

fn push(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, ApiError> {
    if let Some(c) = reference.resolve_char_ref().map_err(|_| malformed("Bad XML character reference."))? {
        return Ok(c);
    }
    match reference.as_ref() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(malformed("The XML document has an unknown entity.")),
    }
}
