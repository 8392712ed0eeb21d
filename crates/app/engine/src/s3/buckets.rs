//! Buckets: made, found, listed and deleted.

use pileus_core::{ApiError, paginate};
use pileus_security::policy::ContextKeys;
use pileus_storage::bucket::{self, Creation, Ownership};
use pileus_storage::error::{invalid_argument, malformed_xml, not_implemented};
use s3s::dto;
use s3s::xml::Deserializer;

use super::access::{Who, permit};
use super::convert::{grants, owner, tag_pairs, timestamp};
use super::service::{Answer, Call, Service};
use super::settings;

const MAX_BUCKETS: i32 = 10_000;

pub(super) async fn create_bucket(
    s3: &Service,
    call: Call,
    input: dto::CreateBucketInput,
) -> Answer<dto::CreateBucketOutput> {
    let constraint = input.create_bucket_configuration.and_then(|configuration| {
        // Directory buckets have these two.
        configuration
            .location_constraint
            .filter(|_| configuration.bucket.is_none() && configuration.location.is_none())
    });
    if input.object_lock_enabled_for_bucket == Some(true) {
        return Err(not_implemented("object lock").into());
    }
    let ownership = input.object_ownership.map(|name| Ownership::parse(name.as_str())).transpose()?;
    match input.acl.as_ref().map(dto::BucketCannedACL::as_str) {
        None | Some("private") => {}
        Some(_) if matches!(ownership, None | Some(Ownership::BucketOwnerEnforced)) => {
            let message = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
            return Err(ApiError::client("InvalidBucketAclWithObjectOwnership", message).into());
        }
        Some(acl) => return Err(not_implemented(format_args!("the canned ACL {acl}")).into()),
    }
    let tags = call.tags.as_ref().map(|tags| tag_pairs(tags.0.clone())).transpose()?.unwrap_or_default();
    let tags = bucket::check_tags(&tags, settings::MAX_TAGS)?;
    if !tags.is_empty() {
        let arn = format!("arn:aws:s3:::{}", input.bucket);
        permit(&s3.state(), &call.asker, "s3:TagResource", &arn, None, ContextKeys::new())?;
    }
    s3.write(|tx, now, _| {
        let creation = Creation {
            name: &input.bucket,
            account: call.account(),
            endpoint_region: &call.region,
            location_constraint: constraint.as_ref().map(dto::BucketLocationConstraint::as_str),
            ownership,
            tags: &tags,
        };
        bucket::create(tx, now, &creation)
    })
    .await?;
    Ok(dto::CreateBucketOutput { location: Some(format!("/{}", input.bucket)) })
}

/// The tags in a document that makes a bucket.
pub(super) fn tags(document: &[u8]) -> Result<Option<Vec<dto::Tag>>, ApiError> {
    let text = std::str::from_utf8(document).map_err(|_| malformed_xml())?;
    let Some(start) = text.find("<Tags>") else { return Ok(None) };
    let end = text[start..].find("</Tags>").ok_or_else(malformed_xml)? + "</Tags>".len();
    let mut reader = Deserializer::new(&text.as_bytes()[start..start + end]);
    let tags = reader.named_element("Tags", |tags| tags.list_content("Tag"));
    tags.map(Some).map_err(|_| malformed_xml())
}

pub(super) async fn delete_bucket(
    s3: &Service,
    _: Call,
    input: dto::DeleteBucketInput,
) -> Answer<dto::DeleteBucketOutput> {
    s3.write(|tx, _, _| bucket::delete(tx, &input.bucket)).await?;
    Ok(dto::DeleteBucketOutput {})
}

pub(super) async fn head_bucket(
    s3: &Service,
    _: Call,
    input: dto::HeadBucketInput,
) -> Answer<dto::HeadBucketOutput> {
    let bucket = s3.bucket(&input.bucket).await?;
    Ok(dto::HeadBucketOutput {
        access_point_alias: Some(false),
        bucket_region: Some(bucket.region.clone()),
        ..dto::HeadBucketOutput::default()
    })
}

pub(super) async fn list_buckets(
    s3: &Service,
    call: Call,
    input: dto::ListBucketsInput,
) -> Answer<dto::ListBucketsOutput> {
    let state = s3.state();
    s3.engine.durable(state.version()).await;
    let limit = input.max_buckets.unwrap_or(MAX_BUCKETS);
    if !(1..=MAX_BUCKETS).contains(&limit) {
        return Err(invalid_argument(format!("max-buckets must be between 1 and {MAX_BUCKETS}")).into());
    }
    let Who::Caller(caller) = &call.asker.who else {
        return Err(pileus_storage::error::access_denied().into());
    };
    let prefix = input.prefix.clone().unwrap_or_default();
    let fits = |bucket: &bucket::Bucket| {
        bucket.name.starts_with(&prefix)
            && input.bucket_region.as_ref().is_none_or(|region| *region == bucket.region)
    };
    let buckets: Vec<_> =
        bucket::list(&state, &caller.account).into_iter().filter(|bucket| fits(bucket)).collect();
    let invalid = || invalid_argument("The continuation token provided is incorrect");
    let token = input.continuation_token.as_deref();
    let limit = usize::try_from(limit).unwrap_or(1);
    let (page, next) = paginate(buckets, |bucket| bucket.name.clone(), token, limit, invalid)?;
    let shown = |bucket: &bucket::Bucket| dto::Bucket {
        // As on AWS, the region is shown to those who page.
        bucket_region: input.max_buckets.is_some().then(|| bucket.region.clone()),
        creation_date: Some(timestamp(bucket.created)),
        name: Some(bucket.name.clone()),
    };
    Ok(dto::ListBucketsOutput {
        buckets: Some(page.iter().map(|bucket| shown(bucket)).collect()),
        continuation_token: next,
        owner: Some(owner(&caller.account)),
        prefix: input.prefix,
    })
}

pub(super) async fn get_bucket_location(
    s3: &Service,
    _: Call,
    input: dto::GetBucketLocationInput,
) -> Answer<dto::GetBucketLocationOutput> {
    let bucket = s3.bucket(&input.bucket).await?;
    let region = Some(bucket.region.clone()).filter(|region| region != "us-east-1");
    Ok(dto::GetBucketLocationOutput { location_constraint: region.map(Into::into) })
}

pub(super) async fn get_bucket_acl(
    s3: &Service,
    _: Call,
    input: dto::GetBucketAclInput,
) -> Answer<dto::GetBucketAclOutput> {
    let bucket = s3.bucket(&input.bucket).await?;
    Ok(dto::GetBucketAclOutput { grants: Some(grants(&bucket.owner)), owner: Some(owner(&bucket.owner)) })
}

pub(super) async fn put_bucket_acl(
    s3: &Service,
    _: Call,
    input: dto::PutBucketAclInput,
) -> Answer<dto::PutBucketAclOutput> {
    let bucket = s3.bucket(&input.bucket).await?;
    let acl = input.acl.as_ref().map(dto::BucketCannedACL::as_str);
    check_acl(&bucket, acl, input.access_control_policy)?;
    Ok(dto::PutBucketAclOutput {})
}

/// An ACL may be given by name or in full, and grants nothing but full control to the owner.
pub(super) fn check_acl(
    bucket: &bucket::Bucket,
    canned: Option<&str>,
    full: Option<dto::AccessControlPolicy>,
) -> Answer<()> {
    match (canned, full) {
        (Some(acl), _) => Ok(bucket::check_acl(bucket, acl)?),
        (None, None) => Err(malformed_xml().into()),
        (None, Some(full)) => {
            if full.grants.unwrap_or_default() == grants(&bucket.owner) && !bucket.enforces_ownership() {
                return Ok(());
            }
            bucket::check_acl(bucket, "private")?;
            Err(not_implemented("ACLs that grant anything to others; a bucket policy can").into())
        }
    }
}
