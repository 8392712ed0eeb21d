"""ECR as a registry: by skopeo, by its API, and by the OCI distribution protocol byte for byte."""

import base64
import hashlib
import http.client
import json
import subprocess

import botocore.exceptions
import pytest

from engine import Engine, node_app


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """An engine with an image `web:v1`."""
    app = node_app(tmp_path_factory.mktemp("apps") / "web")
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.cli("start")
        engine.client("ecr").create_repository(repositoryName="web")
        engine.cli("image", "build", app, "--tag", "web:v1", "--push")
        yield engine


def token(engine):
    data = engine.client("ecr").get_authorization_token()["authorizationData"][0]
    return base64.b64decode(data["authorizationToken"]).decode()


def skopeo(engine, *arguments, check=True, creds=None):
    """Runs skopeo on a host whose resolver knows neither AWS's name of the registry nor names below `localhost`: a few
    lines of registries.conf lead both to the engine."""
    registries = engine.home / "registries.conf"
    names = "000000000000.dkr.ecr.us-east-1.amazonaws.com", f"000000000000.dkr.ecr.us-east-1.localhost:{engine.port}"
    registries.write_text("".join(
        f'[[registry]]\nprefix = "{name}"\nlocation = "localhost:{engine.port}"\ninsecure = true\n' for name in names))
    auths = engine.home / "auth.json"
    auth = base64.b64encode((creds or token(engine)).encode()).decode()
    auths.write_text(json.dumps({"auths": {f"localhost:{engine.port}": {"auth": auth}}}))
    command = ["skopeo", "--registries-conf", str(registries), *map(str, arguments)]
    done = subprocess.run(command, env=engine.environment | {"REGISTRY_AUTH_FILE": str(auths)}, capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


def uri(engine, name):
    return engine.client("ecr").describe_repositories(repositoryNames=[name])["repositories"][0]["repositoryUri"]


def test_skopeo_pulls_and_pushes(pushed, tmp_path):
    ecr = pushed.client("ecr")
    ecr.create_repository(repositoryName="copies/web")
    skopeo(pushed, "copy", f"docker://{uri(pushed, 'web')}:v1",
           f"dir:{tmp_path / 'image'}")
    # Pushes are not led anywhere by registries.conf.
    skopeo(pushed, "copy", "--dest-tls-verify=false", f"dir:{tmp_path / 'image'}",
           f"docker://localhost:{pushed.port}/copies/web:v2")
    [one] = ecr.describe_images(repositoryName="web")["imageDetails"]
    [two] = ecr.describe_images(repositoryName="copies/web")["imageDetails"]
    assert one["imageDigest"] == two["imageDigest"] and two["imageTags"] == ["v2"]
    seen = json.loads(skopeo(pushed, "inspect", "--tls-verify=false",
                             f"docker://localhost:{pushed.port}/copies/web:v2").stdout)
    assert seen["Digest"] == one["imageDigest"] and seen["RepoTags"] == ["v2"]


def test_skopeo_by_the_name_that_aws_gives(pushed):
    done = skopeo(pushed, "inspect", "--raw", "docker://000000000000.dkr.ecr.us-east-1.amazonaws.com/web:v1")
    [image] = pushed.client("ecr").describe_images(repositoryName="web")["imageDetails"]
    assert digest(done.stdout.encode()) == image["imageDigest"]


def test_nobody_comes_in_without_a_token(pushed):
    for creds in ("AWS:wrong", "somebody:else"):
        done = skopeo(pushed, "inspect", f"docker://{uri(pushed, 'web')}:v1", check=False, creds=creds)
        assert done.returncode != 0 and ("unauthorized" in done.stderr or "authentication" in done.stderr), done.stderr


class Registry:
    """The distribution protocol, spoken by hand."""

    def __init__(self, engine):
        self.connection = http.client.HTTPConnection("localhost", engine.port, timeout=30)
        self.authorization = {"Authorization": "Basic " + base64.b64encode(token(engine).encode()).decode()}

    def __call__(self, method, path, body=None, **headers):
        self.connection.request(method, path, body, self.authorization | {k.replace("_", "-"): v for k, v in headers.items()})
        response = self.connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def test_uploads_in_chunks_go_on_where_they_were_cut(pushed):
    pushed.client("ecr").create_repository(repositoryName="chunks")
    registry, content = Registry(pushed), b"0123456789" * 1000
    status, headers, _ = registry("POST", "/v2/chunks/blobs/uploads/")
    assert status == 202
    place = headers["location"].partition(f":{pushed.port}")[2] or headers["location"]
    status, headers, _ = registry("PATCH", place, content[:6000], Content_Range="0-5999", Content_Type="application/octet-stream")
    assert (status, headers["range"]) == (202, "0-5999")
    # A chunk that does not follow is refused, and the upload stays as it was.
    assert registry("PATCH", place, b"x", Content_Range="7000-7000")[0] == 416
    pushed.kill()
    pushed.cli("start")
    registry = Registry(pushed)
    status, headers, _ = registry("GET", place)
    assert (status, headers["range"]) == (204, "0-5999"), "what was acknowledged is there"
    assert registry("PATCH", place, content[6000:], Content_Range="6000-9999")[0] == 202
    wrong = digest(b"something else")
    assert registry("PUT", f"{place}?digest={wrong}")[0] == 400
    assert registry("PUT", f"{place}?digest={digest(content)}")[0] == 201
    status, headers, body = registry("GET", f"/v2/chunks/blobs/{digest(content)}")
    assert (status, body) == (200, content)


def test_an_index_holds_an_image_for_each_platform(pushed):
    pushed.client("ecr").create_repository(repositoryName="many")
    registry, children = Registry(pushed), []
    for architecture in ("amd64", "arm64"):
        config = json.dumps({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
        assert registry("POST", f"/v2/many/blobs/uploads/?digest={digest(config)}", config)[0] == 201
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": [], "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "size": len(config), "digest": digest(config)}}).encode()
        assert registry("PUT", f"/v2/many/manifests/{digest(manifest)}", manifest, Content_Type=kind)[0] == 201
        children.append({"mediaType": kind, "size": len(manifest), "digest": digest(manifest),
                         "platform": {"architecture": architecture, "os": "linux"}})
    kind = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": children}).encode()
    assert registry("PUT", "/v2/many/manifests/v1", index, Content_Type=kind)[0] == 201
    raw = skopeo(pushed, "inspect", "--raw", f"docker://{uri(pushed, 'many')}:v1")
    assert [child["platform"]["architecture"] for child in json.loads(raw.stdout)["manifests"]] == ["amd64", "arm64"]


def test_immutable_tags_stay_what_they_are(pushed):
    ecr = pushed.client("ecr")
    ecr.create_repository(repositoryName="fixed", imageTagMutability="IMMUTABLE")
    [image] = ecr.batch_get_image(repositoryName="many", imageIds=[{"imageTag": "v1"}])["images"]
    registry = Registry(pushed)
    config = b"{}"
    registry("POST", f"/v2/fixed/blobs/uploads/?digest={digest(config)}", config)
    kind = "application/vnd.oci.image.manifest.v1+json"

    def manifest(note):
        return json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": [], "annotations": {"note": note}, "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": digest(config)}})
    ecr.put_image(repositoryName="fixed", imageManifest=manifest("one"), imageTag="v1")
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        ecr.put_image(repositoryName="fixed", imageManifest=manifest("two"), imageTag="v1")
    assert refused.value.response["Error"]["Code"] == "ImageTagAlreadyExistsException"
    assert image["imageId"]["imageTag"] == "v1"
