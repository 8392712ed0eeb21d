//! The text of a lifecycle policy.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>

use std::collections::BTreeSet;

use pileus_core::ApiError;
use pileus_core::filter::wildcard;
use serde::Deserialize;

/// AWS's limit on the rules of a policy.
const MAX_RULES: usize = 50;
/// AWS's limit on the wildcards of a tag pattern.
const MAX_WILDCARDS: usize = 4;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(rename = "rulePriority")]
    pub(super) priority: u32,
    #[serde(rename = "description")]
    _description: Option<String>,
    pub(super) selection: Selection,
    action: Action,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Selection {
    pub(super) tag_status: TagStatus,
    tag_prefix_list: Option<Vec<String>>,
    tag_pattern_list: Option<Vec<String>>,
    count_type: String,
    count_unit: Option<String>,
    pub(super) count_number: u32,
    storage_class: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TagStatus {
    Tagged,
    Untagged,
    Any,
}

/// What makes an image one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// As many younger images match.
    MoreThan(usize),
    /// It was pushed more days ago.
    Days(u32),
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Action {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "targetStorageClass")]
    _target_storage_class: Option<String>,
}

impl Rule {
    pub(super) fn count(&self) -> Count {
        let number = self.selection.count_number;
        match self.selection.count_type.as_str() {
            "sinceImagePushed" => Count::Days(number),
            _ => Count::MoreThan(usize::try_from(number).unwrap_or(usize::MAX)),
        }
    }

    /// Whether an image with these tags is the rule's concern: each prefix or pattern must fit one of them.
    pub(super) fn concerns(&self, tags: &[String]) -> bool {
        let selection = &self.selection;
        match selection.tag_status {
            TagStatus::Any => true,
            TagStatus::Untagged => tags.is_empty(),
            TagStatus::Tagged => {
                let prefixes = selection.tag_prefix_list.iter().flatten();
                let patterns = selection.tag_pattern_list.iter().flatten();
                prefixes.into_iter().all(|prefix| tags.iter().any(|tag| tag.starts_with(prefix.as_str())))
                    && patterns.into_iter().all(|pattern| tags.iter().any(|tag| wildcard(pattern, tag)))
            }
        }
    }
}

/// Reads a policy; its rules in order of priority.
///
/// # Errors
/// AWS's refusal of a policy that is malformed, and ours of what Pileus does not do.
pub(super) fn parse(text: &str) -> Result<Vec<Rule>, ApiError> {
    let document: Document = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    let mut rules = document.rules;
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(bad(format!("a policy has 1 to {MAX_RULES} rules, and this one {}", rules.len())));
    }
    rules.iter().try_for_each(check)?;
    rules.sort_by_key(|rule| rule.priority);
    check_together(&rules)?;
    Ok(rules)
}

fn bad(problem: impl std::fmt::Display) -> ApiError {
    crate::repository::invalid(format!(
        "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: \
         {problem}'"
    ))
}

/// One rule on its own.
fn check(rule: &Rule) -> Result<(), ApiError> {
    let (selection, number) = (&rule.selection, rule.priority);
    let wrong = |problem: &str| Err(bad(format!("rule {number}: {problem}")));
    match rule.action.kind.as_str() {
        "expire" => {}
        "transition" => return Err(ApiError::not_implemented("the lifecycle action 'transition'")),
        _ => return wrong("the action's type must be 'expire'"),
    }
    if selection.storage_class.as_ref().is_some_and(|class| class != "standard") {
        return Err(ApiError::not_implemented("storage classes of images other than 'standard'"));
    }
    match (selection.count_type.as_str(), selection.count_unit.as_deref()) {
        ("imageCountMoreThan", None) | ("sinceImagePushed", Some("days")) => {}
        ("imageCountMoreThan", Some(_)) => return wrong("countUnit does not go with imageCountMoreThan"),
        ("sinceImagePushed", _) => return wrong("sinceImagePushed needs the countUnit 'days'"),
        ("sinceImagePulled" | "sinceImageTransitioned", _) => {
            return Err(ApiError::not_implemented(format!("the countType '{}'", selection.count_type)));
        }
        _ => return wrong("countType must be imageCountMoreThan or sinceImagePushed"),
    }
    if rule.priority == 0 || selection.count_number == 0 {
        return wrong("rulePriority and countNumber must be positive");
    }
    let lists = (selection.tag_prefix_list.as_deref(), selection.tag_pattern_list.as_deref());
    match (selection.tag_status, lists) {
        (TagStatus::Tagged, (Some([_, ..]), None)) => Ok(()),
        (TagStatus::Tagged, (None, Some(patterns @ [_, ..]))) => {
            let stars = |pattern: &String| pattern.matches('*').count() > MAX_WILDCARDS;
            if patterns.iter().any(stars) {
                wrong("a tag pattern has at most four wildcards")
            } else {
                Ok(())
            }
        }
        (TagStatus::Tagged, _) => wrong("'tagged' needs either tagPrefixList or tagPatternList"),
        (_, (None, None)) => Ok(()),
        _ => wrong("tagPrefixList and tagPatternList go with 'tagged' only"),
    }
}

/// The rules beside each other, in order of priority.
fn check_together(rules: &[Rule]) -> Result<(), ApiError> {
    let priorities: BTreeSet<u32> = rules.iter().map(|rule| rule.priority).collect();
    if priorities.len() < rules.len() {
        return Err(bad("rulePriority must be unique"));
    }
    let with = |status| rules.iter().filter(move |rule| rule.selection.tag_status == status);
    if with(TagStatus::Untagged).count() > 1 {
        return Err(bad("only one rule may select untagged images"));
    }
    if with(TagStatus::Any).count() > 1
        || with(TagStatus::Any).any(|any| rules.last().is_some_and(|last| last.priority != any.priority))
    {
        return Err(bad("one rule at most may select 'any', and it must have the highest rulePriority"));
    }
    let mut seen = BTreeSet::new();
    let lists = rules.iter().map(|rule| (&rule.selection.tag_prefix_list, &rule.selection.tag_pattern_list));
    for (prefixes, patterns) in lists {
        let list: BTreeSet<_> = prefixes.iter().chain(patterns).flatten().collect();
        if !list.is_empty() && !seen.insert((prefixes.is_some(), list)) {
            return Err(bad("two rules have the same tags"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(priority: u32, selection: &str) -> String {
        format!(r#"{{"rulePriority":{priority},"selection":{{{selection}}},"action":{{"type":"expire"}}}}"#)
    }

    fn code(rules: &[String]) -> Option<String> {
        let text = format!(r#"{{"rules":[{}]}}"#, rules.join(","));
        parse(&text).err().map(|error| error.code.into_owned())
    }

    const COUNT: &str = r#""countType":"imageCountMoreThan","countNumber":3"#;

    #[test]
    fn rules_come_in_order_of_priority() {
        let (any, untagged) =
            (format!(r#""tagStatus":"any",{COUNT}"#), format!(r#""tagStatus":"untagged",{COUNT}"#));
        let text = format!(r#"{{"rules":[{},{}]}}"#, rule(9, &any), rule(1, &untagged));
        let priorities: Vec<u32> = parse(&text).unwrap().iter().map(|rule| rule.priority).collect();
        assert_eq!(priorities, [1, 9]);
        assert_eq!(code(&[rule(1, &any), rule(9, &untagged)]).as_deref(), Some("InvalidParameterException"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let tagged = |more: &str| format!(r#""tagStatus":"tagged",{more}{COUNT}"#);
        for selection in [
            tagged(""),
            tagged(r#""tagPrefixList":[],"#),
            tagged(r#""tagPrefixList":["a"],"tagPatternList":["b"],"#),
            tagged(r#""tagPatternList":["a*b*c*d*e*"],"#),
            format!(r#""tagStatus":"any","tagPrefixList":["a"],{COUNT}"#),
            format!(r#""tagStatus":"some",{COUNT}"#),
            format!(r#""tagStatus":"any","countUnit":"days",{COUNT}"#),
            r#""tagStatus":"any","countType":"sinceImagePushed","countNumber":3"#.into(),
            r#""tagStatus":"any","countType":"imageCountMoreThan","countNumber":0"#.into(),
            r#""tagStatus":"any","countType":"imageCountMoreThan","countNumber":-1"#.into(),
        ] {
            assert_eq!(
                code(&[rule(1, &selection)]).as_deref(),
                Some("InvalidParameterException"),
                "{selection}"
            );
        }
        let one = tagged(r#""tagPrefixList":["a"],"#);
        assert_eq!(code(&[rule(1, &one)]), None);
        for twice in
            [[rule(1, &one), rule(2, &one)], [rule(1, &one), rule(1, &tagged(r#""tagPrefixList":["b"],"#))]]
        {
            assert_eq!(code(&twice).as_deref(), Some("InvalidParameterException"));
        }
        assert!(code(&[]).is_some());
    }

    #[test]
    fn what_is_not_done_is_named() {
        let pulled = r#""tagStatus":"any","countType":"sinceImagePulled","countUnit":"days","countNumber":3"#;
        assert_eq!(code(&[rule(1, pulled)]).as_deref(), Some("UnsupportedOperation"));
        let archive = rule(1, &format!(r#""tagStatus":"any",{COUNT}"#)).replace("expire", "transition");
        assert_eq!(code(&[archive]).as_deref(), Some("UnsupportedOperation"));
    }
}
