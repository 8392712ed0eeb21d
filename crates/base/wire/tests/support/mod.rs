//! Values of any shape, drawn from a seed.

use std::collections::BTreeMap;

use pileus_core::Timestamp;
use pileus_model::{OperationSchema, Protocol, Shape, StructureSchema, Support, Value};

pub(crate) fn operations() -> Vec<&'static OperationSchema> {
    pileus_aws::SERVICES.iter().flat_map(|service| service.implemented).copied().collect()
}

/// Draws values. `holes` says whether empty lists, maps and structures may occur: form-encoded requests
/// cannot carry all of them.
pub(crate) struct Draw {
    state: u64,
    holes: bool,
}

impl Draw {
    pub(crate) fn new(seed: u64, holes: bool) -> Self {
        Self { state: seed | 1, holes }
    }

    /// What requests of the protocol can carry.
    pub(crate) fn request(seed: u64, protocol: Protocol) -> Self {
        Self::new(seed, !matches!(protocol, Protocol::Query | Protocol::Ec2))
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 33).expect("31 bits fit") % limit.max(1)
    }

    pub(crate) fn structure(&mut self, schema: &'static StructureSchema, depth: usize) -> Value {
        let mut members = Vec::new();
        for member in schema.members.iter().filter(|member| member.support != Support::Unsupported) {
            let wanted = member.required || self.below(3) > 0;
            if let Some(value) = wanted.then(|| self.value(member.shape, depth)).flatten() {
                members.push((member.name, value));
            }
        }
        Value::Structure(members)
    }

    /// `None` where the value would be a hole, or too deep.
    fn value(&mut self, shape: &'static Shape, depth: usize) -> Option<Value> {
        let least = usize::from(!self.holes);
        let value = match shape {
            Shape::Bool => Value::Bool(self.below(2) == 0),
            Shape::Integer { .. } => Value::Integer(self.below(1 << 31) as i64 - (1 << 30)),
            Shape::Long { .. } => Value::Integer((self.below(1 << 31) as i64) << self.below(30)),
            Shape::Double { .. } => Value::Float(self.below(1 << 31) as f64 / (1 + self.below(999)) as f64),
            Shape::String(_) => Value::String(self.text()),
            Shape::Document => Value::String("{\"a\":[1,null]}".to_owned()),
            Shape::Blob { .. } => Value::Blob((0..self.below(9)).map(|_| self.below(256) as u8).collect()),
            Shape::Timestamp => Value::Timestamp(Timestamp::from_millis((self.below(1 << 31) as i64) * 997)),
            Shape::Opaque => return None,
            Shape::List { .. } | Shape::Map { .. } | Shape::Structure(_) if depth == 0 => return None,
            Shape::List { member, .. } => {
                let count = self.below(4);
                let items: Vec<Value> = (0..count).filter_map(|_| self.value(member, depth - 1)).collect();
                (items.len() >= least).then_some(Value::List(items))?
            }
            Shape::Map { value, .. } => {
                let count = self.below(4);
                let entries: BTreeMap<String, Value> =
                    (0..count).filter_map(|_| Some((self.text(), self.value(value, depth - 1)?))).collect();
                (entries.len() >= least).then_some(Value::Map(entries))?
            }
            Shape::Structure(schema) => match self.structure(schema, depth - 1) {
                Value::Structure(members) if members.len() < least => return None,
                value => value,
            },
        };
        Some(value)
    }

    fn text(&mut self) -> String {
        const CHARS: &[char] = &[
            'a',
            'Z',
            '7',
            ' ',
            '&',
            '<',
            '>',
            '"',
            '\'',
            '\r',
            '\n',
            '\t',
            '+',
            '%',
            '=',
            '.',
            ';',
            '/',
            '\\',
            '#',
            '{',
            ']',
            'é',
            '\u{85}',
            '\u{1F344}',
        ];
        (0..self.below(12)).map(|_| CHARS[self.below(CHARS.len())]).collect()
    }
}
