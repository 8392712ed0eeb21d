//! The smallest image there can be: one static program. Built here, pushed to ECR by its layer API.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use pileus_aws::ecr::{
    CompleteLayerUploadRequest, CreateRepositoryRequest, InitiateLayerUploadRequest, PutImageRequest,
    UploadLayerPartRequest, ops as ecr,
};
use pileus_delivery::client::Client;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Prints the nanoseconds since the epoch, first of all.
const SOURCE: &str = r#"
#include <stdio.h>
#include <time.h>
int main(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("%lld%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    return 0;
}
"#;
/// Where the program is in the image.
pub(super) const ENTRY_POINT: &str = "/bench";

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Compiles the program.
pub(super) fn program(folder: &Path) -> anyhow::Result<PathBuf> {
    let (source, program) = (folder.join("bench.c"), folder.join("bench"));
    std::fs::write(&source, SOURCE)?;
    let mut compiler = Command::new("cc");
    let status =
        compiler.args(["-O2", "-static", "-o"]).arg(&program).arg(&source).status().context("starting cc")?;
    ensure!(status.success(), "cc failed ({status})");
    Ok(program)
}

/// Milliseconds since the epoch, from what the program prints.
pub(super) fn parse_time(line: &str) -> anyhow::Result<f64> {
    let nanoseconds: u64 = line.trim().parse().with_context(|| format!("the program printed '{line}'"))?;
    Ok(nanoseconds as f64 / 1e6)
}

/// Makes the repository and puts the image there; its URI.
pub(super) async fn push(client: &Client, repository: &str, program: &Path) -> anyhow::Result<String> {
    let create = CreateRepositoryRequest { repository_name: repository.into(), ..Default::default() };
    let created = client.call::<ecr::CreateRepository>(create).await?.repository;
    let uri = created.and_then(|created| created.repository_uri).context("repositoryUri")?;
    let tar = layer(program)?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut gzip, &tar)?;
    let layer = gzip.finish()?;
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Entrypoint": [ENTRY_POINT], "User": "65534:65534" },
        "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
    });
    let config = config.to_string().into_bytes();
    upload(client, repository, &layer).await?;
    upload(client, repository, &config).await?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": { "mediaType": CONFIG_TYPE, "digest": digest(&config), "size": config.len() },
        "layers": [{ "mediaType": LAYER_TYPE, "digest": digest(&layer), "size": layer.len() }],
    });
    let image = PutImageRequest {
        repository_name: repository.into(),
        image_manifest: manifest.to_string(),
        image_manifest_media_type: Some(MANIFEST_TYPE.into()),
        image_tag: Some("latest".into()),
        ..Default::default()
    };
    client.call::<ecr::PutImage>(image).await?;
    Ok(format!("{uri}:latest"))
}

fn layer(program: &Path) -> anyhow::Result<Vec<u8>> {
    let content = std::fs::read(program)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, ENTRY_POINT.trim_start_matches('/'), content.as_slice())?;
    Ok(archive.into_inner()?)
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_InitiateLayerUpload.html>
async fn upload(client: &Client, repository: &str, blob: &[u8]) -> anyhow::Result<()> {
    let begin = InitiateLayerUploadRequest { repository_name: repository.into(), ..Default::default() };
    let upload_id = client.call::<ecr::InitiateLayerUpload>(begin).await?.upload_id.context("uploadId")?;
    let part = UploadLayerPartRequest {
        repository_name: repository.into(),
        upload_id: upload_id.clone(),
        part_first_byte: 0,
        part_last_byte: i64::try_from(blob.len())? - 1,
        layer_part_blob: blob.to_vec(),
        ..Default::default()
    };
    client.call::<ecr::UploadLayerPart>(part).await?;
    let complete = CompleteLayerUploadRequest {
        repository_name: repository.into(),
        upload_id,
        layer_digests: vec![digest(blob)],
        ..Default::default()
    };
    client.call::<ecr::CompleteLayerUpload>(complete).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_tells_the_time_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let program = program(folder.path()).unwrap();
        let output = Command::new(program).output().unwrap();
        let printed = parse_time(&String::from_utf8(output.stdout).unwrap()).unwrap();
        let now = super::super::since_epoch_ms(std::time::SystemTime::now()).unwrap();
        assert!(printed > 1.7e12 && printed <= now, "{printed} {now}");
        assert!(parse_time("soon").is_err());
    }
}
