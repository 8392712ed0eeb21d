//! Images on a base that the user names: from a layout on this host and from a registry on
//! loopback that serves the same.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use pileus_delivery::image::{Base, BuildRequest, BuiltImage, ImageBuilder, ImageError};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const ARCH: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// A base image as an OCI layout. Small, and with a `node` that is none.
struct Layout {
    dir: tempfile::TempDir,
    manifest: String,
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn put(dir: &Path, bytes: &[u8]) -> String {
    let digest = digest(bytes);
    fs::write(dir.join("blobs/sha256").join(&digest["sha256:".len()..]), bytes).unwrap();
    digest
}

fn layout(file: &str, arch: &str) -> Layout {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o755);
    tar.append_data(&mut header, file, b"x".as_slice()).unwrap();
    let tar = tar.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let layer = gzip.finish().unwrap();
    let config = json!({
        "os": "linux", "architecture": arch,
        "config": {
            "Env": ["PATH=/usr/bin:/opt/node/bin", "NODE_VERSION=24.1.2"],
            "User": "root", "Entrypoint": ["docker-entrypoint.sh"],
        },
        "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
    });
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": put(dir.path(), &config), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "digest": put(dir.path(), &layer), "size": layer.len(),
        }],
    });
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let manifest = put(dir.path(), &bytes);
    let entry = |digest: &str, size: usize, arch: &str| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": arch },
        })
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry(&digest(b"other"), 5, "s390x"), entry(&manifest, bytes.len(), ARCH)],
    });
    fs::write(dir.path().join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    Layout { dir, manifest }
}

/// Serves the layout as the image `team/base:1` by the distribution API, until the process ends.
fn serve(dir: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(&dir, stream.unwrap());
        }
    });
    port
}

fn answer(dir: &Path, mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    let request = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let blob = |digest: &str| fs::read(dir.join("blobs/sha256").join(digest)).ok();
    let (media_type, body) = match path.strip_prefix("/v2/team/base/") {
        Some("manifests/1") => {
            ("application/vnd.oci.image.index.v1+json", fs::read(dir.join("index.json")).ok())
        }
        Some(rest) => match rest.split_once("/sha256:") {
            Some(("manifests", digest)) => ("application/vnd.oci.image.manifest.v1+json", blob(digest)),
            Some((_, digest)) => ("application/octet-stream", blob(digest)),
            None => ("application/json", None),
        },
        None => ("application/json", (path == "/v2/").then(|| b"{}".to_vec())),
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_else(|| br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#.to_vec());
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    stream.write_all(&body).unwrap();
}

fn build(cache: &Path, base: &str) -> Result<BuiltImage, ImageError> {
    let app = tempfile::tempdir().unwrap();
    fs::write(app.path().join("package.json"), r#"{"scripts":{"start":"node app.js"}}"#).unwrap();
    fs::write(app.path().join("app.js"), "").unwrap();
    let mut request = BuildRequest::new(app.path(), "app");
    request.base = Base::Image(base.to_owned());
    ImageBuilder::new(cache).unwrap().build(&request, &mut |_| {})
}

fn error_of(base: &str) -> String {
    let cache = tempfile::tempdir().unwrap();
    build(cache.path(), base).unwrap_err().to_string()
}

#[test]
fn the_app_lies_on_the_base_and_starts_with_its_node() {
    let (base, cache) = (layout("opt/node/bin/node", ARCH), tempfile::tempdir().unwrap());
    let image = build(cache.path(), &format!("oci:{}", base.dir.path().display())).unwrap();
    assert_eq!(image.layers.len(), 2);
    assert_eq!(image.node_version.as_deref(), Some("24.1.2"));
    assert!(image.layers.iter().all(|layer| image.blob_path(&layer.digest).exists()));
    let config: Value =
        serde_json::from_slice(&fs::read(image.blob_path(&image.config_digest)).unwrap()).unwrap();
    let run = &config["config"];
    assert_eq!(run["Entrypoint"], json!(["/opt/node/bin/node"]));
    assert_eq!(run["Cmd"], json!(["app.js"]));
    assert_eq!(run["User"], "1000:1000", "not root");
    let env = json!(["PATH=/usr/bin:/opt/node/bin", "NODE_VERSION=24.1.2", "NODE_ENV=production"]);
    assert_eq!(run["Env"], env);
}

#[test]
fn a_registry_gives_the_same_image_and_is_asked_once() {
    let base = layout("opt/node/bin/node", ARCH);
    let port = serve(base.dir.path().to_owned());
    let cache = tempfile::tempdir().unwrap();
    let by_layout = build(cache.path(), &format!("oci:{}", base.dir.path().display())).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let name = format!("127.0.0.1:{port}/team/base:1");
    let by_registry = build(cache.path(), &name).unwrap();
    assert_eq!(by_registry.manifest_digest, by_layout.manifest_digest);
    // Nothing is left to serve, and nothing is asked for.
    drop(base);
    assert_eq!(build(cache.path(), &name).unwrap(), by_registry);
}

#[test]
fn what_cannot_be_a_base_is_refused_with_the_reason() {
    let without_node = layout("bin/sh", ARCH);
    let error = error_of(&format!("oci:{}", without_node.dir.path().display()));
    assert!(error.contains("it has no node in any directory named bin"), "{error}");

    let foreign = layout("bin/node", "s390x");
    let error = error_of(&format!("oci:{}", foreign.dir.path().display()));
    assert!(error.contains(&format!("it is for linux/s390x, not linux/{ARCH}")), "{error}");

    let error = error_of("oci:/nonexistent");
    assert!(error.contains("/nonexistent/index.json: No such file"), "{error}");
    let error = error_of("Not A Name");
    assert!(error.contains("images are named as"), "{error}");
}

#[test]
fn a_registry_without_the_image_or_with_a_changed_blob_is_refused() {
    let base = layout("bin/node", ARCH);
    let port = serve(base.dir.path().to_owned());
    let error = error_of(&format!("127.0.0.1:{port}/team/other:1"));
    assert!(error.contains("cannot be used") && error.contains("is the name right"), "{error}");

    let manifest: Value = serde_json::from_slice(
        &fs::read(base.dir.path().join("blobs/sha256").join(&base.manifest["sha256:".len()..])).unwrap(),
    )
    .unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let path = base.dir.path().join("blobs/sha256").join(&layer["sha256:".len()..]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 1;
    fs::write(path, bytes).unwrap();
    for name in [format!("127.0.0.1:{port}/team/base:1"), format!("oci:{}", base.dir.path().display())] {
        let cache = tempfile::tempdir().unwrap();
        build(cache.path(), &name).unwrap_err();
        let files = fs::read_dir(cache.path().join("records")).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["lock"], "nothing is remembered");
    }
}
