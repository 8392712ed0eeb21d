//! Uploads in parts.

use pileus_core::{ApiError, Arn};
use pileus_storage::Blob;
use pileus_storage::bucket;
use pileus_storage::checksum::{Algorithm, Digested};
use pileus_storage::error::invalid_request;
use pileus_storage::upload::{self, Beginning, Completed, Completion, Part, Upload};
use s3s::dto;

use super::access::Who;
use super::convert::{
    Checksums, checksums, count, etag, owner, precondition, show_checksums, size, timestamp,
};
use super::describing::{describe, encryption, shown_id};
use super::receive::{Expected, receive};
use super::service::{Answer, Call, Service};

const MAX_PARTS: i32 = 1000;

pub(super) async fn create_multipart_upload(
    s3: &Service,
    call: Call,
    mut input: dto::CreateMultipartUploadInput,
) -> Answer<dto::CreateMultipartUploadOutput> {
    let bucket = s3.bucket(&input.bucket).await?;
    if let Some(acl) = &input.acl {
        bucket::check_acl(&bucket, acl.as_str())?;
    }
    let initiator = match &call.asker.who {
        Who::Anybody => "anonymous".to_owned(),
        Who::Caller(caller) => caller.arn.clone(),
    };
    let beginning = Beginning {
        key: input.key.clone(),
        initiator,
        described: describe!(input)?,
        algorithm: input.checksum_algorithm.map(|name| Algorithm::parse(name.as_str())).transpose()?,
        kind: input.checksum_type.map(|kind| kind.as_str().to_owned()),
    };
    let upload = s3
        .write(|tx, now, ids| {
            let bucket = bucket::get(tx, &input.bucket)?;
            upload::begin(tx, now, ids, &bucket, beginning)
        })
        .await?;
    Ok(dto::CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: algorithm(&upload),
        checksum_type: kind(&upload),
        key: Some(input.key),
        server_side_encryption: encryption(),
        upload_id: Some(upload.id),
        ..dto::CreateMultipartUploadOutput::default()
    })
}

fn algorithm(upload: &Upload) -> Option<dto::ChecksumAlgorithm> {
    upload.chosen.then(|| dto::ChecksumAlgorithm::from_static(upload.algorithm.name()))
}

/// The kind of an upload's checksum, where the client chose one.
pub(super) fn kind(upload: &Upload) -> Option<dto::ChecksumType> {
    let kind = if upload.composite { dto::ChecksumType::COMPOSITE } else { dto::ChecksumType::FULL_OBJECT };
    upload.chosen.then(|| dto::ChecksumType::from_static(kind))
}

pub(super) fn initiator(upload: &Upload) -> dto::Initiator {
    let account = Arn::parse(&upload.initiator).map_or("", |arn| arn.account);
    if upload.initiator.ends_with(":root") {
        return dto::Initiator { display_name: None, id: owner(account).id };
    }
    let name = Arn::parse(&upload.initiator).map(|arn| arn.name().to_owned());
    dto::Initiator { display_name: name, id: Some(upload.initiator.clone()) }
}

pub(super) async fn upload_part(
    s3: &Service,
    call: Call,
    mut input: dto::UploadPartInput,
) -> Answer<dto::UploadPartOutput> {
    let number = upload::check_number(input.part_number)?;
    let (state, _) = s3.read(&input.bucket).await?;
    let (upload, _) = upload::find(&state, &input.bucket, &input.key, &input.upload_id, u32::MAX)?;
    let expected = Expected::of(&call.headers, call.trailing, input.content_length, checksums!(input))?;
    if let Some(stated) = expected.algorithm().filter(|stated| upload.chosen && *stated != upload.algorithm) {
        let message = format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            upload.algorithm.name().to_lowercase(),
            stated.name().to_lowercase()
        );
        return Err(invalid_request(message).into());
    }
    let stated = expected.algorithm() == Some(upload.algorithm);
    let digested = receive(&s3.engine, input.body.take(), expected, upload.algorithm).await?;
    let part = store_part(s3, &input.bucket, &input.key, &upload, number, &digested).await?;
    let mut output = dto::UploadPartOutput {
        e_tag: Some(etag(&digested.md5)),
        server_side_encryption: encryption(),
        ..dto::UploadPartOutput::default()
    };
    if upload.chosen || stated {
        let _ = show_checksums!(output, Checksums::only(upload.algorithm, Some(part.checksum)));
    }
    Ok(output)
}

/// Takes note of a part whose bytes are stored.
pub(super) async fn store_part(
    s3: &Service,
    bucket: &str,
    key: &str,
    upload: &Upload,
    number: u32,
    digested: &Digested,
) -> Answer<Part> {
    s3.write(|tx, now, _| {
        let part = Part {
            upload: upload.id.clone(),
            number,
            blob: Blob { digest: digested.digest.clone(), size: digested.size },
            md5: digested.md5.clone(),
            checksum: digested.checksum.value.clone(),
            modified: now,
        };
        upload::put_part(tx, bucket, key, part.clone())?;
        Ok(part)
    })
    .await
}

pub(super) async fn complete_multipart_upload(
    s3: &Service,
    call: Call,
    mut input: dto::CompleteMultipartUploadInput,
) -> Answer<dto::CompleteMultipartUploadOutput> {
    let stated = checksums!(input).stated()?;
    let precondition = precondition(input.if_match.take(), input.if_none_match.take())?;
    let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    let mut parts = Vec::with_capacity(named.len());
    for mut part in named {
        let checksum = checksums!(part).stated()?;
        let etag = part.e_tag.ok_or_else(pileus_storage::error::malformed_xml)?;
        parts.push((upload::check_number(part.part_number.unwrap_or(0))?, etag.into_value(), checksum));
    }
    let version = s3
        .write(|tx, now, ids| {
            let bucket = bucket::get(tx, &input.bucket)?;
            let upload = upload::get(tx, &input.bucket, &input.key, &input.upload_id)?;
            let fits = |algorithm: Algorithm| algorithm == upload.algorithm;
            let completed = parts.into_iter().map(|(number, etag, checksum)| {
                let checksum = checksum.filter(|(algorithm, _)| fits(*algorithm)).map(|(_, value)| value);
                Completed { number, etag, checksum }
            });
            let completion = Completion {
                parts: completed.collect(),
                checksum: stated.filter(|(algorithm, _)| fits(*algorithm)).map(|(_, value)| value),
                precondition,
            };
            let version = upload::complete(tx, now, ids, &bucket, &upload, &completion)?;
            check_size(input.mpu_object_size, version.content.as_ref().map_or(0, |content| content.size))?;
            Ok(version)
        })
        .await?;
    let content = version.content.unwrap_or_default();
    let host = super::addressing::text(&call.headers, "host").unwrap_or("localhost");
    let mut output = dto::CompleteMultipartUploadOutput {
        e_tag: Some(etag(&content.etag)),
        location: Some(format!("http://{host}/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        server_side_encryption: encryption(),
        version_id: shown_id(&version.id),
        ..dto::CompleteMultipartUploadOutput::default()
    };
    output.checksum_type = show_checksums!(output, Checksums::of(content.checksum.as_ref()));
    Ok(output)
}

fn check_size(stated: Option<i64>, found: u64) -> Result<(), ApiError> {
    if stated.is_none_or(|stated| u64::try_from(stated) == Ok(found)) {
        return Ok(());
    }
    Err(invalid_request("The provided 'x-amz-mp-object-size' header does not match what was computed."))
}

pub(super) async fn abort_multipart_upload(
    s3: &Service,
    _: Call,
    input: dto::AbortMultipartUploadInput,
) -> Answer<dto::AbortMultipartUploadOutput> {
    if input.if_match_initiated_time.is_some() {
        return Err(pileus_storage::error::not_implemented("x-amz-if-match-initiated-time").into());
    }
    s3.write(|tx, _, _| {
        bucket::get(tx, &input.bucket)?;
        let upload = upload::get(tx, &input.bucket, &input.key, &input.upload_id)?;
        upload::end(tx, &upload);
        Ok(())
    })
    .await?;
    Ok(dto::AbortMultipartUploadOutput { request_charged: None })
}

pub(super) async fn list_parts(
    s3: &Service,
    _: Call,
    input: dto::ListPartsInput,
) -> Answer<dto::ListPartsOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    let marker = input.part_number_marker.unwrap_or(0);
    let limit = input.max_parts.unwrap_or(MAX_PARTS).clamp(0, MAX_PARTS);
    let after = u32::try_from(marker).unwrap_or(0);
    let (upload, parts) = upload::find(&state, &input.bucket, &input.key, &input.upload_id, after)?;
    let page = &parts[..parts.len().min(usize::try_from(limit).unwrap_or(0))];
    let shown = page.iter().map(|part| {
        let mut shown = dto::Part {
            e_tag: Some(etag(&part.md5)),
            last_modified: Some(timestamp(part.modified)),
            part_number: i32::try_from(part.number).ok(),
            size: Some(size(part.blob.size)),
            ..dto::Part::default()
        };
        if upload.chosen {
            let _ = show_checksums!(shown, Checksums::only(upload.algorithm, Some(part.checksum.clone())));
        }
        shown
    });
    let next = page.last().map_or(0, |part| count(usize::try_from(part.number).unwrap_or(0)));
    Ok(dto::ListPartsOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: algorithm(&upload),
        checksum_type: kind(&upload),
        initiator: Some(initiator(&upload)),
        is_truncated: Some(page.len() < parts.len()),
        key: Some(input.key),
        max_parts: Some(limit),
        next_part_number_marker: Some(next),
        owner: Some(owner(&bucket.owner)),
        part_number_marker: Some(marker),
        parts: Some(shown.collect()),
        storage_class: Some(upload.described.storage_class.clone().into()),
        upload_id: Some(input.upload_id),
        ..dto::ListPartsOutput::default()
    })
}
