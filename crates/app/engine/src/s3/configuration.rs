//! What can be configured for buckets elsewhere and not here: asking for it gets AWS's answer for a bucket that has
//! none of it, and what is not implemented is refused by name (by `s3s`, where no function stands here).

use pileus_core::ApiError;
use pileus_storage::error::not_implemented;
use s3s::dto;

use super::service::{Answer, Call, Service};

/// AWS's answer where nothing of the kind is configured.
macro_rules! absent {
    ($($name:ident: $input:ident -> $output:ident = $code:literal, $message:literal;)*) => {
        $(pub(super) async fn $name(s3: &Service, _: Call, input: dto::$input) -> Answer<dto::$output> {
            s3.bucket(&input.bucket).await?;
            Err(ApiError::new($code, 404, $message).into())
        })*
    };
}

/// An answer that says that there is nothing, or does nothing where there is nothing to do.
macro_rules! empty {
    ($($name:ident: $input:ident -> $output:ident;)*) => {
        $(pub(super) async fn $name(s3: &Service, _: Call, input: dto::$input) -> Answer<dto::$output> {
            s3.bucket(&input.bucket).await?;
            Ok(dto::$output::default())
        })*
    };
}

absent! {
    get_bucket_website: GetBucketWebsiteInput -> GetBucketWebsiteOutput =
        "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration";
    get_bucket_replication: GetBucketReplicationInput -> GetBucketReplicationOutput =
        "ReplicationConfigurationNotFoundError", "The replication configuration was not found";
    get_object_lock_configuration: GetObjectLockConfigurationInput -> GetObjectLockConfigurationOutput =
        "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket";
    get_bucket_analytics_configuration: GetBucketAnalyticsConfigurationInput -> GetBucketAnalyticsConfigurationOutput =
        "NoSuchConfiguration", "The specified configuration does not exist.";
    get_bucket_inventory_configuration: GetBucketInventoryConfigurationInput -> GetBucketInventoryConfigurationOutput =
        "NoSuchConfiguration", "The specified configuration does not exist.";
    get_bucket_metrics_configuration: GetBucketMetricsConfigurationInput -> GetBucketMetricsConfigurationOutput =
        "NoSuchConfiguration", "The specified configuration does not exist.";
    get_bucket_intelligent_tiering_configuration: GetBucketIntelligentTieringConfigurationInput
        -> GetBucketIntelligentTieringConfigurationOutput =
        "NoSuchConfiguration", "The specified configuration does not exist.";
}

empty! {
    get_bucket_accelerate_configuration: GetBucketAccelerateConfigurationInput -> GetBucketAccelerateConfigurationOutput;
    get_bucket_logging: GetBucketLoggingInput -> GetBucketLoggingOutput;
    get_bucket_notification_configuration: GetBucketNotificationConfigurationInput
        -> GetBucketNotificationConfigurationOutput;
    delete_bucket_website: DeleteBucketWebsiteInput -> DeleteBucketWebsiteOutput;
    delete_bucket_replication: DeleteBucketReplicationInput -> DeleteBucketReplicationOutput;
    list_bucket_analytics_configurations: ListBucketAnalyticsConfigurationsInput
        -> ListBucketAnalyticsConfigurationsOutput;
    list_bucket_inventory_configurations: ListBucketInventoryConfigurationsInput
        -> ListBucketInventoryConfigurationsOutput;
    list_bucket_metrics_configurations: ListBucketMetricsConfigurationsInput -> ListBucketMetricsConfigurationsOutput;
    list_bucket_intelligent_tiering_configurations: ListBucketIntelligentTieringConfigurationsInput
        -> ListBucketIntelligentTieringConfigurationsOutput;
}

pub(super) async fn put_bucket_logging(
    s3: &Service,
    _: Call,
    input: dto::PutBucketLoggingInput,
) -> Answer<dto::PutBucketLoggingOutput> {
    s3.bucket(&input.bucket).await?;
    if input.bucket_logging_status.logging_enabled.is_some() {
        return Err(not_implemented("server access logging (PutBucketLogging)").into());
    }
    Ok(dto::PutBucketLoggingOutput {})
}

pub(super) async fn put_bucket_notification_configuration(
    s3: &Service,
    _: Call,
    input: dto::PutBucketNotificationConfigurationInput,
) -> Answer<dto::PutBucketNotificationConfigurationOutput> {
    s3.bucket(&input.bucket).await?;
    if input.notification_configuration != dto::NotificationConfiguration::default() {
        return Err(not_implemented("notifications (PutBucketNotificationConfiguration)").into());
    }
    Ok(dto::PutBucketNotificationConfigurationOutput {})
}

pub(super) async fn get_bucket_request_payment(
    s3: &Service,
    _: Call,
    input: dto::GetBucketRequestPaymentInput,
) -> Answer<dto::GetBucketRequestPaymentOutput> {
    s3.bucket(&input.bucket).await?;
    let payer = dto::Payer::from_static(dto::Payer::BUCKET_OWNER);
    Ok(dto::GetBucketRequestPaymentOutput { payer: Some(payer) })
}

pub(super) async fn put_bucket_request_payment(
    s3: &Service,
    _: Call,
    input: dto::PutBucketRequestPaymentInput,
) -> Answer<dto::PutBucketRequestPaymentOutput> {
    s3.bucket(&input.bucket).await?;
    if input.request_payment_configuration.payer.as_str() != dto::Payer::BUCKET_OWNER {
        return Err(not_implemented("requester pays (PutBucketRequestPayment)").into());
    }
    Ok(dto::PutBucketRequestPaymentOutput {})
}
