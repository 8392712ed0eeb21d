//! The layers of images, unpacked once each into a directory named after their content.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::layer::{self, LayerError};
use super::manifest::{Digest, Image, Layer, Manifest};
use crate::error::{At, Error, Result};

/// Manifests and configurations are read whole.
const MAX_DOCUMENT: u64 = 4 << 20;

/// Prefix of a layer that is being unpacked.
const PARTIAL: &str = ".partial-";

pub(crate) struct ImageStore {
    blobs: PathBuf,
    layers: PathBuf,
    /// Layers that a thread is unpacking; the others wait for it.
    busy: Mutex<BTreeSet<String>>,
    done: Condvar,
    counter: AtomicU64,
}

impl ImageStore {
    /// Opens the store; what an earlier process had half unpacked is removed. The layers' directory exists.
    pub(crate) fn open(blobs: PathBuf, layers: PathBuf) -> Result<Self> {
        for entry in fs::read_dir(&layers).at("read", &layers)? {
            let entry = entry.at("read", &layers)?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                fs::remove_dir_all(entry.path()).at("remove", entry.path())?;
            }
        }
        let (busy, done, counter) = (Mutex::default(), Condvar::new(), AtomicU64::new(0));
        Ok(Self { blobs, layers, busy, done, counter })
    }

    /// Reads and checks the manifest and the configuration; the layers are not touched.
    pub(crate) fn load(&self, manifest_digest: &str) -> Result<Image> {
        let digest = Digest::parse(manifest_digest)?;
        let manifest = Manifest::parse(&digest, &self.document(&digest)?)?;
        let config = manifest.config.as_ref().ok_or_else(|| Error::Blob {
            digest: manifest_digest.to_owned(),
            why: "the manifest names no configuration".to_owned(),
        })?;
        let config_digest = Digest::parse(&config.digest)?;
        Image::new(&manifest, &config_digest, &self.document(&config_digest)?)
    }

    /// Unpacks those layers of the image that are not there yet.
    pub(crate) fn prepare(&self, image: &Image) -> Result<()> {
        image.layers.iter().try_for_each(|layer| self.prepare_layer(layer))
    }

    /// Removes the layers that none of these images has and that `in_use` does not name. Returns how many.
    pub(crate) fn remove_unused(&self, images: &[Image], in_use: &BTreeSet<String>) -> Result<usize> {
        let wanted: BTreeSet<String> =
            images.iter().flat_map(|image| &image.layers).map(Layer::dir_name).collect();
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = 0;
        for entry in fs::read_dir(&self.layers).at("read", &self.layers)? {
            let entry = entry.at("read", &self.layers)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PARTIAL)
                || wanted.contains(&name)
                || in_use.contains(&name)
                || busy.contains(&name)
            {
                continue;
            }
            // Renamed first: a layer is never there by half.
            let doomed = self.partial_dir();
            fs::rename(entry.path(), &doomed).at("rename", entry.path())?;
            fs::remove_dir_all(&doomed).at("remove", &doomed)?;
            removed += 1;
        }
        Ok(removed)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join("sha256").join(digest.hex())
    }

    fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|error| Error::Blob {
            digest: digest.as_str().to_owned(),
            why: match error.kind() {
                io::ErrorKind::NotFound => "it is not in the blob store; push the image again".to_owned(),
                _ => format!("cannot open {}: {error}", path.display()),
            },
        })
    }

    fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let blob = self.open_blob(digest)?;
        blob.take(MAX_DOCUMENT + 1).read_to_end(&mut text).at("read", self.blob_path(digest))?;
        let why = if text.len() as u64 > MAX_DOCUMENT {
            format!("it is larger than {MAX_DOCUMENT} bytes")
        } else if Digest::from_hash(&Sha256::digest(&text)) != *digest {
            DAMAGED.to_owned()
        } else {
            return Ok(text);
        };
        Err(Error::Blob { digest: digest.as_str().to_owned(), why })
    }

    fn prepare_layer(&self, layer: &Layer) -> Result<()> {
        let name = layer.dir_name();
        let target = self.layers.join(&name);
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while busy.contains(&name) {
            busy = self.done.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        if target.exists() {
            return Ok(());
        }
        busy.insert(name.clone());
        drop(busy);
        let result = self.unpack(layer, &target);
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        self.done.notify_all();
        result
    }

    fn partial_dir(&self) -> PathBuf {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        self.layers.join(format!("{PARTIAL}{}-{number}", std::process::id()))
    }

    /// Unpacks beside the target and renames, so that a layer's directory is always whole.
    fn unpack(&self, layer: &Layer, target: &Path) -> Result<()> {
        let partial = self.partial_dir();
        fs::create_dir(&partial).at("create", &partial)?;
        let result = self.unpack_into(layer, &partial).and_then(|()| match fs::rename(&partial, target) {
            // Another process was first: its directory is as good.
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty) => {
                fs::remove_dir_all(&partial).at("remove", &partial)
            }
            other => other.at("create", target),
        });
        if result.is_err()
            && let Err(error) = fs::remove_dir_all(&partial)
        {
            tracing::warn!(path = %partial.display(), %error, "cannot remove a half unpacked layer");
        }
        result
    }

    fn unpack_into(&self, layer: &Layer, directory: &Path) -> Result<()> {
        let fail = |source| Error::Layer { digest: layer.digest.as_str().to_owned(), source };
        let mut blob = BufReader::with_capacity(1 << 16, Hashing::new(self.open_blob(&layer.digest)?));
        let mut archive = Hashing::new(decompress(&mut blob).map_err(|error| fail(error.into()))?);
        layer::unpack(&mut archive, directory).map_err(fail)?;
        // What follows the archive's end belongs to both digests.
        let drained = io::copy(&mut archive, &mut io::sink());
        let diff_id = archive.digest();
        drop(archive);
        let drained = drained.and_then(|_| io::copy(&mut blob, &mut io::sink()));
        drained.map_err(|error| fail(error.into()))?;
        if blob.into_inner().digest() != layer.digest {
            return Err(fail(LayerError::Damaged(DAMAGED)));
        }
        if diff_id != layer.diff_id {
            return Err(fail(LayerError::Damaged(
                "its content is not what the image's configuration promises",
            )));
        }
        Ok(())
    }
}

const DAMAGED: &str = "its content does not have this digest: the blob is damaged; push the image again";

/// Chooses the decompressor by the first bytes.
fn decompress<'a>(blob: &'a mut BufReader<Hashing<File>>) -> io::Result<Box<dyn Read + 'a>> {
    let head = io::BufRead::fill_buf(blob)?;
    Ok(if head.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(blob))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(blob)?)
    } else {
        Box::new(blob)
    })
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    fn digest(&self) -> Digest {
        Digest::from_hash(&self.hash.clone().finalize())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
