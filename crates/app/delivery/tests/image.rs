//! The built-in builder on the real example app, with the real registries (npm, Debian): needs the
//! network, `npm`, `apt-get`, and root for `chroot`.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pileus_delivery::image::{BuildRequest, BuiltImage, ImageBuilder, Progress, Stage};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A copy of the example at another path, without what a developer's checkout has besides.
fn copy_of_example() -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples/mashroom");
    let to = tempfile::tempdir().unwrap();
    copy_dir(&from, to.path());
    to
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), target).unwrap();
        } else if entry.file_name() != "node_modules" {
            fs::create_dir(&target).unwrap();
            copy_dir(&entry.path(), &target);
        }
    }
}

/// Builds, and tells which stages came from the cache.
fn build(cache: &Path, context: &Path) -> (BuiltImage, BTreeMap<&'static str, bool>) {
    let mut cached_stages = BTreeMap::new();
    let request = BuildRequest::new(context, "mashroom");
    let image = ImageBuilder::new(cache).unwrap().build(&request, &mut |progress| {
        if let Progress::Finished { stage, cached, .. } = progress {
            cached_stages.insert(stage.name(), cached);
        }
    });
    (image.unwrap_or_else(|error| panic!("{error}")), cached_stages)
}

fn json(image: &BuiltImage, digest: &str) -> Value {
    serde_json::from_slice(&fs::read(image.blob_path(digest)).unwrap()).unwrap()
}

fn assert_layout_is_sound(image: &BuiltImage) {
    let index: Value =
        serde_json::from_slice(&fs::read(image.layout_dir.join("index.json")).unwrap()).unwrap();
    let entry = &index["manifests"][0];
    assert_eq!(entry["digest"], image.manifest_digest);
    assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "mashroom:latest");
    let manifest = json(image, &image.manifest_digest);
    assert_eq!(manifest["config"]["digest"], image.config_digest);
    for blob in fs::read_dir(image.layout_dir.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let digest = hex::encode(Sha256::digest(fs::read(&path).unwrap()));
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), digest);
    }
    let config = json(image, &image.config_digest);
    for (at, layer) in image.layers.iter().enumerate() {
        assert_eq!(manifest["layers"][at]["digest"], layer.digest);
        assert_eq!(
            manifest["layers"][at]["size"],
            fs::metadata(image.blob_path(&layer.digest)).unwrap().len()
        );
        assert_eq!(config["rootfs"]["diff_ids"][at], layer.diff_id);
        let mut tar = Sha256::new();
        std::io::copy(&mut uncompressed(image, &layer.digest), &mut HashSink(&mut tar)).unwrap();
        assert_eq!(layer.diff_id, format!("sha256:{}", hex::encode(tar.finalize())));
    }
    assert_eq!(config["config"]["User"], "1000:1000");
    assert_eq!(config["config"]["WorkingDir"], "/app");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/local/bin/node"]));
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["src/server.js"]));
    assert_eq!(config["config"]["ExposedPorts"], serde_json::json!({"3000/tcp": {}}));
}

struct HashSink<'a>(&'a mut Sha256);

impl std::io::Write for HashSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn uncompressed(image: &BuiltImage, digest: &str) -> impl std::io::Read {
    flate2::read::GzDecoder::new(File::open(image.blob_path(digest)).unwrap())
}

fn unpack(image: &BuiltImage) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for layer in &image.layers {
        let mut archive = tar::Archive::new(uncompressed(image, &layer.digest));
        archive.set_preserve_permissions(true);
        archive.set_preserve_ownerships(true);
        archive.unpack(root.path()).unwrap();
    }
    // As a runtime would make the root directory of a container.
    fs::set_permissions(root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    root
}

/// `node` in the unpacked image, as the image's user and with its working directory.
fn node_in(root: &Path) -> Command {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root for chroot");
    let mut node = Command::new("/usr/sbin/chroot");
    node.args(["--userspec=1000:1000", root.to_str().unwrap(), "/usr/local/bin/node"]);
    node.env_clear().env("PORT", "0").env("TZ", "Europe/Berlin");
    node
}

fn stdout_of(mut command: Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn assert_runs(image: &BuiltImage) {
    let root = unpack(image);
    let mut version = node_in(root.path());
    version.arg("--version");
    assert_eq!(stdout_of(version).trim(), format!("v{}", image.node_version.as_deref().unwrap()));

    let mut certificates = node_in(root.path());
    certificates.args(["--use-openssl-ca", "-e"]).arg(
        "const {X509Certificate} = require('crypto'); \
         const pem = require('fs').readFileSync('/etc/ssl/certs/ca-certificates.crt', 'utf8'); \
         const all = pem.match(/-----BEGIN[^]*?END CERTIFICATE-----/g); all.forEach((c) => new X509Certificate(c)); \
         console.log(all.length > 100, process.getuid(), new Date(1750000000000).getHours())",
    );
    assert_eq!(stdout_of(certificates).trim(), "true 1000 17");

    let mut server = node_in(root.path());
    server.arg("/app/src/server.js").stdout(Stdio::piped());
    let mut server = server.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["msg"], "listening", "{line}");
}

fn set_line(path: PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn the_example_becomes_an_image_that_runs_and_is_the_same_everywhere() {
    let (context, cache) = (copy_of_example(), tempfile::tempdir().unwrap());
    let (image, cached) = build(cache.path(), context.path());
    assert!(cached.values().all(|cached| !cached), "{cached:?}");
    assert_eq!(image.layers.len(), 3);
    assert_layout_is_sound(&image);
    assert_runs(&image);

    let (again, cached) = build(cache.path(), context.path());
    assert_eq!(again, image);
    assert!(cached.values().all(|cached| *cached), "{cached:?}");

    let (other_context, other_cache) = (copy_of_example(), tempfile::tempdir().unwrap());
    let (other, _) = build(other_cache.path(), other_context.path());
    assert_eq!(other.manifest_digest, image.manifest_digest, "same input, same digest");

    set_line(context.path().join("src/page.js"), "This copy of the app served you.", "Hello.");
    let (changed, cached) = build(cache.path(), context.path());
    assert_eq!(changed.layers[..2], image.layers[..2]);
    assert_ne!(changed.layers[2], image.layers[2]);
    assert!(cached[Stage::Runtime.name()] && cached[Stage::Dependencies.name()]);
    assert!(!cached[Stage::App.name()]);
}
