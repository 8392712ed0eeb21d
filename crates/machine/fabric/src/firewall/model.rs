//! A table of nftables as a value: named sets, maps and chains, rules as text.

use std::collections::BTreeMap;

/// One `table ip` with all that is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub name: String,
    pub sets: BTreeMap<String, Set>,
    pub chains: BTreeMap<String, Chain>,
}

/// A named set, or a map when its elements have values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    /// `set` or `map`.
    pub keyword: &'static str,
    /// Such as `ifname . ipv4_addr` or `ifname : verdict`.
    pub kind: &'static str,
    /// Key to value; the values of a set are empty.
    pub elements: BTreeMap<String, String>,
}

/// A chain: its hook if it is a base chain, and its rules in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    pub hook: Option<String>,
    pub rules: Vec<String>,
}

impl Table {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), sets: BTreeMap::new(), chains: BTreeMap::new() }
    }

    pub(crate) fn set(
        &mut self,
        name: impl Into<String>,
        kind: &'static str,
        keys: impl IntoIterator<Item = String>,
    ) {
        let elements = keys.into_iter().map(|key| (key, String::new())).collect();
        self.sets.insert(name.into(), Set { keyword: "set", kind, elements });
    }

    pub(crate) fn map(
        &mut self,
        name: impl Into<String>,
        kind: &'static str,
        elements: impl IntoIterator<Item = (String, String)>,
    ) {
        let elements = elements.into_iter().collect();
        self.sets.insert(name.into(), Set { keyword: "map", kind, elements });
    }

    /// A chain that others jump to.
    pub(crate) fn chain(&mut self, name: impl Into<String>, rules: Vec<String>) {
        self.chains.insert(name.into(), Chain { hook: None, rules });
    }

    /// A chain that the kernel calls, described as `filter hook forward priority filter; policy drop`.
    pub(crate) fn base_chain(&mut self, name: impl Into<String>, hook: &str, rules: Vec<String>) {
        self.chains.insert(name.into(), Chain { hook: Some(hook.to_owned()), rules });
    }
}
