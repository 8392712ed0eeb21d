//! What `s3s` calls: for each operation a function in the file of its resource.

use std::sync::Arc;

use http::HeaderMap;
use pileus_core::{ApiError, IdGen, Timestamp};
use pileus_state::{State, Tx};
use pileus_storage::Bucket;
use pileus_storage::error::no_such_bucket;
use s3s::{S3, S3Request, S3Response, S3Result, TrailingHeaders, dto};

use super::access::{Asker, Who};
use super::convert::Refused;
use super::{
    attributes, buckets, configuration, copies, deletions, lifecycle, listings, objects, settings, uploads,
};
use crate::api::Engine;

/// What a handler knows of a request besides its input.
pub(super) struct Call {
    pub(super) asker: Asker,
    /// The region that the request was signed for.
    pub(super) region: String,
    pub(super) headers: HeaderMap,
    pub(super) trailing: Option<TrailingHeaders>,
    /// Of a bucket that is to be made.
    pub(super) tags: Option<CreationTags>,
}

/// The tags in a request to make a bucket, which `s3s` does not read.
#[derive(Clone)]
pub(super) struct CreationTags(pub(super) Vec<dto::Tag>);

pub(super) type Answer<T> = Result<T, Refused>;

#[derive(Clone)]
pub(super) struct Service {
    pub(super) engine: Arc<Engine>,
}

impl Service {
    pub(super) fn state(&self) -> Arc<State> {
        self.engine.db.snapshot()
    }

    /// The bucket of this name in the present state, which is on disk when this returns.
    pub(super) async fn bucket(&self, name: &str) -> Answer<Arc<Bucket>> {
        let (_, bucket) = self.read(name).await?;
        Ok(bucket)
    }

    /// The present state, on disk, and a bucket in it.
    pub(super) async fn read(&self, name: &str) -> Answer<(Arc<State>, Arc<Bucket>)> {
        let state = self.state();
        self.engine.durable(state.version()).await;
        let bucket = pileus_storage::bucket::find(&state, name).ok_or_else(no_such_bucket)?;
        Ok((state, bucket))
    }

    /// Runs one transaction on the records of S3 and waits until it is on disk.
    pub(super) async fn write<T>(
        &self,
        work: impl FnOnce(&mut Tx, Timestamp, &mut IdGen) -> Result<T, ApiError>,
    ) -> Answer<T> {
        write(&self.engine, work).await.map_err(Into::into)
    }
}

pub(super) async fn write<T>(
    engine: &Engine,
    work: impl FnOnce(&mut Tx, Timestamp, &mut IdGen) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let committed = engine.db.transact(&pileus_storage::scope(), |tx| {
        let (now, ids) = (engine.clock.now(), &mut engine.ids(IdGen::fork));
        work(tx, now, ids)
    })?;
    engine.durable(committed.version).await;
    Ok(committed.value)
}

impl Call {
    /// # Errors
    /// Nobody has decided about the request.
    fn of<T>(request: &mut S3Request<T>) -> S3Result<Self> {
        let region = request.region.take();
        let asker = request.extensions.remove::<Asker>().ok_or_else(|| s3s::s3_error!(AccessDenied))?;
        Ok(Self {
            asker,
            region: region.map_or_else(|| "us-east-1".to_owned(), |region| region.as_str().to_owned()),
            headers: std::mem::take(&mut request.headers),
            trailing: request.trailing_headers.take(),
            tags: request.extensions.remove::<CreationTags>(),
        })
    }

    /// The account that acts: nobody's where nobody signed.
    pub(super) fn account(&self) -> &str {
        match &self.asker.who {
            Who::Anybody => "",
            Who::Caller(caller) => &caller.account,
        }
    }
}

/// The operations, by the module that has them.
macro_rules! operations {
    ($($module:ident { $($name:ident: $input:ident -> $output:ident,)* })*) => {
        #[async_trait::async_trait]
        impl S3 for Service {
            $($(
                async fn $name(
                    &self,
                    mut request: S3Request<dto::$input>,
                ) -> S3Result<S3Response<dto::$output>> {
                    let call = Call::of(&mut request)?;
                    $module::$name(self, call, request.input).await.map(S3Response::new).map_err(|refused| refused.0)
                }
            )*)*
        }
    };
}

operations! {
    buckets {
        create_bucket: CreateBucketInput -> CreateBucketOutput,
        delete_bucket: DeleteBucketInput -> DeleteBucketOutput,
        head_bucket: HeadBucketInput -> HeadBucketOutput,
        list_buckets: ListBucketsInput -> ListBucketsOutput,
        get_bucket_location: GetBucketLocationInput -> GetBucketLocationOutput,
        get_bucket_acl: GetBucketAclInput -> GetBucketAclOutput,
        put_bucket_acl: PutBucketAclInput -> PutBucketAclOutput,
    }
    settings {
        get_bucket_versioning: GetBucketVersioningInput -> GetBucketVersioningOutput,
        put_bucket_versioning: PutBucketVersioningInput -> PutBucketVersioningOutput,
        get_bucket_encryption: GetBucketEncryptionInput -> GetBucketEncryptionOutput,
        put_bucket_encryption: PutBucketEncryptionInput -> PutBucketEncryptionOutput,
        delete_bucket_encryption: DeleteBucketEncryptionInput -> DeleteBucketEncryptionOutput,
        get_bucket_policy: GetBucketPolicyInput -> GetBucketPolicyOutput,
        put_bucket_policy: PutBucketPolicyInput -> PutBucketPolicyOutput,
        delete_bucket_policy: DeleteBucketPolicyInput -> DeleteBucketPolicyOutput,
        get_bucket_policy_status: GetBucketPolicyStatusInput -> GetBucketPolicyStatusOutput,
        get_public_access_block: GetPublicAccessBlockInput -> GetPublicAccessBlockOutput,
        put_public_access_block: PutPublicAccessBlockInput -> PutPublicAccessBlockOutput,
        delete_public_access_block: DeletePublicAccessBlockInput -> DeletePublicAccessBlockOutput,
        get_bucket_ownership_controls: GetBucketOwnershipControlsInput -> GetBucketOwnershipControlsOutput,
        put_bucket_ownership_controls: PutBucketOwnershipControlsInput -> PutBucketOwnershipControlsOutput,
        delete_bucket_ownership_controls: DeleteBucketOwnershipControlsInput -> DeleteBucketOwnershipControlsOutput,
        get_bucket_tagging: GetBucketTaggingInput -> GetBucketTaggingOutput,
        put_bucket_tagging: PutBucketTaggingInput -> PutBucketTaggingOutput,
        delete_bucket_tagging: DeleteBucketTaggingInput -> DeleteBucketTaggingOutput,
        get_bucket_cors: GetBucketCorsInput -> GetBucketCorsOutput,
        put_bucket_cors: PutBucketCorsInput -> PutBucketCorsOutput,
        delete_bucket_cors: DeleteBucketCorsInput -> DeleteBucketCorsOutput,
    }
    lifecycle {
        get_bucket_lifecycle_configuration: GetBucketLifecycleConfigurationInput -> GetBucketLifecycleConfigurationOutput,
        put_bucket_lifecycle_configuration: PutBucketLifecycleConfigurationInput -> PutBucketLifecycleConfigurationOutput,
        delete_bucket_lifecycle: DeleteBucketLifecycleInput -> DeleteBucketLifecycleOutput,
    }
    configuration {
        get_bucket_accelerate_configuration: GetBucketAccelerateConfigurationInput -> GetBucketAccelerateConfigurationOutput,
        get_bucket_logging: GetBucketLoggingInput -> GetBucketLoggingOutput,
        put_bucket_logging: PutBucketLoggingInput -> PutBucketLoggingOutput,
        get_bucket_notification_configuration: GetBucketNotificationConfigurationInput -> GetBucketNotificationConfigurationOutput,
        put_bucket_notification_configuration: PutBucketNotificationConfigurationInput -> PutBucketNotificationConfigurationOutput,
        get_bucket_request_payment: GetBucketRequestPaymentInput -> GetBucketRequestPaymentOutput,
        put_bucket_request_payment: PutBucketRequestPaymentInput -> PutBucketRequestPaymentOutput,
        get_bucket_website: GetBucketWebsiteInput -> GetBucketWebsiteOutput,
        delete_bucket_website: DeleteBucketWebsiteInput -> DeleteBucketWebsiteOutput,
        get_bucket_replication: GetBucketReplicationInput -> GetBucketReplicationOutput,
        delete_bucket_replication: DeleteBucketReplicationInput -> DeleteBucketReplicationOutput,
        get_object_lock_configuration: GetObjectLockConfigurationInput -> GetObjectLockConfigurationOutput,
        get_bucket_analytics_configuration: GetBucketAnalyticsConfigurationInput -> GetBucketAnalyticsConfigurationOutput,
        list_bucket_analytics_configurations: ListBucketAnalyticsConfigurationsInput -> ListBucketAnalyticsConfigurationsOutput,
        get_bucket_inventory_configuration: GetBucketInventoryConfigurationInput -> GetBucketInventoryConfigurationOutput,
        list_bucket_inventory_configurations: ListBucketInventoryConfigurationsInput -> ListBucketInventoryConfigurationsOutput,
        get_bucket_metrics_configuration: GetBucketMetricsConfigurationInput -> GetBucketMetricsConfigurationOutput,
        list_bucket_metrics_configurations: ListBucketMetricsConfigurationsInput -> ListBucketMetricsConfigurationsOutput,
        get_bucket_intelligent_tiering_configuration: GetBucketIntelligentTieringConfigurationInput -> GetBucketIntelligentTieringConfigurationOutput,
        list_bucket_intelligent_tiering_configurations: ListBucketIntelligentTieringConfigurationsInput -> ListBucketIntelligentTieringConfigurationsOutput,
    }
    listings {
        list_objects: ListObjectsInput -> ListObjectsOutput,
        list_objects_v2: ListObjectsV2Input -> ListObjectsV2Output,
        list_object_versions: ListObjectVersionsInput -> ListObjectVersionsOutput,
        list_multipart_uploads: ListMultipartUploadsInput -> ListMultipartUploadsOutput,
    }
    objects {
        put_object: PutObjectInput -> PutObjectOutput,
        get_object: GetObjectInput -> GetObjectOutput,
        head_object: HeadObjectInput -> HeadObjectOutput,
    }
    attributes {
        get_object_attributes: GetObjectAttributesInput -> GetObjectAttributesOutput,
        get_object_tagging: GetObjectTaggingInput -> GetObjectTaggingOutput,
        put_object_tagging: PutObjectTaggingInput -> PutObjectTaggingOutput,
        delete_object_tagging: DeleteObjectTaggingInput -> DeleteObjectTaggingOutput,
        get_object_acl: GetObjectAclInput -> GetObjectAclOutput,
        put_object_acl: PutObjectAclInput -> PutObjectAclOutput,
    }
    deletions {
        delete_object: DeleteObjectInput -> DeleteObjectOutput,
        delete_objects: DeleteObjectsInput -> DeleteObjectsOutput,
    }
    copies {
        copy_object: CopyObjectInput -> CopyObjectOutput,
        upload_part_copy: UploadPartCopyInput -> UploadPartCopyOutput,
    }
    uploads {
        create_multipart_upload: CreateMultipartUploadInput -> CreateMultipartUploadOutput,
        upload_part: UploadPartInput -> UploadPartOutput,
        complete_multipart_upload: CompleteMultipartUploadInput -> CompleteMultipartUploadOutput,
        abort_multipart_upload: AbortMultipartUploadInput -> AbortMultipartUploadOutput,
        list_parts: ListPartsInput -> ListPartsOutput,
    }
}
