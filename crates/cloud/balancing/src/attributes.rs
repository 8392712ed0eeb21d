//! Attributes: keys with texts for values, on load balancers and target groups. A table tells for each key its
//! default, what values AWS accepts, and which of them this balancer carries out; the others are refused.

use std::collections::BTreeMap;

use pileus_core::ApiError;

use crate::resource::invalid;

/// The attributes of one resource that differ from their defaults.
pub(crate) type Attributes = BTreeMap<String, String>;

pub(crate) struct Attribute {
    pub(crate) key: &'static str,
    pub(crate) default: &'static str,
    pub(crate) values: Values,
    pub(crate) support: Support,
}

/// What AWS accepts.
pub(crate) enum Values {
    Boolean,
    OneOf(&'static [&'static str]),
    /// Inclusive.
    Range(u32, u32),
    /// Up to 1024 characters (the model bounds them).
    Text,
}

/// What the balancer carries out.
pub(crate) enum Support {
    Full,
    /// The value that it has, and no other.
    Fixed,
    Only(&'static [&'static str]),
}

/// Every attribute of `table` with the value it has.
pub(crate) fn list(table: &'static [Attribute], set: &Attributes) -> Vec<(String, String)> {
    table.iter().map(|attribute| (attribute.key.to_owned(), attribute.value(set).to_owned())).collect()
}

/// The value of the attribute `key` of `table`.
pub(crate) fn value<'a>(table: &'static [Attribute], set: &'a Attributes, key: &str) -> &'a str {
    let attribute = table.iter().find(|attribute| attribute.key == key);
    attribute.expect("the key stands in the table").value(set)
}

/// Sets the attributes named in `changes`, all or none.
///
/// # Errors
/// A key or value is unknown to AWS, or not carried out here.
pub(crate) fn modify(
    table: &'static [Attribute],
    noun: &str,
    set: &Attributes,
    changes: impl Iterator<Item = (Option<String>, Option<String>)>,
) -> Result<Attributes, ApiError> {
    let mut next = set.clone();
    for (key, value) in changes {
        let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
        let Some(attribute) = table.iter().find(|attribute| attribute.key == key) else {
            return Err(invalid(format!("{noun} attribute key '{key}' is not recognized")));
        };
        attribute.check(noun, &value, attribute.value(set))?;
        if value == attribute.default {
            next.remove(&key);
        } else {
            next.insert(key, value);
        }
    }
    Ok(next)
}

impl Attribute {
    fn value<'a>(&self, set: &'a Attributes) -> &'a str {
        set.get(self.key).map_or(self.default, String::as_str)
    }

    fn check(&self, noun: &str, value: &str, present: &str) -> Result<(), ApiError> {
        let valid = match self.values {
            Values::Boolean => matches!(value, "true" | "false"),
            Values::OneOf(values) => values.contains(&value),
            Values::Range(min, max) => value.parse().is_ok_and(|number: u32| (min..=max).contains(&number)),
            Values::Text => true,
        };
        // A default such as 0 for "off" may lie outside the range.
        if !valid && value != self.default {
            return Err(invalid(format!(
                "{noun} attribute value '{value}' for key '{}' is not valid",
                self.key
            )));
        }
        let supported = match self.support {
            Support::Full => true,
            Support::Fixed => value == present,
            Support::Only(values) => values.contains(&value),
        };
        if supported {
            return Ok(());
        }
        Err(ApiError::not_implemented(format_args!("the value '{value}' of the attribute '{}'", self.key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TABLE: &[Attribute] = &[
        Attribute { key: "off", default: "0", values: Values::Range(30, 900), support: Support::Fixed },
        Attribute { key: "on", default: "60", values: Values::Range(1, 4000), support: Support::Full },
    ];

    fn modified(set: &Attributes, key: &str, value: &str) -> Result<Attributes, String> {
        let change = (Some(key.to_owned()), Some(value.to_owned()));
        modify(TABLE, "Load balancer", set, [change].into_iter()).map_err(|error| error.code.into_owned())
    }

    #[test]
    fn only_what_is_carried_out_can_be_set() {
        let none = Attributes::new();
        let set = modified(&none, "on", "75").expect("in range");
        assert_eq!(value(TABLE, &set, "on"), "75");
        assert_eq!(list(TABLE, &set), [("off".into(), "0".into()), ("on".into(), "75".into())]);
        assert_eq!(modified(&set, "on", "60"), Ok(none.clone()), "back at the default nothing is kept");
        assert_eq!(modified(&none, "off", "0"), Ok(none.clone()));
        for (key, value, code) in [
            ("off", "60", "UnsupportedOperation"),
            ("off", "5", "ValidationError"),
            ("on", "4001", "ValidationError"),
            ("on", "soon", "ValidationError"),
            ("other", "1", "ValidationError"),
        ] {
            assert_eq!(modified(&none, key, value), Err(code.to_owned()), "{key}={value}");
        }
    }
}
