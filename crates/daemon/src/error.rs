//! Errors at the edge.

use std::error::Error;

/// An error with all its causes, as one line. A TOML error keeps its lines: they point at the place.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text += &format!(": {source}");
        cause = source.source();
    }
    text.trim_end().to_owned()
}
