//! A small S3 for this crate's unit tests: records without bytes.

use pileus_core::{ApiError, IdGen, Tags, Timestamp};
use pileus_state::{State, Tx};

use crate::bucket::{self, Creation, Versioning};
use crate::object::{self, Content, Deleted, Description, Precondition, Version};

pub(crate) struct S3 {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    ids: IdGen,
}

/// What is said of an object when nothing is.
pub(crate) fn described() -> Description {
    Description { storage_class: "STANDARD".into(), ..Description::default() }
}

pub(crate) fn bucket(s3: &mut S3, name: &str, versioning: Versioning) {
    let creation = Creation {
        name,
        account: "000000000000",
        endpoint_region: "us-east-1",
        location_constraint: None,
        ownership: None,
        tags: &Tags::new(),
    };
    s3.write(|tx, now, _| bucket::create(tx, now, &creation)).unwrap();
    s3.version(name, versioning);
}

impl S3 {
    pub(crate) fn new() -> Self {
        Self { state: State::default(), now: Timestamp::from_secs(1_795_377_600), ids: IdGen::seeded(1) }
    }

    pub(crate) fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Tx, Timestamp, &mut IdGen) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut tx = Tx::new(&self.state, crate::scope());
        let value = work(&mut tx, self.now, &mut self.ids)?;
        let changes = tx.into_changes();
        self.state = self.state.with(&changes);
        Ok(value)
    }

    pub(crate) fn version(&mut self, name: &str, versioning: Versioning) {
        self.write(|tx, _, _| bucket::configure(tx, name, |bucket| bucket.versioning = versioning)).unwrap();
    }

    pub(crate) fn try_put(
        &mut self,
        name: &str,
        key: &str,
        etag: &str,
        precondition: &Precondition,
    ) -> Result<Version, ApiError> {
        let content = Content { etag: etag.to_owned(), described: described(), ..Content::default() };
        self.write(|tx, now, ids| {
            let bucket = bucket::get(tx, name)?;
            object::put(tx, now, ids, &bucket, key, content, precondition)
        })
    }

    pub(crate) fn put(&mut self, name: &str, key: &str, etag: &str) -> Version {
        self.try_put(name, key, etag, &Precondition::None).unwrap()
    }

    pub(crate) fn delete(&mut self, name: &str, key: &str, id: Option<&str>) -> Deleted {
        self.write(|tx, now, ids| {
            let bucket = bucket::get(tx, name)?;
            Ok(object::delete(tx, now, ids, &bucket, key, id))
        })
        .unwrap()
    }
}
