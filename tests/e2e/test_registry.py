"""ECR beyond a push and a pull: layers by the API and from other repositories, referrers, who may do what, images that
expire and leave the disk, images from Dockerfiles, and Terraform."""

import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import shutil
import subprocess
import tarfile

import botocore.exceptions
import pytest

from engine import Engine, node_app, wait_for
from terraform import Terraform, missing

ACCOUNT, REGION = "000000000000", "us-east-1"
AWS_HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.cli("start")
        yield engine


@pytest.fixture(scope="module")
def hurried(tmp_path_factory):
    """An engine whose hours are seconds."""
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.environment["PILEUS_TIME_SCALE"] = "1000"
        engine.cli("start")
        yield engine


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def image(text):
    """The blobs of an image with one file, and its manifest."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("message")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
    tar = out.getvalue()
    packed = gzip.compress(tar, mtime=0)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]}}).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": OCI_LAYER, "digest": digest_of(packed), "size": len(packed)}]}).encode()
    return [config, packed], manifest


def layout(directory, text):
    """An OCI image layout with one image; returns its digest."""
    blobs, manifest = image(text)
    store = directory / "blobs" / "sha256"
    store.mkdir(parents=True)
    for blob in [*blobs, manifest]:
        (store / digest_of(blob).removeprefix("sha256:")).write_bytes(blob)
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = {"schemaVersion": 2, "manifests": [{"mediaType": OCI_MANIFEST, "digest": digest_of(manifest),
                                                "size": len(manifest)}]}
    (directory / "index.json").write_text(json.dumps(index))
    return digest_of(manifest)


class Registry:
    """A signed-in client of the distribution protocol, without a library in between."""

    def __init__(self, engine, **keys):
        self.engine = engine
        self.token = engine.client("ecr", **keys).get_authorization_token()["authorizationData"][0]["authorizationToken"]

    def send(self, method, path, body=None, host=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.engine.port, timeout=30)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        fields |= {"Authorization": f"Basic {self.token}", "Host": host or f"localhost:{self.engine.port}"}
        connection.request(method, path, body=body, headers=fields)
        response = connection.getresponse()
        response.content = response.read()
        connection.close()
        return response

    def push(self, repository, text, reference=None):
        blobs, manifest = image(text)
        for blob in blobs:
            done = self.send("POST", f"/v2/{repository}/blobs/uploads/?digest={digest_of(blob)}", blob)
            assert done.status == 201, done.content
        reference = reference or digest_of(manifest)
        done = self.send("PUT", f"/v2/{repository}/manifests/{reference}", manifest, Content_Type=OCI_MANIFEST)
        assert done.status == 201, done.content
        return digest_of(manifest)


def error(response):
    return response.status, json.loads(response.content)["errors"][0]["code"]


def code(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def run(*command, **environment):
    """Runs a container tool, which must be there: what these tests are about cannot be left out in silence."""
    assert shutil.which(command[0]), f"{command[0]} is not on this host: apt-get install {command[0]}"
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120,
                          env=os.environ | environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def credentials(ecr):
    data = ecr.get_authorization_token()["authorizationData"][0]
    return base64.b64decode(data["authorizationToken"]).decode()


def test_a_push_goes_to_the_name_on_aws_with_the_engine_as_its_proxy(engine, tmp_path):
    ecr = engine.client("ecr")
    ecr.create_repository(repositoryName="named")
    digest = layout(tmp_path / "in", "named")
    proxy = f"http://127.0.0.1:{engine.port}"
    copy = ["skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", credentials(ecr), f"oci:{tmp_path}/in"]
    run(*copy, f"docker://{AWS_HOST}/named:v1", HTTP_PROXY=proxy, HTTPS_PROXY=proxy, NO_PROXY="")
    # Docker's manifests are kept as Docker's.
    run(*copy, "--format", "v2s2", f"docker://localhost:{engine.port}/named:docker")
    found = {tag: it for it in ecr.describe_images(repositoryName="named")["imageDetails"] for tag in it["imageTags"]}
    assert found["v1"]["imageDigest"] == digest
    assert found["docker"]["imageManifestMediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    other = AWS_HOST.replace(REGION, "eu-west-1")
    registry = Registry(engine)
    assert error(registry.send("GET", "/v2/named/manifests/v1", host=other)) == (404, "NAME_UNKNOWN")
    assert registry.send("GET", "/v2/", host="registry.evil.example").status == 403
    assert registry.send("DELETE", "/v2/named/manifests/docker").status == 202
    assert [it["imageTag"] for it in ecr.list_images(repositoryName="named")["imageIds"]] == ["v1"]


def test_buildah_pulls_what_skopeo_pushed(engine, tmp_path):
    ecr = engine.client("ecr")
    ecr.create_repository(repositoryName="pulled")
    layout(tmp_path / "in", "for buildah")
    login, name = credentials(ecr), f"localhost:{engine.port}/pulled:v1"
    run("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", login, f"oci:{tmp_path}/in", f"docker://{name}")
    storage = ["buildah", "--storage-driver", "vfs", "--root", tmp_path / "root", "--runroot", tmp_path / "run"]
    run(*storage, "pull", "--tls-verify=false", "--creds", login, name)
    run(*storage, "push", "--tls-verify=false", "--creds", login, name, f"docker://localhost:{engine.port}/pulled:v2")
    tags = {it.get("imageTag") for it in ecr.list_images(repositoryName="pulled")["imageIds"]}
    assert tags == {"v1", "v2"}
    [pulled] = ecr.describe_images(repositoryName="pulled", imageIds=[{"imageTag": "v1"}])["imageDetails"]
    assert "lastRecordedPullTime" in pulled


def test_layers_are_uploaded_through_the_api(engine):
    ecr = engine.client("ecr")
    ecr.create_repository(repositoryName="parts")
    blobs, manifest = image("by the API")
    for blob in blobs:
        begun = ecr.initiate_layer_upload(repositoryName="parts")
        upload = {"repositoryName": "parts", "uploadId": begun["uploadId"]}
        half = len(blob) // 2
        first = {"partFirstByte": 0, "partLastByte": half - 1, "layerPartBlob": blob[:half]}
        ecr.upload_layer_part(**upload, **first)
        assert code(ecr.upload_layer_part, **upload, **first) == "InvalidLayerPartException"
        ecr.upload_layer_part(**upload, partFirstByte=half, partLastByte=len(blob) - 1, layerPartBlob=blob[half:])
        assert code(ecr.complete_layer_upload, **upload, layerDigests=[digest_of(b"x")]) == "InvalidLayerException"
        ecr.complete_layer_upload(**upload, layerDigests=[digest_of(blob)])
        assert code(ecr.complete_layer_upload, **upload, layerDigests=[digest_of(blob)]) == "UploadNotFoundException"
    ecr.put_image(repositoryName="parts", imageManifest=manifest.decode(), imageTag="v1")
    url = ecr.get_download_url_for_layer(repositoryName="parts", layerDigest=digest_of(blobs[1]))["downloadUrl"]
    got = subprocess.run(["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", url], capture_output=True)
    assert got.stdout == blobs[1], got.stderr


def test_layers_are_shared_and_referrers_found(engine):
    ecr = engine.client("ecr")
    for name in ("source", "copy"):
        ecr.create_repository(repositoryName=name)
    registry = Registry(engine)
    subject = registry.push("source", "shared", "v1")
    blobs, manifest = image("shared")
    mount = f"/v2/copy/blobs/uploads/?mount={digest_of(blobs[1])}&from=source"
    mounted = registry.send("POST", mount)
    assert (mounted.status, mounted.headers["Docker-Content-Digest"]) == (201, digest_of(blobs[1]))
    part = registry.send("GET", mounted.headers["Location"], Range="bytes=2-9")
    assert (part.status, part.content) == (206, blobs[1][2:10])
    ecr.put_account_setting(name="BLOB_MOUNTING", value="DISABLED")
    assert registry.send("POST", mount).status == 202, "an ordinary upload begins"
    signature = json.loads(manifest) | {"artifactType": "application/x-signature",
                                        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": len(manifest)}}
    body = json.dumps(signature).encode()
    done = registry.send("PUT", f"/v2/source/manifests/{digest_of(body)}", body, Content_Type=OCI_MANIFEST)
    assert (done.status, done.headers["OCI-Subject"]) == (201, subject)
    found = json.loads(registry.send("GET", f"/v2/source/referrers/{subject}").content)["manifests"]
    assert [entry["digest"] for entry in found] == [digest_of(body)]


def test_a_repository_lets_in_whom_its_policy_names(engine):
    ecr, iam, sts = (engine.client(service) for service in ("ecr", "iam", "sts"))
    ecr.create_repository(repositoryName="guarded")
    Registry(engine).push("guarded", "secret", "v1")
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName="puller", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": trust}))
    allow = {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
    iam.put_role_policy(RoleName="puller", PolicyName="sign-in",
                        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": allow}))
    session = sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/puller", RoleSessionName="pull")["Credentials"]
    keys = {"aws_access_key_id": session["AccessKeyId"], "aws_secret_access_key": session["SecretAccessKey"],
            "aws_session_token": session["SessionToken"]}
    role, others = Registry(engine, **keys), Registry(engine, aws_access_key_id="111111111111")
    foreign = engine.client("ecr", aws_access_key_id="111111111111")
    image_of = {"registryId": ACCOUNT, "repositoryName": "guarded", "imageIds": [{"imageTag": "v1"}]}

    def pull(client):
        return client.send("GET", "/v2/guarded/manifests/v1", host=AWS_HOST)

    assert error(pull(role)) == error(pull(others)) == (403, "DENIED")
    assert code(foreign.batch_get_image, **image_of) == "AccessDeniedException"
    policy = {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
              "Principal": {"AWS": [f"arn:aws:iam::{ACCOUNT}:role/puller", "111111111111"]}}
    ecr.set_repository_policy(repositoryName="guarded",
                              policyText=json.dumps({"Version": "2012-10-17", "Statement": [policy]}))
    assert pull(role).status == 200 and pull(others).status == 200
    assert len(foreign.batch_get_image(**image_of)["images"]) == 1
    assert code(foreign.batch_delete_image, **image_of) == "AccessDeniedException"
    put = role.send("PUT", "/v2/guarded/manifests/v2", image("secret")[1], host=AWS_HOST, Content_Type=OCI_MANIFEST)
    assert error(put) == (403, "DENIED")


def test_images_expire_and_leave_the_disk(hurried):
    """Two hours for a layer without an image, an hour between evaluations: seconds here."""
    ecr, blobs = hurried.client("ecr"), hurried.home / "bulk" / "blobs" / "sha256"
    ecr.create_repository(repositoryName="old")
    registry = Registry(hurried)
    first, last = registry.push("old", "first", "v1"), registry.push("old", "last", "v2")
    rule = {"rulePriority": 1, "description": "keep the newest", "action": {"type": "expire"},
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}}
    text = json.dumps({"rules": [rule]}, indent=2)
    ecr.start_lifecycle_policy_preview(repositoryName="old", lifecyclePolicyText=text)
    preview = ecr.get_lifecycle_policy_preview(repositoryName="old")
    assert (preview["status"], [it["imageDigest"] for it in preview["previewResults"]]) == ("COMPLETE", [first])
    ecr.put_lifecycle_policy(repositoryName="old", lifecyclePolicyText=text)

    def digests():
        return [it["imageDigest"] for it in ecr.list_images(repositoryName="old")["imageIds"]]

    def files(text):
        parts, manifest = image(text)
        return {digest_of(part).removeprefix("sha256:") for part in [*parts, manifest]}

    def on_disk():
        return {path.name for path in blobs.iterdir()}

    wait_for(lambda: digests() == [last], "the older image to expire")
    wait_for(lambda: not files("first") & on_disk(), "the blobs of the expired image to go", timeout=60)
    assert files("last") <= on_disk(), "the other image's blobs stay"
    ecr.delete_repository(repositoryName="old", force=True)
    wait_for(lambda: not on_disk(), "the disk to be free", timeout=60)


def test_a_dockerfile_is_built_and_pushed(engine, tmp_path):
    app = node_app(tmp_path / "shop")
    (app / "Dockerfile").write_text(
        "FROM node:24-slim AS build\nWORKDIR /app\nCOPY package*.json ./\nRUN npm ci && npm run build --if-present\n"
        "COPY . .\nFROM gcr.io/distroless/nodejs24-debian12:nonroot\nWORKDIR /app\nENV PORT=3000\n"
        "COPY --from=build /app .\nEXPOSE 3000\nCMD [\"server.js\"]\n")
    (app / ".dockerignore").write_text("pileus.toml\n")
    told = json.loads(engine.cli("image", "build", app, "--tag", "shop:v1", "--push", "--output", "json").stdout)
    assert (told["builder"], told["repository_created"], told["image_new"]) == ("built-in", True, True)
    [found] = engine.client("ecr").batch_get_image(repositoryName="shop", imageIds=[{"imageTag": "v1"}])["images"]
    config = json.loads(found["imageManifest"])["config"]["digest"]
    config = json.loads(Registry(engine).send("GET", f"/v2/shop/blobs/{config}").content)["config"]
    assert (config["User"], config["WorkingDir"], config["Cmd"]) == ("65532", "/app", ["server.js"])
    assert config["ExposedPorts"] == {"3000/tcp": {}} and "PORT=3000" in config["Env"]
    again = engine.cli("image", "push", "shop:v1", "--output", "json")
    assert json.loads(again.stdout)["image_new"] is False
    listed = json.loads(engine.cli("image", "list", "--output", "json").stdout)
    assert any(entry["name"] == "shop:v1" for entry in listed)


def test_what_the_built_in_builder_does_not_do_is_named_or_handed_over(engine, tmp_path):
    app = tmp_path / "plain"
    app.mkdir()
    (app / "message").write_text("hello")
    (app / "Dockerfile").write_text("FROM scratch\nCOPY message /message\nCMD [\"/message\"]\n")
    build = ["image", "build", app, "--push", "--output", "json", "--tag"]
    refused = engine.cli(*build, "plain", "--builder", "builtin", check=False)
    assert refused.returncode == 1 and "line 1: FROM" in refused.stderr and "buildah" in refused.stderr
    assert json.loads(engine.cli(*build, "plain:v1").stdout)["builder"] == "buildah"
    # And what is in ECR is a base for others, under the name that it has on AWS.
    (app / "Dockerfile").write_text(f"FROM {AWS_HOST}/plain:v1\nCOPY message /second\n")
    told = json.loads(engine.cli(*build, "plain:v2").stdout)
    [found] = engine.client("ecr").batch_get_image(repositoryName="plain", imageIds=[{"imageTag": "v2"}])["images"]
    assert found["imageId"]["imageDigest"] == told["digest"]
    assert len(json.loads(found["imageManifest"])["layers"]) == 2


CONFIGURATION = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region = "us-east-1"
  default_tags {
    tags = { project = "registry" }
  }
}

resource "aws_ecr_repository" "app" {
  name                 = "app"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true
  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = "AES256"
  }
}

resource "aws_ecr_lifecycle_policy" "app" {
  repository = aws_ecr_repository.app.name
  policy = jsonencode({ rules = [{
    rulePriority = 1
    description  = "Expire untagged images"
    selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
    action       = { type = "expire" }
  }] })
}

resource "aws_ecr_repository_policy" "app" {
  repository = aws_ecr_repository.app.name
  policy = jsonencode({ Version = "2012-10-17", Statement = [{
    Sid       = "pull"
    Effect    = "Allow"
    Principal = { AWS = "arn:aws:iam::111111111111:root" }
    Action    = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
  }] })
}

resource "aws_ecr_registry_scanning_configuration" "all" {
  scan_type = "BASIC"
  rule {
    scan_frequency = "SCAN_ON_PUSH"
    repository_filter {
      filter      = "prod*"
      filter_type = "WILDCARD"
    }
  }
}
"""


@pytest.mark.skipif(missing() is not None, reason=f"NO TERRAFORM HERE: {missing()}")
def test_terraform(engine, tmp_path):
    (tmp_path / "main.tf").write_text(CONFIGURATION)
    configuration = Terraform(tmp_path, engine)
    configuration.apply()
    configuration.assert_no_drift()
    ecr = engine.client("ecr")
    Registry(engine).push("app", "one", "v1")
    status = ecr.describe_image_scan_findings(repositoryName="app", imageId={"imageTag": "v1"})["imageScanStatus"]
    assert status["status"] == "FAILED" and "no vulnerability database" in status["description"]
    (tmp_path / "main.tf").write_text(CONFIGURATION.replace('"IMMUTABLE"', '"MUTABLE"').replace("= 14", "= 7"))
    configuration.apply()
    configuration.assert_no_drift()
    [repository] = ecr.describe_repositories(repositoryNames=["app"])["repositories"]
    assert repository["imageTagMutability"] == "MUTABLE"
    configuration.destroy()
    assert code(ecr.describe_repositories, repositoryNames=["app"]) == "RepositoryNotFoundException"
