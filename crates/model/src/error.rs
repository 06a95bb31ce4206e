//! Errors as texts.

use std::error::Error;

/// An error with all its causes, which its own text leaves out, as one sentence. The end is trimmed: that of a TOML
/// error, which keeps its lines because they point at the place, is an empty one.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text.truncate(text.trim_end().len());
    text
}
