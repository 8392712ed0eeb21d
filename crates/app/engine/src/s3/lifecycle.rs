//! A bucket's lifecycle configuration, as S3 writes it. What it means is in `pileus_storage::lifecycle`.

use pileus_core::{ApiError, Tags};
use pileus_storage::bucket;
use pileus_storage::error::malformed_xml;
use pileus_storage::lifecycle::{ALL_CLASSES_128K, Form, Lifecycle, Noncurrent, Rule, When, check};
use s3s::dto;

use super::convert::{tag_pairs, tag_set, time, timestamp};
use super::service::{Answer, Call, Service};

pub(super) async fn get_bucket_lifecycle_configuration(
    s3: &Service,
    _: Call,
    input: dto::GetBucketLifecycleConfigurationInput,
) -> Answer<dto::GetBucketLifecycleConfigurationOutput> {
    let lifecycle = s3.bucket(&input.bucket).await?.lifecycle.clone().ok_or_else(|| {
        ApiError::new("NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist")
    })?;
    Ok(dto::GetBucketLifecycleConfigurationOutput {
        rules: Some(lifecycle.rules.iter().map(shown).collect()),
        transition_default_minimum_object_size: Some(lifecycle.minimum_size.into()),
    })
}

pub(super) async fn put_bucket_lifecycle_configuration(
    s3: &Service,
    _: Call,
    input: dto::PutBucketLifecycleConfigurationInput,
) -> Answer<dto::PutBucketLifecycleConfigurationOutput> {
    let configuration = input.lifecycle_configuration.ok_or_else(malformed_xml)?;
    let mut rules = configuration.rules.into_iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    let minimum = input.transition_default_minimum_object_size;
    let minimum_size = minimum.map_or_else(|| ALL_CLASSES_128K.to_owned(), |size| size.as_str().to_owned());
    s3.write(|tx, _, ids| {
        for rule in &mut rules {
            if rule.id.is_empty() {
                rule.id = ids.alphanumeric(48);
            }
        }
        let lifecycle = Lifecycle { rules, minimum_size: minimum_size.clone() };
        check(&lifecycle)?;
        bucket::configure(tx, &input.bucket, |bucket| bucket.lifecycle = Some(lifecycle))
    })
    .await?;
    Ok(dto::PutBucketLifecycleConfigurationOutput {
        transition_default_minimum_object_size: Some(minimum_size.into()),
    })
}

pub(super) async fn delete_bucket_lifecycle(
    s3: &Service,
    _: Call,
    input: dto::DeleteBucketLifecycleInput,
) -> Answer<dto::DeleteBucketLifecycleOutput> {
    s3.write(|tx, _, _| bucket::configure(tx, &input.bucket, |bucket| bucket.lifecycle = None)).await?;
    Ok(dto::DeleteBucketLifecycleOutput {})
}

/// Which objects a rule is for.
#[derive(Default)]
struct Filter {
    form: Form,
    prefix: Option<String>,
    tags: Tags,
    larger_than: Option<i64>,
    smaller_than: Option<i64>,
}

fn rule(rule: dto::LifecycleRule) -> Result<Rule, ApiError> {
    let Filter { form, prefix, tags, larger_than, smaller_than } = filter(rule.prefix, rule.filter)?;
    let enabled = match rule.status.as_str() {
        dto::ExpirationStatus::ENABLED => true,
        dto::ExpirationStatus::DISABLED => false,
        _ => return Err(malformed_xml()),
    };
    let (expiration, expired_marker) = match rule.expiration {
        None => (None, None),
        Some(expiration) => match (expiration.date, expiration.days, expiration.expired_object_delete_marker)
        {
            (Some(date), None, None) => (Some(When::Date(time(&date)?)), None),
            (None, Some(days), None) => (Some(When::Days(days)), None),
            (None, None, Some(marker)) => (None, Some(marker)),
            _ => return Err(malformed_xml()),
        },
    };
    let transitions = rule.transitions.unwrap_or_default().into_iter().map(transition);
    let noncurrent_transitions = rule.noncurrent_version_transitions.unwrap_or_default().into_iter();
    let noncurrent_transitions = noncurrent_transitions.map(|transition| {
        let class = transition.storage_class.ok_or_else(malformed_xml)?;
        let when = noncurrent(transition.noncurrent_days, transition.newer_noncurrent_versions)?;
        Ok((when, class.as_str().to_owned()))
    });
    let noncurrent_expiration = rule.noncurrent_version_expiration;
    Ok(Rule {
        id: rule.id.unwrap_or_default(),
        enabled,
        form,
        prefix,
        tags,
        larger_than,
        smaller_than,
        expiration,
        expired_marker,
        transitions: transitions.collect::<Result<_, ApiError>>()?,
        noncurrent_expiration: noncurrent_expiration
            .map(|expiration| noncurrent(expiration.noncurrent_days, expiration.newer_noncurrent_versions))
            .transpose()?,
        noncurrent_transitions: noncurrent_transitions.collect::<Result<_, ApiError>>()?,
        abort_after: rule
            .abort_incomplete_multipart_upload
            .map(|abort| abort.days_after_initiation.ok_or_else(malformed_xml))
            .transpose()?,
    })
}

fn transition(transition: dto::Transition) -> Result<(When, String), ApiError> {
    let when = match (transition.date, transition.days) {
        (Some(date), None) => When::Date(time(&date)?),
        (None, Some(days)) => When::Days(days),
        _ => return Err(malformed_xml()),
    };
    let class = transition.storage_class.ok_or_else(malformed_xml)?;
    Ok((when, class.as_str().to_owned()))
}

fn noncurrent(days: Option<i32>, keep: Option<i32>) -> Result<Noncurrent, ApiError> {
    Ok(Noncurrent { days: days.ok_or_else(malformed_xml)?, keep })
}

fn filter(prefix: Option<String>, filter: Option<dto::LifecycleRuleFilter>) -> Result<Filter, ApiError> {
    let Some(filter) = filter else {
        return Ok(Filter { prefix: Some(prefix.ok_or_else(malformed_xml)?), ..Filter::default() });
    };
    if prefix.is_some() {
        return Err(malformed_xml());
    }
    let dto::LifecycleRuleFilter {
        and, object_size_greater_than, object_size_less_than, prefix, tag, ..
    } = filter;
    if let Some(and) = and {
        let tags = tag_pairs(and.tags.unwrap_or_default())?.into_iter().collect();
        return Ok(Filter {
            form: Form::And,
            prefix: and.prefix,
            tags,
            larger_than: and.object_size_greater_than,
            smaller_than: and.object_size_less_than,
        });
    }
    Ok(Filter {
        form: Form::Filter,
        prefix,
        tags: tag_pairs(tag.into_iter().collect())?.into_iter().collect(),
        larger_than: object_size_greater_than,
        smaller_than: object_size_less_than,
    })
}

fn shown(rule: &Rule) -> dto::LifecycleRule {
    let status = if rule.enabled { dto::ExpirationStatus::ENABLED } else { dto::ExpirationStatus::DISABLED };
    let (prefix, filter) = shown_filter(rule);
    let expiration = (rule.expiration.is_some() || rule.expired_marker.is_some()).then(|| {
        let (date, days) = split(rule.expiration);
        dto::LifecycleExpiration { date, days, expired_object_delete_marker: rule.expired_marker }
    });
    let transitions = rule.transitions.iter().map(|(when, class)| {
        let (date, days) = split(Some(*when));
        dto::Transition { date, days, storage_class: Some(class.clone().into()) }
    });
    let noncurrent =
        rule.noncurrent_transitions.iter().map(|(when, class)| dto::NoncurrentVersionTransition {
            newer_noncurrent_versions: when.keep,
            noncurrent_days: Some(when.days),
            storage_class: Some(class.clone().into()),
        });
    dto::LifecycleRule {
        abort_incomplete_multipart_upload: rule
            .abort_after
            .map(|days| dto::AbortIncompleteMultipartUpload { days_after_initiation: Some(days) }),
        expiration,
        filter,
        id: Some(rule.id.clone()),
        noncurrent_version_expiration: rule.noncurrent_expiration.map(|when| {
            dto::NoncurrentVersionExpiration {
                newer_noncurrent_versions: when.keep,
                noncurrent_days: Some(when.days),
            }
        }),
        noncurrent_version_transitions: (!rule.noncurrent_transitions.is_empty())
            .then(|| noncurrent.collect()),
        prefix,
        status: dto::ExpirationStatus::from_static(status),
        transitions: (!rule.transitions.is_empty()).then(|| transitions.collect()),
    }
}

fn split(when: Option<When>) -> (Option<dto::Timestamp>, Option<i32>) {
    match when {
        None => (None, None),
        Some(When::Date(date)) => (Some(timestamp(date)), None),
        Some(When::Days(days)) => (None, Some(days)),
    }
}

fn shown_filter(rule: &Rule) -> (Option<String>, Option<dto::LifecycleRuleFilter>) {
    let (prefix, tags) = (rule.prefix.clone(), tag_set(&rule.tags));
    match rule.form {
        Form::Prefix => (prefix, None),
        Form::And => {
            let and = dto::LifecycleRuleAndOperator {
                object_size_greater_than: rule.larger_than,
                object_size_less_than: rule.smaller_than,
                prefix,
                tags: (!tags.is_empty()).then_some(tags),
            };
            (None, Some(dto::LifecycleRuleFilter { and: Some(and), ..dto::LifecycleRuleFilter::default() }))
        }
        Form::Filter => {
            let filter = dto::LifecycleRuleFilter {
                object_size_greater_than: rule.larger_than,
                object_size_less_than: rule.smaller_than,
                prefix,
                tag: tags.into_iter().next(),
                ..dto::LifecycleRuleFilter::default()
            };
            (None, Some(filter))
        }
    }
}
