"""S3: buckets and objects as boto3, the aws CLI and terraform use them, and what a kill leaves."""

import base64
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import botocore.config
import botocore.exceptions
import pytest

import terraform
from engine import Engine

ACCOUNT = "000000000000"


def s3_of(engine, *, style="path", **options):
    config = botocore.config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": style})
    return engine.client("s3", config=config, **options)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One engine for the tests that keep to buckets of their own."""
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.cli("start")
        yield engine


@pytest.fixture
def s3(shared):
    return s3_of(shared)


def code_of(call, /, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def fetch(url, method="GET", data=None, headers=None):
    request = urllib.request.Request(url, method=method, data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def test_the_life_of_a_bucket(s3, shared):
    s3.create_bucket(Bucket="life")
    s3.create_bucket(Bucket="life")
    assert "life" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket="life")["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket="life")["LocationConstraint"] is None
    europe = s3_of(shared, region_name="eu-west-1")
    europe.create_bucket(Bucket="life-eu", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert s3.get_bucket_location(Bucket="life-eu")["LocationConstraint"] == "eu-west-1"
    assert code_of(europe.create_bucket, Bucket="life-none") == "IllegalLocationConstraintException"
    again = {"LocationConstraint": "eu-west-1"}
    assert code_of(europe.create_bucket, Bucket="life-eu", CreateBucketConfiguration=again) == "BucketAlreadyOwnedByYou"
    other = s3_of(shared, aws_access_key_id="111111111111")
    assert code_of(other.create_bucket, Bucket="life") == "BucketAlreadyExists"
    assert code_of(other.list_objects_v2, Bucket="life") == "AccessDenied"
    assert other.list_buckets()["Buckets"] == []
    s3.put_object(Bucket="life", Key="a", Body=b"a")
    assert code_of(s3.delete_bucket, Bucket="life") == "BucketNotEmpty"
    s3.delete_object(Bucket="life", Key="a")
    s3.delete_bucket(Bucket="life")
    s3.get_waiter("bucket_not_exists").wait(Bucket="life")
    assert code_of(s3.head_bucket, Bucket="life") == "404"
    assert code_of(s3.list_objects_v2, Bucket="life") == "NoSuchBucket"


def test_settings_are_read_back_and_enforced(s3):
    bucket = {"Bucket": "settings"}
    s3.create_bucket(**bucket)
    for call, code in [
        (s3.get_bucket_website, "NoSuchWebsiteConfiguration"),
        (s3.get_bucket_replication, "ReplicationConfigurationNotFoundError"),
        (s3.get_bucket_cors, "NoSuchCORSConfiguration"),
        (s3.get_bucket_tagging, "NoSuchTagSet"),
        (s3.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError"),
        (s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"),
        (s3.get_bucket_policy, "NoSuchBucketPolicy"),
    ]:
        assert code_of(call, **bucket) == code
    for call in [s3.get_bucket_accelerate_configuration, s3.get_bucket_logging, s3.get_bucket_notification_configuration]:
        assert set(call(**bucket)) == {"ResponseMetadata"}
    assert s3.get_bucket_request_payment(**bucket)["Payer"] == "BucketOwner"

    rules = s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    kms = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "x"}}]}
    assert code_of(s3.put_bucket_encryption, **bucket, ServerSideEncryptionConfiguration=kms) == "KMS.NotFoundException"

    assert "Status" not in s3.get_bucket_versioning(**bucket)
    s3.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(**bucket)["Status"] == "Enabled"

    tags = [{"Key": "team", "Value": "a b/ä"}]
    s3.put_bucket_tagging(**bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(**bucket)["TagSet"] == tags
    s3.delete_bucket_tagging(**bucket)
    s3.create_bucket(Bucket="settings-tagged", CreateBucketConfiguration={"Tags": tags})
    assert s3.get_bucket_tagging(Bucket="settings-tagged")["TagSet"] == tags

    controls = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert s3.get_bucket_ownership_controls(**bucket)["OwnershipControls"] == controls
    assert code_of(s3.put_bucket_acl, **bucket, ACL="private") == "AccessControlListNotSupported"
    preferred = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    s3.put_bucket_ownership_controls(**bucket, OwnershipControls=preferred)
    s3.put_bucket_acl(**bucket, ACL="private")
    assert s3.get_bucket_acl(**bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"

    block = s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"]
    assert all(block.values()) and len(block) == 4
    public = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::settings/*"}]})
    assert code_of(s3.put_bucket_policy, **bucket, Policy=public) == "AccessDenied"
    assert code_of(s3.put_bucket_policy, **bucket, Policy="{}") == "MalformedPolicy"
    assert code_of(s3.put_bucket_policy, **bucket, Policy=public.replace("settings", "others")) == "MalformedPolicy"

    lifecycle = {"Rules": [{"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 7},
                            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
                            "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}],
                            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}}]}
    s3.put_bucket_lifecycle_configuration(**bucket, LifecycleConfiguration=lifecycle)
    found = s3.get_bucket_lifecycle_configuration(**bucket)
    assert found["Rules"] == lifecycle["Rules"]
    assert found["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    s3.delete_bucket_lifecycle(**bucket)

    for call, arguments in [
        (s3.put_bucket_website, {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "index.html"}}}),
        (s3.put_bucket_accelerate_configuration, {"AccelerateConfiguration": {"Status": "Enabled"}}),
        (s3.put_bucket_logging, {"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "x", "TargetPrefix": ""}}}),
        (s3.put_bucket_request_payment, {"RequestPaymentConfiguration": {"Payer": "Requester"}}),
    ]:
        assert code_of(call, **bucket, **arguments) == "NotImplemented"


def test_objects_with_all_that_is_said_of_them(s3):
    bucket = {"Bucket": "objects"}
    s3.create_bucket(**bucket)
    body = b"hello, world"
    put = s3.put_object(**bucket, Key="a/ b+c%ä.txt", Body=body, ContentType="text/plain", CacheControl="max-age=1",
                        ContentDisposition="inline", ContentLanguage="en", Metadata={"Colour": "blue"},
                        Tagging="team=x%20y&n=1", StorageClass="STANDARD_IA")
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"' and put["ServerSideEncryption"] == "AES256"
    got = s3.get_object(**bucket, Key="a/ b+c%ä.txt")
    assert got["Body"].read() == body
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("text/plain", "max-age=1", {"colour": "blue"})
    assert (got["TagCount"], got["StorageClass"], got["ContentLength"]) == (2, "STANDARD_IA", 12)
    head = s3.head_object(**bucket, Key="a/ b+c%ä.txt")
    assert head["LastModified"] == got["LastModified"] and head["AcceptRanges"] == "bytes"
    tags = s3.get_object_tagging(**bucket, Key="a/ b+c%ä.txt")["TagSet"]
    assert sorted((tag["Key"], tag["Value"]) for tag in tags) == [("n", "1"), ("team", "x y")]

    key = {**bucket, "Key": "range"}
    s3.put_object(**key, Body=b"0123456789")
    for asked, expected, shown in [("bytes=2-4", b"234", "bytes 2-4/10"), ("bytes=7-", b"789", "bytes 7-9/10"),
                                   ("bytes=-2", b"89", "bytes 8-9/10"), ("bytes=5-99", b"56789", "bytes 5-9/10")]:
        part = s3.get_object(**key, Range=asked)
        assert (part["Body"].read(), part["ContentRange"]) == (expected, shown)
    assert code_of(s3.get_object, **key, Range="bytes=10-") == "InvalidRange"

    etag = s3.head_object(**key)["ETag"]
    assert code_of(s3.get_object, **key, IfNoneMatch=etag) == "304"
    assert code_of(s3.get_object, **key, IfMatch='"0"') == "PreconditionFailed"
    modified = s3.head_object(**key)["LastModified"]
    assert code_of(s3.get_object, **key, IfModifiedSince=modified) == "304"
    overridden = s3.get_object(**key, ResponseContentType="text/csv", ResponseCacheControl="no-store")
    assert (overridden["ContentType"], overridden["CacheControl"]) == ("text/csv", "no-store")

    s3.put_object(**bucket, Key="empty", Body=b"")
    assert s3.get_object(**bucket, Key="empty")["Body"].read() == b""
    s3.copy_object(**bucket, Key="copy", CopySource={"Bucket": "objects", "Key": "a/ b+c%ä.txt"})
    copy = s3.get_object(**bucket, Key="copy")
    assert (copy["Body"].read(), copy["Metadata"], copy["TagCount"]) == (body, {"colour": "blue"}, 2)
    s3.copy_object(**bucket, Key="copy", CopySource="objects/copy", MetadataDirective="REPLACE", Metadata={"a": "b"})
    assert s3.head_object(**bucket, Key="copy")["Metadata"] == {"a": "b"}
    assert code_of(s3.copy_object, **bucket, Key="copy", CopySource="objects/copy") == "InvalidRequest"
    once = {**bucket, "Key": "copy", "CopySource": "objects/range", "IfNoneMatch": "*"}
    assert code_of(s3.copy_object, **once) == "PreconditionFailed"

    sizes = s3.get_object_attributes(**key, ObjectAttributes=["ETag", "ObjectSize", "StorageClass", "Checksum"])
    assert sizes["ObjectSize"] == 10 and sizes["StorageClass"] == "STANDARD" and "ChecksumCRC32" in sizes["Checksum"]
    assert code_of(s3.get_object, **bucket, Key="none") == "NoSuchKey"
    assert code_of(s3.head_object, **bucket, Key="none") == "404"
    archived = {**bucket, "Key": "cold"}
    s3.put_object(**archived, Body=b"x", StorageClass="GLACIER")
    assert code_of(s3.get_object, **archived) == "InvalidObjectState"


def test_checksums_are_verified_and_kept(s3, shared):
    bucket = {"Bucket": "sums"}
    s3.create_bucket(**bucket)
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]:
        try:
            put = s3.put_object(**bucket, Key=algorithm, Body=b"hello", ChecksumAlgorithm=algorithm)
        except botocore.exceptions.MissingDependencyException:
            continue
        field = f"Checksum{algorithm}"
        head = s3.head_object(**bucket, Key=algorithm, ChecksumMode="ENABLED")
        assert head[field] == put[field] and head["ChecksumType"] == "FULL_OBJECT"
        got = s3.get_object(**bucket, Key=algorithm, ChecksumMode="ENABLED")
        assert got["Body"].read() == b"hello"
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    assert code_of(s3.put_object, **bucket, Key="x", Body=b"hello", ChecksumSHA256=wrong) == "BadDigest"
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert code_of(s3.put_object, **bucket, Key="x", Body=b"hello", ContentMD5=md5) == "BadDigest"
    assert code_of(s3.put_object, **bucket, Key="x", Body=b"hello", ContentMD5="nonsense") == "InvalidDigest"
    assert code_of(s3.head_object, **bucket, Key="x") == "404"
    quiet = botocore.config.Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"})
    quiet = shared.client("s3", config=quiet)
    quiet.put_object(**bucket, Key="quiet", Body=b"hello")
    assert s3.head_object(**bucket, Key="quiet", ChecksumMode="ENABLED")["ChecksumCRC64NVME"]


def test_versions(s3):
    bucket = {"Bucket": "versions"}
    s3.create_bucket(**bucket)
    s3.put_object(**bucket, Key="k", Body=b"zero")
    s3.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Enabled"})
    one = s3.put_object(**bucket, Key="k", Body=b"one")["VersionId"]
    marker = s3.delete_object(**bucket, Key="k")
    assert marker["DeleteMarker"] is True
    assert code_of(s3.get_object, **bucket, Key="k") == "NoSuchKey"
    assert s3.get_object(**bucket, Key="k", VersionId=one)["Body"].read() == b"one"
    assert s3.get_object(**bucket, Key="k", VersionId="null")["Body"].read() == b"zero"
    assert code_of(s3.get_object, **bucket, Key="k", VersionId=marker["VersionId"]) == "MethodNotAllowed"
    assert code_of(s3.get_object, **bucket, Key="k", VersionId="A" * 32) == "NoSuchVersion"
    listed = s3.list_object_versions(**bucket)
    assert [version["VersionId"] for version in listed["Versions"]] == [one, "null"]
    assert [item["IsLatest"] for item in listed["DeleteMarkers"] + listed["Versions"]] == [True, False, False]
    s3.delete_object(**bucket, Key="k", VersionId=marker["VersionId"])
    assert s3.get_object(**bucket, Key="k")["Body"].read() == b"one"
    every = s3.list_object_versions(**bucket)["Versions"]
    batch = {"Objects": [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in every]}
    assert len(s3.delete_objects(**bucket, Delete=batch)["Deleted"]) == 2
    assert "Versions" not in s3.list_object_versions(**bucket)
    s3.delete_bucket(**bucket)


def test_listing_with_delimiter_and_pages(s3):
    bucket = {"Bucket": "listing"}
    s3.create_bucket(**bucket)
    keys = [f"photos/2026/{n:03}.jpg" for n in range(25)] + ["photos/readme", "a b&c", "zoo", "ö<>"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(**bucket, Key=key, Body=b"x"), keys))
    for operation, size in [("list_objects_v2", 7), ("list_objects", 4)]:
        pages = s3.get_paginator(operation).paginate(**bucket, PaginationConfig={"PageSize": size})
        found = [item["Key"] for page in pages for item in page.get("Contents", [])]
        assert found == sorted(keys, key=str.encode)
    top = s3.list_objects_v2(**bucket, Delimiter="/")
    assert [prefix["Prefix"] for prefix in top["CommonPrefixes"]] == ["photos/"] and top["KeyCount"] == 4
    below = s3.list_objects_v2(**bucket, Delimiter="/", Prefix="photos/")
    assert [item["Key"] for item in below["Contents"]] == ["photos/readme"]
    assert [prefix["Prefix"] for prefix in below["CommonPrefixes"]] == ["photos/2026/"]
    after = s3.list_objects_v2(**bucket, StartAfter="photos/2026/023.jpg", MaxKeys=1)
    assert [item["Key"] for item in after["Contents"]] == ["photos/2026/024.jpg"] and after["IsTruncated"]
    assert code_of(s3.list_objects_v2, **bucket, ContinuationToken="nonsense") == "InvalidArgument"
    pages = s3.get_paginator("list_objects_v2").paginate(**bucket, Delimiter="/", PaginationConfig={"PageSize": 1})
    prefixes = [prefix["Prefix"] for page in pages for prefix in page.get("CommonPrefixes", [])]
    assert prefixes == ["photos/"]


def test_writes_can_be_conditional(s3):
    key = {"Bucket": "conditional", "Key": "state.tflock"}
    s3.create_bucket(Bucket="conditional")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        def lock(_):
            try:
                s3.put_object(**key, Body=b"x", IfNoneMatch="*")
                return True
            except botocore.exceptions.ClientError as error:
                assert error.response["Error"]["Code"] == "PreconditionFailed"
                return False
        assert sum(pool.map(lock, range(8))) == 1
    etag = s3.head_object(**key)["ETag"]
    s3.put_object(**key, Body=b"y", IfMatch=etag)
    assert code_of(s3.put_object, **key, Body=b"z", IfMatch=etag) == "PreconditionFailed"
    assert code_of(s3.put_object, Bucket="conditional", Key="none", Body=b"z", IfMatch=etag) == "NoSuchKey"


def test_uploads_in_parts(s3):
    bucket, key = {"Bucket": "parts"}, {"Bucket": "parts", "Key": "big"}
    s3.create_bucket(**bucket)
    chunk = os.urandom(5 << 20)
    upload = s3.create_multipart_upload(**key, ContentType="text/big", Metadata={"a": "b"})["UploadId"]
    assert [item["UploadId"] for item in s3.list_multipart_uploads(**bucket)["Uploads"]] == [upload]
    parts = []
    for number, body in [(1, chunk), (2, chunk), (7, b"the end")]:
        done = s3.upload_part(**key, UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    assert [part["Size"] for part in s3.list_parts(**key, UploadId=upload)["Parts"]] == [5 << 20, 5 << 20, 7]
    page = s3.list_parts(**key, UploadId=upload, MaxParts=1)
    assert page["IsTruncated"] and page["NextPartNumberMarker"] == 1
    bad = {"Parts": [parts[1], parts[0]]}
    assert code_of(s3.complete_multipart_upload, **key, UploadId=upload, MultipartUpload=bad) == "InvalidPartOrder"
    bad = {"Parts": [{"PartNumber": 1, "ETag": '"0"'}]}
    assert code_of(s3.complete_multipart_upload, **key, UploadId=upload, MultipartUpload=bad) == "InvalidPart"
    s3.complete_multipart_upload(**key, UploadId=upload, MultipartUpload={"Parts": parts})
    got = s3.get_object(**key)
    body = got["Body"].read()
    assert body == chunk + chunk + b"the end" and got["ETag"].endswith('-3"')
    assert (got["ContentType"], got["Metadata"]) == ("text/big", {"a": "b"})
    assert s3.get_object(**key, Range=f"bytes={(5 << 20) - 2}-{(5 << 20) + 1}")["Body"].read() == chunk[-2:] + chunk[:2]
    part = s3.get_object(**key, PartNumber=3)
    assert part["Body"].read() == b"the end" and part["PartsCount"] == 3
    assert code_of(s3.complete_multipart_upload, **key, UploadId=upload, MultipartUpload={"Parts": parts}) == "NoSuchUpload"

    copy = s3.create_multipart_upload(Bucket="parts", Key="copy")["UploadId"]
    copied = [s3.upload_part_copy(Bucket="parts", Key="copy", UploadId=copy, PartNumber=1, CopySource="parts/big",
                                  CopySourceRange=f"bytes=0-{(5 << 20) - 1}"),
              s3.upload_part_copy(Bucket="parts", Key="copy", UploadId=copy, PartNumber=2, CopySource="parts/big",
                                  CopySourceRange=f"bytes={10 << 20}-{(10 << 20) + 6}")]
    parts = [{"PartNumber": n + 1, "ETag": part["CopyPartResult"]["ETag"]} for n, part in enumerate(copied)]
    s3.complete_multipart_upload(Bucket="parts", Key="copy", UploadId=copy, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket="parts", Key="copy")["Body"].read() == chunk + b"the end"
    s3.copy_object(Bucket="parts", Key="whole", CopySource="parts/copy")
    assert s3.head_object(Bucket="parts", Key="whole")["ETag"] == f'"{hashlib.md5(chunk + b"the end").hexdigest()}"'

    gone = s3.create_multipart_upload(**key)["UploadId"]
    s3.abort_multipart_upload(**key, UploadId=gone)
    assert code_of(s3.upload_part, **key, UploadId=gone, PartNumber=1, Body=b"x") == "NoSuchUpload"
    assert code_of(s3.abort_multipart_upload, **key, UploadId=gone) == "NoSuchUpload"


def test_presigned_urls_and_hosts(s3, shared, monkeypatch):
    # Not every host resolves the names below localhost, as systemd's resolver and browsers do.
    resolve = socket.getaddrinfo
    names = lambda host: "127.0.0.1" if str(host).endswith(".localhost") else host  # noqa: E731
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **options: resolve(names(host), *rest, **options))
    s3.create_bucket(Bucket="presigned")
    version_4 = shared.client("s3", config=botocore.config.Config(signature_version="s3v4"))
    # boto3 presigns with version 2 unless it is told otherwise.
    for client in [s3, version_4]:
        put = client.generate_presigned_url("put_object", {"Bucket": "presigned", "Key": "a b", "ContentType": "text/plain"})
        assert fetch(put, "PUT", b"by url", {"Content-Type": "text/plain"})[0] == 200
        get = client.generate_presigned_url("get_object", {"Bucket": "presigned", "Key": "a b"})
        assert fetch(get)[:2] == (200, b"by url")
        assert fetch(get.replace("presigned", "others"))[0] == 403
    late = version_4.generate_presigned_url("get_object", {"Bucket": "presigned", "Key": "a b"}, ExpiresIn=1)
    virtual = s3_of(shared, style="virtual", endpoint_url=f"http://s3.localhost:{shared.port}")
    assert virtual.get_object(Bucket="presigned", Key="a b")["Body"].read() == b"by url"
    plain = s3_of(shared, style="virtual", endpoint_url=f"http://localhost:{shared.port}")
    assert plain.get_object(Bucket="presigned", Key="a b")["Body"].read() == b"by url"
    time.sleep(2.1)
    status, body, _ = fetch(late)
    assert status == 403 and b"Request has expired" in body
    stranger = s3_of(shared, aws_access_key_id="AKIAIOSFODNN7EXAMPLE")
    assert code_of(stranger.list_buckets) == "InvalidAccessKeyId"
    wrong = s3_of(shared, aws_secret_access_key="wrong")
    assert code_of(wrong.list_buckets) == "SignatureDoesNotMatch"


def test_the_public_and_pages_of_other_origins(s3, shared):
    bucket = {"Bucket": "public"}
    s3.create_bucket(**bucket)
    s3.put_object(**bucket, Key="index.html", Body=b"<p>", ContentType="text/html")
    url = f"http://localhost:{shared.port}/public/index.html"
    assert fetch(url)[0] == 403
    policy = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::public/*"}]})
    s3.delete_public_access_block(**bucket)
    s3.put_bucket_policy(**bucket, Policy=policy)
    assert s3.get_bucket_policy_status(**bucket)["PolicyStatus"]["IsPublic"] is True
    status, body, headers = fetch(url)
    assert (status, body, headers["Content-Type"]) == (200, b"<p>", "text/html")
    assert fetch(f"http://localhost:{shared.port}/public/none")[0] == 403
    assert fetch(url, "DELETE")[0] == 403
    s3.put_public_access_block(**bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    assert fetch(url)[0] == 403
    s3.delete_public_access_block(**bucket)

    origin = {"Origin": "http://app.example"}
    assert fetch(url, headers=origin)[0] == 403
    s3.put_bucket_cors(**bucket, CORSConfiguration={"CORSRules": [
        {"AllowedOrigins": ["http://app.example"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["*"],
         "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}]})
    status, _, headers = fetch(url, headers=origin)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "http://app.example")
    asked = origin | {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    status, _, headers = fetch(url, "OPTIONS", headers=asked)
    assert (status, headers["Access-Control-Max-Age"]) == (200, "60")
    assert fetch(url, "OPTIONS", headers=asked | {"Access-Control-Request-Method": "DELETE"})[0] == 403
    assert fetch(url, headers={"Origin": "http://evil.example"})[0] == 403


def test_roles_are_held_to_their_policies(s3, shared):
    iam, sts = shared.client("iam"), shared.client("sts")
    s3.create_bucket(Bucket="guarded")
    s3.put_object(Bucket="guarded", Key="mine/a", Body=b"a")
    s3.put_object(Bucket="guarded", Key="theirs/a", Body=b"a")
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}]}
    iam.create_role(RoleName="s3-reader", AssumeRolePolicyDocument=json.dumps(trust))
    allow = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::guarded/mine/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::guarded",
         "Condition": {"StringLike": {"s3:prefix": "mine/*"}}}]}
    iam.put_role_policy(RoleName="s3-reader", PolicyName="p", PolicyDocument=json.dumps(allow))
    session = sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/s3-reader", RoleSessionName="reader")["Credentials"]
    keys = {"aws_access_key_id": session["AccessKeyId"], "aws_secret_access_key": session["SecretAccessKey"]}
    reader = s3_of(shared, **keys, aws_session_token=session["SessionToken"])
    assert reader.get_object(Bucket="guarded", Key="mine/a")["Body"].read() == b"a"
    assert code_of(reader.get_object, Bucket="guarded", Key="theirs/a") == "AccessDenied"
    assert code_of(reader.delete_object, Bucket="guarded", Key="mine/a") == "AccessDenied"
    assert code_of(reader.get_object, Bucket="guarded", Key="mine/none") == "AccessDenied"
    assert [item["Key"] for item in reader.list_objects_v2(Bucket="guarded", Prefix="mine/")["Contents"]] == ["mine/a"]
    assert code_of(reader.list_objects_v2, Bucket="guarded") == "AccessDenied"
    batch = {"Objects": [{"Key": "mine/a"}]}
    assert reader.delete_objects(Bucket="guarded", Delete=batch)["Errors"][0]["Code"] == "AccessDenied"
    assert code_of(s3_of(shared, **keys).get_object, Bucket="guarded", Key="mine/a") == "InvalidToken"
    deny = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::guarded/*"}]}
    s3.put_bucket_policy(Bucket="guarded", Policy=json.dumps(deny))
    assert code_of(reader.get_object, Bucket="guarded", Key="mine/a") == "AccessDenied"
    s3.delete_bucket_policy(Bucket="guarded")


def test_errors_have_the_codes_of_aws(s3):
    s3.create_bucket(Bucket="errors")
    bucket, key = {"Bucket": "errors"}, {"Bucket": "errors", "Key": "k"}
    sse = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    for call, arguments, code in [
        (s3.create_bucket, {"Bucket": "Upper_case"}, "InvalidBucketName"),
        (s3.create_bucket, {"Bucket": "locked", "ObjectLockEnabledForBucket": True}, "NotImplemented"),
        (s3.put_object, {**key, "Body": b"", "ServerSideEncryption": "aws:kms"}, "NotImplemented"),
        (s3.put_object, {**key, "Body": b"", **sse}, "NotImplemented"),
        (s3.put_object, {**key, "Body": b"", "ACL": "public-read"}, "AccessControlListNotSupported"),
        (s3.put_object, {**key, "Body": b"", "StorageClass": "CELLAR"}, "InvalidStorageClass"),
        (s3.put_object, {**key, "Body": b"", "Tagging": "aws:x=1"}, "InvalidTag"),
        (s3.put_object, {**key, "Body": b"", "Metadata": {"a": "b" * 3000}}, "MetadataTooLarge"),
        (s3.put_object, {"Bucket": "errors", "Key": "k" * 1025, "Body": b""}, "KeyTooLongError"),
        (s3.put_object, {"Bucket": "no-such-bucket", "Key": "k", "Body": b""}, "NoSuchBucket"),
        (s3.list_objects_v2, {**bucket, "MaxKeys": -1}, "InvalidArgument"),
        (s3.list_object_versions, {**bucket, "VersionIdMarker": "x"}, "InvalidArgument"),
        (s3.list_parts, {**key, "UploadId": "x"}, "NoSuchUpload"),
        (s3.upload_part, {**key, "UploadId": "x", "PartNumber": 0}, "InvalidArgument"),
        (s3.head_bucket, {**bucket, "ExpectedBucketOwner": "111111111111"}, "403"),
        (s3.rename_object, {**key, "RenameSource": "x"}, "NotImplemented"),
        (s3.get_bucket_abac, {**bucket}, "NotImplemented"),
        (s3.restore_object, {**key, "RestoreRequest": {"Days": 1}}, "NotImplemented"),
        (s3.delete_objects, {**bucket, "Delete": {"Objects": [{"Key": "k"}] * 1001}}, "MalformedXML"),
    ]:
        assert code_of(call, **arguments) == code, (call, arguments)


def test_the_aws_cli_copies_and_syncs(shared, tmp_path):
    def aws(*arguments):
        command = [shutil.which("aws", path=str(pathlib.Path(os.sys.executable).parent)), "s3", *map(str, arguments)]
        done = subprocess.run(command, env=shared.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "big.bin").write_bytes(os.urandom(20 << 20))
    (source / "deep" / "er" / "ä file.txt").write_text("hello")
    (source / "empty").write_bytes(b"")
    aws("mb", "s3://cli-bucket")
    aws("sync", source, "s3://cli-bucket/prefix")
    assert "PRE prefix/" in aws("ls", "s3://cli-bucket")
    assert aws("sync", source, "s3://cli-bucket/prefix") == ""
    back = tmp_path / "back"
    aws("cp", "--recursive", "s3://cli-bucket/prefix", back)
    for name in ["big.bin", "deep/er/ä file.txt", "empty"]:
        assert (back / name).read_bytes() == (source / name).read_bytes()
    aws("cp", "s3://cli-bucket/prefix/big.bin", "s3://cli-bucket/copy.bin")
    url = aws("presign", "s3://cli-bucket/copy.bin").strip()
    assert hashlib.md5(fetch(url)[1]).digest() == hashlib.md5((source / "big.bin").read_bytes()).digest()
    aws("rm", "--recursive", "s3://cli-bucket")
    aws("rb", "s3://cli-bucket")


def test_a_kill_loses_nothing_that_was_acknowledged_and_leaves_nothing(engine):
    s3 = s3_of(engine)
    s3.create_bucket(Bucket="killed")
    s3.create_bucket(Bucket="other")
    kept = {}

    def write(n):
        body = os.urandom(300_000)
        try:
            s3_of(engine).put_object(Bucket="killed", Key=f"k{n}", Body=body)
            kept[f"k{n}"] = hashlib.md5(body).hexdigest()
        except Exception:  # noqa: BLE001  the kill comes in whatever form
            pass

    upload = s3.create_multipart_upload(Bucket="killed", Key="parts")["UploadId"]
    part = s3.upload_part(Bucket="killed", Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(write, n) for n in range(60)]
        while len(kept) < 15:
            time.sleep(0.01)
        engine.kill()
        concurrent.futures.wait(futures)
    engine.cli("start")
    s3 = s3_of(engine)
    assert len(kept) >= 15
    for key, digest in kept.items():
        assert hashlib.md5(s3.get_object(Bucket="killed", Key=key)["Body"].read()).hexdigest() == digest
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket="killed", Key="parts", UploadId=upload, MultipartUpload=parts)
    assert s3.get_object(Bucket="killed", Key="parts")["Body"].read() == b"part"
    listed = s3.list_objects_v2(Bucket="killed")["Contents"]
    objects = engine.home / "bulk" / "objects"
    assert list((objects / "uploads").iterdir()) == []
    # A blob for each object; those that nobody had named went with the start.
    assert len(list((objects / "sha256").iterdir())) == len(listed)
    for item in listed:
        s3.delete_object(Bucket="killed", Key=item["Key"])
    engine.kill()
    engine.cli("start")
    assert list((objects / "sha256").iterdir()) == []


def test_objects_expire_and_their_bytes_go(tmp_path):
    with Engine(tmp_path / "home") as engine:
        engine.home.mkdir()
        engine.cli("start", "--time-scale", "1000")
        s3 = s3_of(engine)
        s3.create_bucket(Bucket="expiring")
        s3.put_object(Bucket="expiring", Key="logs/a", Body=b"a")
        s3.put_object(Bucket="expiring", Key="kept", Body=b"b")
        rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Date": "2026-01-01T00:00:00Z"}}
        s3.put_bucket_lifecycle_configuration(Bucket="expiring", LifecycleConfiguration={"Rules": [rule]})
        end = time.monotonic() + 15
        while len(s3.list_objects_v2(Bucket="expiring")["Contents"]) > 1:
            assert time.monotonic() < end, "the object is still there, an hour of the engine later"
            time.sleep(0.2)
        assert s3.get_object(Bucket="expiring", Key="kept")["Body"].read() == b"b"


CONFIGURATION = """\
terraform {{
  required_providers {{ aws = {{ source = "hashicorp/aws" }} }}
  {backend}
}}
provider "aws" {{
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  endpoints {{
    s3  = "http://localhost:{port}"
    sts = "http://localhost:{port}"
    iam = "http://localhost:{port}"
  }}
  default_tags {{ tags = {{ managed = "terraform" }} }}
}}
{resources}
"""

RESOURCES = """\
resource "aws_s3_bucket" "it" {
  bucket        = "tf-bucket"
  force_destroy = true
  tags          = { Name = "it" }
}
resource "aws_s3_bucket_versioning" "it" {
  bucket = aws_s3_bucket.it.id
  versioning_configuration { status = "Enabled" }
}
resource "aws_s3_bucket_server_side_encryption_configuration" "it" {
  bucket = aws_s3_bucket.it.id
  rule {
    apply_server_side_encryption_by_default { sse_algorithm = "AES256" }
    bucket_key_enabled = true
  }
}
resource "aws_s3_bucket_public_access_block" "it" {
  bucket                  = aws_s3_bucket.it.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}
resource "aws_s3_bucket_ownership_controls" "it" {
  bucket = aws_s3_bucket.it.id
  rule { object_ownership = "BucketOwnerPreferred" }
}
resource "aws_s3_bucket_acl" "it" {
  depends_on = [aws_s3_bucket_ownership_controls.it]
  bucket     = aws_s3_bucket.it.id
  acl        = "private"
}
resource "aws_s3_bucket_policy" "it" {
  depends_on = [aws_s3_bucket_public_access_block.it]
  bucket     = aws_s3_bucket.it.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Deny", Principal = "*", Action = "s3:*",
      Resource = [aws_s3_bucket.it.arn, "${aws_s3_bucket.it.arn}/*"],
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}
resource "aws_s3_bucket_cors_configuration" "it" {
  bucket = aws_s3_bucket.it.id
  cors_rule {
    allowed_methods = ["GET", "PUT"]
    allowed_origins = ["http://app.example"]
    allowed_headers = ["*"]
    max_age_seconds = 60
  }
}
resource "aws_s3_object" "it" {
  bucket       = aws_s3_bucket.it.id
  key          = "etc/config.json"
  content      = jsonencode({ a = 1 })
  content_type = "application/json"
  tags         = { kind = "config" }
}
"""

LIFECYCLE = """\
resource "aws_s3_bucket_lifecycle_configuration" "it" {
  depends_on = [aws_s3_bucket_versioning.it]
  bucket     = aws_s3_bucket.it.id
  rule {
    id     = "old"
    status = "Enabled"
    filter { prefix = "logs/" }
    expiration { days = 90 }
    noncurrent_version_expiration { noncurrent_days = 30 }
    transition {
      days          = 30
      storage_class = "STANDARD_IA"
    }
  }
  rule {
    id     = "uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload { days_after_initiation = 7 }
  }
}
"""

BACKEND = """\
backend "s3" {{
    bucket                      = "tf-state"
    key                         = "deep/terraform.tfstate"
    region                      = "us-east-1"
    access_key                  = "test"
    secret_key                  = "test"
    use_lockfile                = true
    use_path_style              = true
    skip_credentials_validation = true
    skip_metadata_api_check     = true
    skip_requesting_account_id  = true
    endpoints                   = {{ s3 = "http://localhost:{port}" }}
  }}
"""


@pytest.mark.skipif(terraform.missing() is not None, reason=f"terraform's resources for S3 are not tried: {terraform.missing()}")
def test_terraform_applies_plans_clean_and_destroys(engine, tmp_path):
    # The provider waits for a minute until it believes that a lifecycle configuration stays.
    patient = os.environ.get("PILEUS_PATIENT") == "1"
    resources = RESOURCES + LIFECYCLE if patient else RESOURCES
    mirror = terraform.mirror()
    config = tmp_path / "cli.tfrc"
    config.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    environment = engine.environment | {"TF_CLI_CONFIG_FILE": str(config), "CHECKPOINT_DISABLE": "1"}
    s3 = s3_of(engine)
    s3.create_bucket(Bucket="tf-state")
    s3.put_bucket_versioning(Bucket="tf-state", VersioningConfiguration={"Status": "Enabled"})
    backend = BACKEND.format(port=engine.port)
    (tmp_path / "main.tf").write_text(CONFIGURATION.format(port=engine.port, backend=backend, resources=resources))

    def run(*arguments, expected=0):
        done = subprocess.run(["terraform", *arguments, "-no-color"], cwd=tmp_path, env=environment,
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == expected, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run("init", "-input=false")
    run("apply", "-auto-approve", "-input=false")
    run("plan", "-detailed-exitcode", "-input=false")
    assert json.loads(s3.get_object(Bucket="tf-bucket", Key="etc/config.json")["Body"].read()) == {"a": 1}
    state = json.loads(s3.get_object(Bucket="tf-state", Key="deep/terraform.tfstate")["Body"].read())
    assert len(state["resources"]) == (10 if patient else 9)
    assert code_of(s3.head_object, Bucket="tf-state", Key="deep/terraform.tfstate.tflock") == "404"
    s3.put_object(Bucket="tf-state", Key="deep/terraform.tfstate.tflock", Body=b'{"ID":"x","Who":"somebody"}')
    assert "Error acquiring the state lock" in _failure(run, "plan", "-input=false", "-lock-timeout=0s")
    s3.delete_object(Bucket="tf-state", Key="deep/terraform.tfstate.tflock")
    # What somebody else left in the bucket goes with force_destroy, with all its versions.
    s3.put_object(Bucket="tf-bucket", Key="left", Body=b"1")
    s3.put_object(Bucket="tf-bucket", Key="left", Body=b"2")
    run("destroy", "-auto-approve", "-input=false")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["tf-state"]


def _failure(run, *arguments):
    with pytest.raises(AssertionError) as caught:
        run(*arguments)
    return str(caught.value)
