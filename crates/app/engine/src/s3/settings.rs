//! What is configured for a bucket: versioning, encryption, policy, public access, ownership, tags, CORS.

use pileus_core::{ApiError, Tags};
use pileus_security::policy::{Kind, parse};
use pileus_storage::bucket::{self, Bucket, Ownership, PublicAccess, Versioning};
use pileus_storage::cors::{self, CorsRule};
use pileus_storage::error::{malformed_xml, not_implemented};
use s3s::dto;

use super::convert::{tag_pairs, tag_set};
use super::service::{Answer, Call, Service};

pub(super) const MAX_TAGS: usize = 50;
/// In bytes, as on AWS.
const MAX_POLICY: usize = 20 << 10;

fn absent(code: &'static str, message: &'static str) -> ApiError {
    ApiError::new(code, 404, message)
}

/// Changes the bucket's record.
async fn configure(s3: &Service, name: &str, change: impl FnOnce(&mut Bucket)) -> Answer<()> {
    s3.write(|tx, _, _| bucket::configure(tx, name, change)).await
}

pub(super) async fn get_bucket_versioning(
    s3: &Service,
    _: Call,
    input: dto::GetBucketVersioningInput,
) -> Answer<dto::GetBucketVersioningOutput> {
    let status = match s3.bucket(&input.bucket).await?.versioning {
        Versioning::Never => None,
        Versioning::Enabled => Some(dto::BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(dto::BucketVersioningStatus::SUSPENDED),
    };
    Ok(dto::GetBucketVersioningOutput {
        mfa_delete: None,
        status: status.map(dto::BucketVersioningStatus::from_static),
    })
}

pub(super) async fn put_bucket_versioning(
    s3: &Service,
    _: Call,
    input: dto::PutBucketVersioningInput,
) -> Answer<dto::PutBucketVersioningOutput> {
    let wanted = input.versioning_configuration;
    if wanted.mfa_delete.is_some_and(|delete| delete.as_str() == dto::MFADelete::ENABLED) {
        return Err(not_implemented("MFA delete").into());
    }
    let versioning = match wanted.status.as_ref().map(dto::BucketVersioningStatus::as_str) {
        Some(dto::BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(dto::BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => {
            let message = "The Versioning element must be specified";
            return Err(ApiError::client("IllegalVersioningConfigurationException", message).into());
        }
    };
    configure(s3, &input.bucket, |bucket| bucket.versioning = versioning).await?;
    Ok(dto::PutBucketVersioningOutput {})
}

pub(super) async fn get_bucket_encryption(
    s3: &Service,
    _: Call,
    input: dto::GetBucketEncryptionInput,
) -> Answer<dto::GetBucketEncryptionOutput> {
    let bucket = s3.bucket(&input.bucket).await?;
    let by_default = dto::ServerSideEncryptionByDefault {
        kms_master_key_id: None,
        sse_algorithm: dto::ServerSideEncryption::from_static(dto::ServerSideEncryption::AES256),
    };
    let rule = dto::ServerSideEncryptionRule {
        apply_server_side_encryption_by_default: Some(by_default),
        bucket_key_enabled: Some(bucket.bucket_key),
    };
    let configuration = dto::ServerSideEncryptionConfiguration { rules: vec![rule] };
    Ok(dto::GetBucketEncryptionOutput { server_side_encryption_configuration: Some(configuration) })
}

/// Every object is "encrypted" by S3 itself, as AWS's are since 2023; keys of KMS do not exist.
pub(super) async fn put_bucket_encryption(
    s3: &Service,
    _: Call,
    input: dto::PutBucketEncryptionInput,
) -> Answer<dto::PutBucketEncryptionOutput> {
    let [rule] =
        <[_; 1]>::try_from(input.server_side_encryption_configuration.rules).map_err(|_| malformed_xml())?;
    if let Some(default) = rule.apply_server_side_encryption_by_default {
        let key = default.kms_master_key_id.as_deref();
        super::access::check_encryption(default.sse_algorithm.as_str(), key)?;
    }
    let bucket_key = rule.bucket_key_enabled.unwrap_or(false);
    configure(s3, &input.bucket, |bucket| bucket.bucket_key = bucket_key).await?;
    Ok(dto::PutBucketEncryptionOutput {})
}

pub(super) async fn delete_bucket_encryption(
    s3: &Service,
    _: Call,
    input: dto::DeleteBucketEncryptionInput,
) -> Answer<dto::DeleteBucketEncryptionOutput> {
    configure(s3, &input.bucket, |bucket| bucket.bucket_key = false).await?;
    Ok(dto::DeleteBucketEncryptionOutput {})
}

fn no_policy() -> ApiError {
    absent("NoSuchBucketPolicy", "The bucket policy does not exist")
}

pub(super) async fn get_bucket_policy(
    s3: &Service,
    _: Call,
    input: dto::GetBucketPolicyInput,
) -> Answer<dto::GetBucketPolicyOutput> {
    let policy = s3.bucket(&input.bucket).await?.policy.clone();
    Ok(dto::GetBucketPolicyOutput { policy: Some(policy.ok_or_else(no_policy)?) })
}

pub(super) async fn put_bucket_policy(
    s3: &Service,
    _: Call,
    input: dto::PutBucketPolicyInput,
) -> Answer<dto::PutBucketPolicyOutput> {
    let malformed = |message: String| ApiError::client("MalformedPolicy", message);
    if input.policy.len() > MAX_POLICY {
        return Err(malformed(format!(
            "Policy exceeds the maximum allowed document size of {MAX_POLICY} bytes."
        ))
        .into());
    }
    parse(Kind::Resource, &input.policy).map_err(|error| malformed(error.to_string()))?;
    s3.write(|tx, _, _| bucket::put_policy(tx, &input.bucket, &input.policy)).await?;
    Ok(dto::PutBucketPolicyOutput {})
}

pub(super) async fn delete_bucket_policy(
    s3: &Service,
    _: Call,
    input: dto::DeleteBucketPolicyInput,
) -> Answer<dto::DeleteBucketPolicyOutput> {
    configure(s3, &input.bucket, |bucket| bucket.policy = None).await?;
    Ok(dto::DeleteBucketPolicyOutput {})
}

pub(super) async fn get_bucket_policy_status(
    s3: &Service,
    _: Call,
    input: dto::GetBucketPolicyStatusInput,
) -> Answer<dto::GetBucketPolicyStatusOutput> {
    let bucket = s3.bucket(&input.bucket).await?;
    if bucket.policy.is_none() {
        return Err(no_policy().into());
    }
    let status = dto::PolicyStatus { is_public: Some(bucket.is_public()) };
    Ok(dto::GetBucketPolicyStatusOutput { policy_status: Some(status) })
}

pub(super) async fn get_public_access_block(
    s3: &Service,
    _: Call,
    input: dto::GetPublicAccessBlockInput,
) -> Answer<dto::GetPublicAccessBlockOutput> {
    let block = s3.bucket(&input.bucket).await?.public_access.ok_or_else(|| {
        absent("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
    })?;
    let configuration = dto::PublicAccessBlockConfiguration {
        block_public_acls: Some(block.block_acls),
        block_public_policy: Some(block.block_policy),
        ignore_public_acls: Some(block.ignore_acls),
        restrict_public_buckets: Some(block.restrict_buckets),
    };
    Ok(dto::GetPublicAccessBlockOutput { public_access_block_configuration: Some(configuration) })
}

pub(super) async fn put_public_access_block(
    s3: &Service,
    _: Call,
    input: dto::PutPublicAccessBlockInput,
) -> Answer<dto::PutPublicAccessBlockOutput> {
    let wanted = input.public_access_block_configuration;
    let block = PublicAccess {
        block_acls: wanted.block_public_acls.unwrap_or(false),
        ignore_acls: wanted.ignore_public_acls.unwrap_or(false),
        block_policy: wanted.block_public_policy.unwrap_or(false),
        restrict_buckets: wanted.restrict_public_buckets.unwrap_or(false),
    };
    configure(s3, &input.bucket, |bucket| bucket.public_access = Some(block)).await?;
    Ok(dto::PutPublicAccessBlockOutput {})
}

pub(super) async fn delete_public_access_block(
    s3: &Service,
    _: Call,
    input: dto::DeletePublicAccessBlockInput,
) -> Answer<dto::DeletePublicAccessBlockOutput> {
    configure(s3, &input.bucket, |bucket| bucket.public_access = None).await?;
    Ok(dto::DeletePublicAccessBlockOutput {})
}

pub(super) async fn get_bucket_ownership_controls(
    s3: &Service,
    _: Call,
    input: dto::GetBucketOwnershipControlsInput,
) -> Answer<dto::GetBucketOwnershipControlsOutput> {
    let ownership = s3.bucket(&input.bucket).await?.ownership.ok_or_else(|| {
        absent("OwnershipControlsNotFoundError", "The bucket ownership controls were not found")
    })?;
    let object_ownership = dto::ObjectOwnership::from_static(ownership.name());
    let controls = dto::OwnershipControls { rules: vec![dto::OwnershipControlsRule { object_ownership }] };
    Ok(dto::GetBucketOwnershipControlsOutput { ownership_controls: Some(controls) })
}

pub(super) async fn put_bucket_ownership_controls(
    s3: &Service,
    _: Call,
    input: dto::PutBucketOwnershipControlsInput,
) -> Answer<dto::PutBucketOwnershipControlsOutput> {
    let [rule] = <[_; 1]>::try_from(input.ownership_controls.rules).map_err(|_| malformed_xml())?;
    let ownership = Ownership::parse(rule.object_ownership.as_str())?;
    configure(s3, &input.bucket, |bucket| bucket.ownership = Some(ownership)).await?;
    Ok(dto::PutBucketOwnershipControlsOutput {})
}

pub(super) async fn delete_bucket_ownership_controls(
    s3: &Service,
    _: Call,
    input: dto::DeleteBucketOwnershipControlsInput,
) -> Answer<dto::DeleteBucketOwnershipControlsOutput> {
    configure(s3, &input.bucket, |bucket| bucket.ownership = None).await?;
    Ok(dto::DeleteBucketOwnershipControlsOutput {})
}

pub(super) async fn get_bucket_tagging(
    s3: &Service,
    _: Call,
    input: dto::GetBucketTaggingInput,
) -> Answer<dto::GetBucketTaggingOutput> {
    let bucket = s3.bucket(&input.bucket).await?;
    if bucket.tags.is_empty() {
        return Err(absent("NoSuchTagSet", "The TagSet does not exist").into());
    }
    Ok(dto::GetBucketTaggingOutput { tag_set: tag_set(&bucket.tags) })
}

pub(super) async fn put_bucket_tagging(
    s3: &Service,
    _: Call,
    input: dto::PutBucketTaggingInput,
) -> Answer<dto::PutBucketTaggingOutput> {
    let tags = bucket::check_tags(&tag_pairs(input.tagging.tag_set)?, MAX_TAGS)?;
    configure(s3, &input.bucket, |bucket| bucket.tags = tags).await?;
    Ok(dto::PutBucketTaggingOutput {})
}

pub(super) async fn delete_bucket_tagging(
    s3: &Service,
    _: Call,
    input: dto::DeleteBucketTaggingInput,
) -> Answer<dto::DeleteBucketTaggingOutput> {
    configure(s3, &input.bucket, |bucket| bucket.tags = Tags::new()).await?;
    Ok(dto::DeleteBucketTaggingOutput {})
}

pub(super) async fn get_bucket_cors(
    s3: &Service,
    _: Call,
    input: dto::GetBucketCorsInput,
) -> Answer<dto::GetBucketCorsOutput> {
    let bucket = s3.bucket(&input.bucket).await?;
    if bucket.cors.is_empty() {
        return Err(absent("NoSuchCORSConfiguration", "The CORS configuration does not exist").into());
    }
    let some = |texts: &[String]| (!texts.is_empty()).then(|| texts.to_vec());
    let rules = bucket.cors.iter().map(|rule| dto::CORSRule {
        allowed_headers: some(&rule.headers),
        allowed_methods: rule.methods.clone(),
        allowed_origins: rule.origins.clone(),
        expose_headers: some(&rule.exposed),
        id: rule.id.clone(),
        max_age_seconds: rule.max_age,
    });
    Ok(dto::GetBucketCorsOutput { cors_rules: Some(rules.collect()) })
}

pub(super) async fn put_bucket_cors(
    s3: &Service,
    _: Call,
    input: dto::PutBucketCorsInput,
) -> Answer<dto::PutBucketCorsOutput> {
    let rules: Vec<_> = input.cors_configuration.cors_rules.into_iter().map(cors_rule).collect();
    cors::check(&rules)?;
    configure(s3, &input.bucket, |bucket| bucket.cors = rules).await?;
    Ok(dto::PutBucketCorsOutput {})
}

fn cors_rule(rule: dto::CORSRule) -> CorsRule {
    CorsRule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers: rule.allowed_headers.unwrap_or_default(),
        exposed: rule.expose_headers.unwrap_or_default(),
        max_age: rule.max_age_seconds,
    }
}

pub(super) async fn delete_bucket_cors(
    s3: &Service,
    _: Call,
    input: dto::DeleteBucketCorsInput,
) -> Answer<dto::DeleteBucketCorsOutput> {
    configure(s3, &input.bucket, |bucket| bucket.cors.clear()).await?;
    Ok(dto::DeleteBucketCorsOutput {})
}
