//! Which images a lifecycle policy expires.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html#lp_evaluation_rules>

use std::collections::BTreeMap;
use std::time::Duration;

use pileus_core::Timestamp;

use super::rules::{Count, Rule};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An image as a policy sees it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) digest: String,
    pub(super) tags: Vec<String>,
    pub(super) pushed: Timestamp,
    /// It is part of an index, and stays for as long as that.
    pub(super) held: bool,
}

/// An image that is to go, and the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expired {
    pub(super) digest: String,
    pub(super) priority: u32,
}

/// Applies rules, in order of priority, to the images of a repository; oldest first. Each rule looks at all images that
/// it concerns, also those that an earlier one has marked, but may mark none that an earlier one is concerned with.
pub(super) fn expire(rules: &[Rule], images: &[Candidate], now: Timestamp) -> Vec<Expired> {
    let mut youngest_first: Vec<&Candidate> = images.iter().collect();
    youngest_first.sort_by(|one, other| (other.pushed, &one.digest).cmp(&(one.pushed, &other.digest)));
    let mut taken: BTreeMap<&str, Option<u32>> = BTreeMap::new();
    for rule in rules {
        let concerned = youngest_first.iter().filter(|image| rule.concerns(&image.tags));
        for (index, image) in concerned.enumerate() {
            let too_many = match rule.count() {
                Count::MoreThan(count) => index >= count,
                Count::Days(days) => image.pushed + DAY * days < now,
            };
            taken.entry(&image.digest).or_insert_with(|| (too_many && !image.held).then_some(rule.priority));
        }
    }
    let expired = youngest_first.iter().rev().filter_map(|image| {
        let priority = taken.get(image.digest.as_str()).copied().flatten()?;
        Some(Expired { digest: image.digest.clone(), priority })
    });
    expired.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rules::parse;
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_377_600);

    /// `(name, tags, days since it was pushed)`
    fn images(list: &[(&str, &[&str], u32)]) -> Vec<Candidate> {
        let image = |(name, tags, days): &(&str, &[&str], u32)| Candidate {
            digest: (*name).to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            pushed: NOW - DAY * *days,
            held: false,
        };
        list.iter().map(image).collect()
    }

    fn tagged(priority: u32, tags: &str, count: &str) -> String {
        let selection = format!(r#""tagStatus":"tagged",{tags},{count}"#);
        format!(r#"{{"rulePriority":{priority},"selection":{{{selection}}},"action":{{"type":"expire"}}}}"#)
    }

    fn expired(rules: &[String], images: &[Candidate]) -> String {
        let rules = parse(&format!(r#"{{"rules":[{}]}}"#, rules.join(","))).unwrap();
        expire(&rules, images, NOW).into_iter().map(|expired| expired.digest).collect()
    }

    const ONE: &str = r#""countType":"imageCountMoreThan","countNumber":1"#;
    const FIVE_DAYS: &str = r#""countType":"sinceImagePushed","countUnit":"days","countNumber":5"#;

    fn untagged(count: &str) -> String {
        tagged(1, r#""x":0"#, count).replace("tagged", "untagged").replace(r#""x":0,"#, "")
    }

    // The examples are those of
    // https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_examples.html

    #[test]
    fn aws_filtering_on_age_and_on_count() {
        let images = images(&[("A", &[], 15), ("B", &[], 6), ("C", &["x"], 20), ("D", &[], 1)]);
        let days = FIVE_DAYS.replace(":5", ":14");
        assert_eq!(expired(&[untagged(&days)], &images), "A");
        assert_eq!(expired(&[untagged(ONE)], &images), "AB");
    }

    #[test]
    fn aws_multiple_rules() {
        let images = images(&[
            ("A", &["beta-1", "prod-1"], 10),
            ("B", &["beta-2", "prod-2"], 9),
            ("C", &["beta-3"], 8),
        ]);
        for (prod, beta) in [
            (r#""tagPrefixList":["prod"]"#, r#""tagPrefixList":["beta"]"#),
            (r#""tagPatternList":["prod*"]"#, r#""tagPatternList":["beta*"]"#),
        ] {
            assert_eq!(expired(&[tagged(1, prod, ONE), tagged(2, beta, ONE)], &images), "A", "example A");
            assert_eq!(expired(&[tagged(1, beta, ONE), tagged(2, prod, ONE)], &images), "AB", "example B");
        }
    }

    #[test]
    fn aws_multiple_tags_in_a_single_rule() {
        let both = r#""tagPrefixList":["alpha","beta"]"#;
        let first = images(&[
            ("A", &["alpha-1"], 12),
            ("B", &["beta-1"], 11),
            ("C", &["alpha-2", "beta-2"], 10),
            ("D", &["alpha-3"], 4),
            ("E", &["beta-3"], 3),
            ("F", &["alpha-4", "beta-4"], 2),
        ]);
        assert_eq!(expired(&[tagged(1, both, FIVE_DAYS)], &first), "C", "example A");
        let second = images(&[
            ("A", &["alpha-1", "beta-1", "gamma-1"], 10),
            ("B", &["alpha-2", "beta-2"], 9),
            ("C", &["alpha-3", "beta-3", "gamma-2"], 8),
        ]);
        assert_eq!(expired(&[tagged(1, both, ONE)], &second), "AB", "example B");
    }

    #[test]
    fn aws_filtering_on_all_images() {
        let images = images(&[
            ("A", &["alpha-1"], 12),
            ("B", &["beta-1"], 11),
            ("C", &["alpha-2", "beta-2"], 10),
            ("D", &["git-hash"], 4),
            ("E", &[], 3),
            ("F", &[], 2),
        ]);
        let alpha = tagged(1, r#""tagPrefixList":["alpha"]"#, &ONE.replace(":1", ":5"));
        let any = tagged(9, r#""x":0"#, ONE).replace(r#""tagged""#, r#""any""#).replace(r#""x":0,"#, "");
        // Rule 1 sees A and C, and marks neither; they are then out of the reach of the last rule.
        assert_eq!(expired(&[alpha, any], &images), "BDE");
    }

    #[test]
    fn an_image_of_an_index_waits_for_it() {
        let mut images = images(&[("A", &[], 15), ("B", &[], 14), ("C", &["x"], 1)]);
        images[0].held = true;
        assert_eq!(expired(&[untagged(FIVE_DAYS)], &images), "B");
    }

    proptest! {
        /// Rules of which the first alone concerns an image cannot be undone by a later one, and `imageCountMoreThan` leaves
        /// exactly the youngest.
        #[test]
        fn the_youngest_stay(ages in proptest::collection::vec(0_u32..50, 0..12), keep in 1_u32..6) {
            let list: Vec<(String, u32)> =
                ages.iter().enumerate().map(|(index, days)| (index.to_string(), *days)).collect();
            let list: Vec<(&str, &[&str], u32)> =
                list.iter().map(|(name, days)| (name.as_str(), &[] as &[&str], *days)).collect();
            let images = images(&list);
            let rules = parse(&format!(
                r#"{{"rules":[{}]}}"#,
                untagged(&ONE.replace(":1", &format!(":{keep}")))
            ))
            .unwrap();
            let gone = expire(&rules, &images, NOW);
            prop_assert_eq!(gone.len(), images.len().saturating_sub(keep as usize));
            let is_gone = |image: &&Candidate| gone.iter().any(|gone| gone.digest == image.digest);
            let oldest_kept = images.iter().filter(|image| !is_gone(image)).map(|image| image.pushed).min();
            let youngest_gone = images.iter().filter(is_gone).map(|image| image.pushed).max();
            prop_assert!(youngest_gone.is_none() || youngest_gone <= oldest_kept);
        }
    }
}
