//! The rule language of composite alarms: `ALARM(a) AND NOT (OK("b") OR INSUFFICIENT_DATA(arn))`, `TRUE`, `FALSE`.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html>

use std::collections::BTreeSet;

use super::{StateValue, name_of};

const MAX_CHILDREN: usize = 100;
const MAX_ELEMENTS: usize = 500;
/// How deep parentheses and NOTs may nest.
const MAX_DEPTH: usize = 50;

/// A parsed rule. NOT binds before AND, AND before OR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Constant(bool),
    /// By name: an ARN has been cut to it.
    Is(StateValue, String),
    Not(Box<Rule>),
    All(Vec<Rule>),
    Any(Vec<Rule>),
}

impl Rule {
    /// # Errors
    /// What is wrong, for the client.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
        let rule = parser.any()?;
        if parser.at < parser.tokens.len() {
            return Err(format!("unexpected {}", parser.next_word()));
        }
        if rule.children().len() > MAX_CHILDREN {
            return Err(format!("a rule can name at most {MAX_CHILDREN} alarms"));
        }
        Ok(rule)
    }

    pub(super) fn holds(&self, state_of: &impl Fn(&str) -> StateValue) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Is(state, name) => state_of(name) == *state,
            Self::Not(rule) => !rule.holds(state_of),
            Self::All(rules) => rules.iter().all(|rule| rule.holds(state_of)),
            Self::Any(rules) => rules.iter().any(|rule| rule.holds(state_of)),
        }
    }

    /// The names of the alarms that the rule looks at.
    pub(super) fn children(&self) -> BTreeSet<&str> {
        match self {
            Self::Constant(_) => BTreeSet::new(),
            Self::Is(_, name) => BTreeSet::from([name.as_str()]),
            Self::Not(rule) => rule.children(),
            Self::All(rules) | Self::Any(rules) => rules.iter().flat_map(Self::children).collect(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Word(String),
    /// What stands between the parentheses of a function.
    Alarm(StateValue, String),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        match first {
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            _ => {
                let end =
                    rest.find(|c: char| c.is_whitespace() || c == '(' || c == ')').unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                let upper = word.to_ascii_uppercase();
                let argument = after.trim_start().strip_prefix('(');
                if let (Some(state), Some(argument)) = (StateValue::parse(&upper), argument) {
                    let (name, after) = argument_of(argument)?;
                    tokens.push(Token::Alarm(state, name_of(name).to_owned()));
                    rest = after.trim_start();
                } else {
                    tokens.push(Token::Word(upper));
                    rest = after.trim_start();
                }
                if tokens.len() > MAX_ELEMENTS {
                    return Err(format!("a rule can have at most {MAX_ELEMENTS} elements"));
                }
                continue;
            }
        }
        rest = rest[1..].trim_start();
    }
    Ok(tokens)
}

/// The name before the closing parenthesis, with or without quotes, and what follows.
fn argument_of(text: &str) -> Result<(&str, &str), String> {
    let text = text.trim_start();
    let unclosed = || "a parenthesis or quote is not closed".to_owned();
    let (name, after) = match text.strip_prefix('"') {
        Some(quoted) => {
            let (name, after) = quoted.split_once('"').ok_or_else(unclosed)?;
            (name, after.trim_start().strip_prefix(')').ok_or_else(unclosed)?)
        }
        None => {
            let (name, after) = text.split_once(')').ok_or_else(unclosed)?;
            (name.trim_end(), after)
        }
    };
    if name.is_empty() { Err("an alarm's name is empty".to_owned()) } else { Ok((name, after)) }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn any(&mut self) -> Result<Rule, String> {
        self.chain("OR", Self::all, Rule::Any)
    }

    fn all(&mut self) -> Result<Rule, String> {
        self.chain("AND", Self::one, Rule::All)
    }

    fn chain(
        &mut self,
        operator: &str,
        part: fn(&mut Self) -> Result<Rule, String>,
        join: fn(Vec<Rule>) -> Rule,
    ) -> Result<Rule, String> {
        let mut parts = vec![part(self)?];
        while self.tokens.get(self.at) == Some(&Token::Word(operator.to_owned())) {
            self.at += 1;
            parts.push(part(self)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { join(parts) })
    }

    fn one(&mut self) -> Result<Rule, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        let rule = match token {
            Some(Token::Alarm(state, name)) => Rule::Is(state, name),
            Some(Token::Word(word)) if word == "TRUE" => Rule::Constant(true),
            Some(Token::Word(word)) if word == "FALSE" => Rule::Constant(false),
            Some(Token::Word(word)) if word == "NOT" => Rule::Not(Box::new(self.one()?)),
            Some(Token::Open) => {
                let inner = self.any()?;
                if self.tokens.get(self.at) != Some(&Token::Close) {
                    return Err("a parenthesis is not closed".to_owned());
                }
                self.at += 1;
                inner
            }
            _ => {
                self.at -= 1;
                return Err(format!("unexpected {}", self.next_word()));
            }
        };
        self.depth -= 1;
        Ok(rule)
    }

    fn next_word(&self) -> String {
        match self.tokens.get(self.at) {
            None => "end of the rule".into(),
            Some(Token::Open) => "(".into(),
            Some(Token::Close) => ")".into(),
            Some(Token::Word(word)) => word.clone(),
            Some(Token::Alarm(state, name)) => format!("{state}({name})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(rule: &str, in_alarm: &[&str]) -> bool {
        let state = |name: &str| if in_alarm.contains(&name) { StateValue::Alarm } else { StateValue::Ok };
        Rule::parse(rule).expect("a valid rule").holds(&state)
    }

    #[test]
    fn rules_of_the_api_reference() {
        let both = "ALARM(CPUUtilizationTooHigh) AND ALARM(DiskReadOpsTooHigh)";
        assert!(holds(both, &["CPUUtilizationTooHigh", "DiskReadOpsTooHigh"]));
        assert!(!holds(both, &["CPUUtilizationTooHigh"]));
        let window = "ALARM(CPU) AND NOT ALARM(\"Deployment In Progress\")";
        assert!(holds(window, &["CPU"]));
        assert!(!holds(window, &["CPU", "Deployment In Progress"]));
        let nested = "(ALARM(CPU) OR ALARM(Disk)) AND OK(Network)";
        assert!(holds(nested, &["Disk"]));
        assert!(!holds(nested, &["Disk", "Network"]));
        assert!(holds("alarm(arn:aws:cloudwatch:us-east-1:000000000000:alarm:CPU)", &["CPU"]));
        assert!(holds("TRUE OR FALSE AND FALSE", &[]), "AND binds before OR");
        assert!(!holds("false", &[]));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in ["", "ALARM()", "ALARM(a", "ALARM(a) OR", "ALARM(a) ALARM(b)", "(TRUE", "MAYBE(a)", ")"] {
            assert!(Rule::parse(text).is_err(), "{text}");
        }
        assert!(Rule::parse(&"(".repeat(400)).is_err());
        assert!(Rule::parse(&"NOT ".repeat(400)).is_err());
        let many = (0..101).map(|n| format!("ALARM(a{n})")).collect::<Vec<_>>().join(" OR ");
        assert!(Rule::parse(&many).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[A-Z(){}\" a-dé:]{0,60}|(NOT |ALARM\\(a\\)| AND | OR |\\(|\\)){0,20}") {
            let _ = Rule::parse(&text);
        }
    }
}
