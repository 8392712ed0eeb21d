//! The images that are in the cache, by their names.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use super::base::{Descriptor, Manifest};
use super::blobs::path_in;
use super::config::REF_NAME;
use super::{BuiltImage, ImageBuilder, ImageError, LayerDescriptor};

/// An image that was built here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// `name:tag`
    pub reference: String,
    /// Of the manifest.
    pub digest: String,
    /// Of all layers, in bytes.
    pub size: u64,
}

#[derive(Default, Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl ImageBuilder {
    /// Every image that was built, in order of names. One whose blobs are gone is none.
    pub fn catalog(&self) -> Vec<CatalogEntry> {
        let entry = |named: Named| {
            let reference = named.annotations.get(REF_NAME)?.clone();
            let image = self.read(&named.descriptor).ok()?;
            let size = image.layers.iter().map(|layer| layer.size).sum();
            Some(CatalogEntry { reference, digest: image.manifest_digest, size })
        };
        self.index().manifests.into_iter().filter_map(entry).collect()
    }

    /// The image that a name stands for.
    ///
    /// # Errors
    /// Its blobs cannot be read.
    pub fn find(&self, reference: &str) -> Result<Option<BuiltImage>, ImageError> {
        let named = |named: &Named| named.annotations.get(REF_NAME).is_some_and(|name| name == reference);
        let found = self.index().manifests.into_iter().find(named);
        found.map(|named| self.read(&named.descriptor)).transpose()
    }

    fn index(&self) -> Index {
        let bytes = fs::read(self.cache_dir.join("index.json"));
        bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn read(&self, descriptor: &Descriptor) -> Result<BuiltImage, ImageError> {
        let path = path_in(&self.cache_dir, &descriptor.digest);
        let bytes = fs::read(&path).map_err(ImageError::io("read", &path))?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| ImageError::input(&path, error.to_string(), "build the image again"))?;
        // What a layer is uncompressed matters to nobody who has only to move it.
        let layers = manifest.layers.into_iter().map(|layer| LayerDescriptor {
            media_type: layer.media_type,
            digest: layer.digest,
            size: layer.size,
            diff_id: String::new(),
        });
        Ok(BuiltImage {
            manifest_digest: descriptor.digest.clone(),
            config_digest: manifest.config.digest,
            layers: layers.collect(),
            layout_dir: self.cache_dir.clone(),
            node_version: None,
        })
    }
}
