//! What the fuzz targets need and nobody else.

use std::io::{BufRead, Read};

use crate::gzip::Inflated;
use crate::tar::unwrap;
use crate::verify_error::VerifyError;

/// Inflates a gzip file, up to `limit` bytes of content.
pub fn inflate_all(
    input: impl BufRead + Send + 'static,
    limit: u64,
) -> Result<Vec<u8>, VerifyError> {
    let inflated = Inflated::new(input).map_err(VerifyError::Read)?;
    let mut content = Vec::new();
    inflated
        .take(limit)
        .read_to_end(&mut content)
        .map_err(unwrap)?;
    Ok(content)
}
