//! Images without packages.

use std::fs;
use std::path::Path;

use anyhow::Result;
use evenkeel_lab::{FirstImage, Tools};

/// Makes images of a manifest that names nothing but a version.
pub(crate) struct Bare;

impl Tools for Bare {
    fn make_keys(&self, secret: &Path) -> Result<()> {
        fs::write(secret, "secret\n")?;
        fs::write(secret.with_extension("pub"), "public\n")?;
        Ok(())
    }

    fn first_image(&self, request: &FirstImage) -> Result<()> {
        let reserved = request.slot.join(".evenkeel");
        fs::create_dir_all(&reserved)?;
        fs::write(reserved.join("manifest.json"), r#"{"version":"1"}"#)?;
        Ok(())
    }
}
