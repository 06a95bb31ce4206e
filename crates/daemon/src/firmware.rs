//! Firmware out of the store, for this node's devices.

use std::io::Read;
use std::sync::Arc;

use async_trait::async_trait;
use evenkeel_firmware::{Images, ImagesError, PackedImage};
use evenkeel_model::{DeviceModel, Digest, FirmwareSummary};
use evenkeel_package_store::{ImageError, Policy, Store, StoreError};
use evenkeel_record::View;
use evenkeel_rest::PackagePolicy;
use evenkeel_seam::watch;

use crate::error::chain;

/// Opens images, held against what this node trusts then.
pub(crate) struct StoreImages {
    pub(crate) policy: PackagePolicy,
    pub(crate) store: Store,
    pub(crate) views: watch::Receiver<Arc<View>>,
}

#[async_trait]
impl Images for StoreImages {
    async fn summary(&self, package: Digest) -> Result<FirmwareSummary, ImagesError> {
        let stored = self.store.get_firmware(package);
        let gone = || ImagesError::Gone(format!("firmware {package} is not here"));
        Ok(stored.ok_or_else(gone)?.summary)
    }

    async fn image(
        &self,
        package: Digest,
        model: Option<&DeviceModel>,
    ) -> Result<PackedImage, ImagesError> {
        let (store, model) = (self.store.clone(), model.cloned());
        let policy = self.policy.at(&self.views.borrow());
        let read =
            tokio::task::spawn_blocking(move || read(&store, package, model.as_ref(), &policy));
        match read.await {
            Ok(image) => image,
            Err(error) => Err(ImagesError::Unreadable(error.to_string())),
        }
    }
}

fn read(
    store: &Store,
    package: Digest,
    model: Option<&DeviceModel>,
    policy: &Policy,
) -> Result<PackedImage, ImagesError> {
    let opened = store.open_image(package, model, policy);
    let mut opened = opened.map_err(|error| sort(&error))?;
    let mut bytes = Vec::new();
    let read = opened.file.read_to_end(&mut bytes);
    let unreadable = |error| format!("image {}: {error}", opened.image.file);
    read.map_err(|error| ImagesError::Unreadable(unreadable(error)))?;
    Ok(PackedImage {
        file: opened.image.file,
        revision: opened.image.revision,
        digest: opened.image.sha256,
        bytes: Arc::new(bytes),
    })
}

fn sort(error: &ImageError) -> ImagesError {
    let text = chain(error);
    match error {
        ImageError::NoImage { .. } | ImageError::Refused(_) => ImagesError::Refused(text),
        ImageError::Store(StoreError::Io { .. }) => ImagesError::Unreadable(text),
        ImageError::Store(_) => ImagesError::Gone(text),
    }
}
