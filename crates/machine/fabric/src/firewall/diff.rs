//! From one table to the next in one transaction.
//!
//! The order makes every step valid for the kernel, which checks each one as it comes: what is referred to is there
//! before, and is deleted after, whatever refers to it.

use std::collections::BTreeMap;
use std::fmt;

use super::{Chain, Set, Table};

/// Elements per command, so that lines stay readable in an error of nft.
const ELEMENTS: usize = 200;
static NO_ELEMENTS: BTreeMap<String, String> = BTreeMap::new();

/// One command of an nft script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    AddSet(&'a str, &'a Set),
    AddChain(&'a str, &'a Chain),
    FlushChain(&'a str),
    AddRule(&'a str, &'a str),
    DeleteElements(&'a str, Vec<&'a str>),
    AddElements(&'a str, Vec<(&'a str, &'a str)>),
    DeleteChain(&'a str),
    DeleteSet(&'a str),
}

impl Table {
    /// The script that turns `old` into this table; `None` when nothing differs. Without `old`, or where a
    /// declaration changed, it replaces whatever is there, which established connections survive.
    pub(crate) fn script_from(&self, old: Option<&Self>) -> Option<String> {
        let old = old.filter(|old| same_declarations(old, self));
        let name = &self.name;
        let nothing = Self::new(name.clone());
        let prelude = match old {
            Some(_) => String::new(),
            None => format!("table ip {name}\ndelete table ip {name}\ntable ip {name}\n"),
        };
        let commands = changes(old.unwrap_or(&nothing), self);
        if prelude.is_empty() && commands.is_empty() {
            return None;
        }
        let lines = commands.iter().map(|command| Line { table: &self.name, command }.to_string());
        Some(lines.fold(prelude, |script, line| script + &line))
    }
}

/// Whether every set and base chain that both have is declared alike; the kernel cannot change declarations.
fn same_declarations(old: &Table, new: &Table) -> bool {
    let sets = new.sets.iter().all(|(name, set)| {
        old.sets.get(name).is_none_or(|old| (old.keyword, old.kind) == (set.keyword, set.kind))
    });
    let chains =
        new.chains.iter().all(|(name, chain)| old.chains.get(name).is_none_or(|old| old.hook == chain.hook));
    old.name == new.name && sets && chains
}

/// The commands that lead from `old` to `new`, whose declarations agree.
pub(super) fn changes<'a>(old: &'a Table, new: &'a Table) -> Vec<Command<'a>> {
    let mut commands = Vec::new();
    for (name, set) in added(&old.sets, &new.sets) {
        commands.push(Command::AddSet(name, set));
    }
    for (name, chain) in added(&old.chains, &new.chains) {
        commands.push(Command::AddChain(name, chain));
    }
    for (name, chain) in &new.chains {
        change_rules(&mut commands, name, old.chains.get(name), chain);
    }
    for (name, set) in &new.sets {
        let old = old.sets.get(name).map_or(&NO_ELEMENTS, |old| &old.elements);
        change_elements(&mut commands, name, old, &set.elements);
    }
    let gone: Vec<&str> = added(&new.chains, &old.chains).map(|(name, _)| name).collect();
    // Chains that go may refer to each other and to sets that go, and these to such chains.
    commands.extend(gone.iter().map(|name| Command::FlushChain(name)));
    commands.extend(added(&new.sets, &old.sets).map(|(name, _)| Command::DeleteSet(name)));
    commands.extend(gone.iter().map(|name| Command::DeleteChain(name)));
    commands
}

fn change_rules<'a>(commands: &mut Vec<Command<'a>>, name: &'a str, old: Option<&Chain>, new: &'a Chain) {
    let old = old.map_or(&[][..], |old| &old.rules);
    if old == new.rules {
        return;
    }
    // A chain that only grew at its end keeps its rules.
    let fresh = match new.rules.strip_prefix(old) {
        Some(rest) => rest,
        None => {
            commands.push(Command::FlushChain(name));
            &new.rules
        }
    };
    commands.extend(fresh.iter().map(|rule| Command::AddRule(name, rule)));
}

fn change_elements<'a>(
    commands: &mut Vec<Command<'a>>,
    name: &'a str,
    old: &'a BTreeMap<String, String>,
    new: &'a BTreeMap<String, String>,
) {
    let gone: Vec<&str> =
        old.iter().filter(|(key, value)| new.get(*key) != Some(value)).map(|(key, _)| key.as_str()).collect();
    let fresh: Vec<(&str, &str)> = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    commands.extend(gone.chunks(ELEMENTS).map(|keys| Command::DeleteElements(name, keys.to_vec())));
    commands.extend(fresh.chunks(ELEMENTS).map(|pairs| Command::AddElements(name, pairs.to_vec())));
}

fn added<'a, T>(
    old: &'a BTreeMap<String, T>,
    new: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a str, &'a T)> {
    new.iter().filter(|(name, _)| !old.contains_key(*name)).map(|(name, value)| (name.as_str(), value))
}

struct Line<'a> {
    table: &'a str,
    command: &'a Command<'a>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table;
        match self.command {
            Command::AddSet(name, Set { keyword, kind, .. }) => {
                writeln!(f, "add {keyword} ip {table} {name} {{ type {kind}; }}")
            }
            Command::AddChain(name, Chain { hook: Some(hook), .. }) => {
                writeln!(f, "add chain ip {table} {name} {{ type {hook}; }}")
            }
            Command::AddChain(name, _) => writeln!(f, "add chain ip {table} {name}"),
            Command::FlushChain(name) => writeln!(f, "flush chain ip {table} {name}"),
            Command::AddRule(name, rule) => writeln!(f, "add rule ip {table} {name} {rule}"),
            Command::DeleteElements(name, keys) => {
                writeln!(f, "delete element ip {table} {name} {{ {} }}", keys.join(", "))
            }
            Command::AddElements(name, pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(key, value)| element(key, value)).collect();
                writeln!(f, "add element ip {table} {name} {{ {} }}", pairs.join(", "))
            }
            Command::DeleteChain(name) => writeln!(f, "delete chain ip {table} {name}"),
            Command::DeleteSet(name) => writeln!(f, "delete set ip {table} {name}"),
        }
    }
}

fn element(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_owned() } else { format!("{key} : {value}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What the kernel does with a command, with the kernel's own refusals.
    fn carry_out(table: &mut Table, command: &Command<'_>) {
        match command {
            Command::AddSet(name, set) => {
                let empty = Set { elements: BTreeMap::new(), ..(*set).clone() };
                assert!(table.sets.insert((*name).to_owned(), empty).is_none(), "{name} exists");
            }
            Command::AddChain(name, chain) => {
                let empty = Chain { hook: chain.hook.clone(), rules: Vec::new() };
                assert!(table.chains.insert((*name).to_owned(), empty).is_none(), "{name} exists");
            }
            Command::FlushChain(name) => table.chains.get_mut(*name).unwrap().rules.clear(),
            Command::AddRule(name, rule) => {
                refers(table, rule);
                table.chains.get_mut(*name).unwrap().rules.push((*rule).to_owned());
            }
            Command::DeleteElements(name, keys) => {
                for key in keys {
                    assert!(table.sets.get_mut(*name).unwrap().elements.remove(*key).is_some());
                }
            }
            Command::AddElements(name, pairs) => {
                for (key, value) in pairs {
                    refers(table, value);
                    let elements = &mut table.sets.get_mut(*name).unwrap().elements;
                    assert!(elements.insert((*key).to_owned(), (*value).to_owned()).is_none());
                }
            }
            Command::DeleteChain(name) => {
                assert!(table.chains.remove(*name).unwrap().rules.is_empty(), "flushed before");
                assert!(!referred(table).contains(&format!("jump {name}")), "{name} is in use");
            }
            Command::DeleteSet(name) => {
                table.sets.remove(*name).unwrap();
                assert!(!referred(table).contains(&format!("lookup {name}")), "{name} is in use");
            }
        }
    }

    fn refers(table: &Table, text: &str) {
        if let Some(chain) = text.strip_prefix("jump ") {
            assert!(table.chains.contains_key(chain), "no chain {chain}");
        }
        if let Some(set) = text.strip_prefix("lookup ") {
            assert!(table.sets.contains_key(set), "no set {set}");
        }
    }

    fn referred(table: &Table) -> BTreeSet<String> {
        let rules = table.chains.values().flat_map(|chain| chain.rules.iter().cloned());
        let values = table.sets.values().flat_map(|set| set.elements.values().cloned());
        rules.chain(values).collect()
    }

    /// Tables with few names, so that old and new share many; references only to what exists.
    fn table() -> impl Strategy<Value = Table> {
        let names = || prop::sample::subsequence(vec!["a", "b", "c", "d"], 0..=4);
        let picks = prop::collection::vec((0..4usize, 0..6usize, 0..5usize), 0..16);
        (names(), names(), picks).prop_map(|(chains, sets, picks)| {
            let mut table = Table::new("t");
            for name in &chains {
                table.chain(*name, Vec::new());
            }
            for name in &sets {
                table.map(*name, "ifname : verdict", []);
            }
            for (place, key, target) in picks {
                let jump = chains.get(target % 4).map(|chain| format!("jump {chain}"));
                let lookup = sets.get(key % 4).map(|set| format!("lookup {set}"));
                if let (Some(chain), Some(rule)) = (chains.get(place), lookup.or(jump.clone())) {
                    table.chains.get_mut(*chain).unwrap().rules.push(rule);
                }
                if let (Some(set), Some(verdict)) = (sets.get(place), jump) {
                    table.sets.get_mut(*set).unwrap().elements.insert(format!("k{key}"), verdict);
                }
            }
            table
        })
    }

    proptest! {
        #[test]
        fn the_difference_leads_from_the_old_table_to_the_new(old in table(), new in table()) {
            let mut state = old.clone();
            for command in changes(&old, &new) {
                carry_out(&mut state, &command);
            }
            prop_assert_eq!(&state, &new);
            prop_assert_eq!(new.script_from(Some(&new)), None);
        }
    }

    #[test]
    fn a_script_says_only_what_changed() {
        let mut old = Table::new("t");
        old.set("members", "ipv4_addr", ["10.0.0.1".to_owned()]);
        old.chain("a", vec!["accept".to_owned()]);
        old.chain("b", vec!["jump a".to_owned()]);
        let mut new = old.clone();
        new.set("members", "ipv4_addr", ["10.0.0.2".to_owned()]);
        new.chain("a", vec!["accept".to_owned(), "drop".to_owned()]);
        new.chain("b", vec!["return".to_owned()]);
        expect_test::expect![[r#"
            add rule ip t a drop
            flush chain ip t b
            add rule ip t b return
            delete element ip t members { 10.0.0.1 }
            add element ip t members { 10.0.0.2 }
        "#]]
        .assert_eq(&new.script_from(Some(&old)).unwrap());
    }

    #[test]
    fn a_changed_declaration_replaces_the_table() {
        let mut old = Table::new("t");
        old.set("members", "ipv4_addr", []);
        let mut new = Table::new("t");
        new.set("members", "ifname", []);
        assert!(new.script_from(Some(&old)).unwrap().starts_with("table ip t\ndelete table ip t\n"));
    }
}
