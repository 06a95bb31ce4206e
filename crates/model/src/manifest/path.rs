//! Which paths and link targets stay inside a package.

use super::{MAX_PATH_BYTES, RESERVED_DIR};

/// What Linux file systems allow for one name.
const MAX_COMPONENT_BYTES: usize = 255;

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// Nothing, or nothing between two slashes.
    #[error("has an empty component")]
    Empty,
    /// Starts with a slash.
    #[error("is absolute")]
    Absolute,
    /// Has a component `..`.
    #[error("has a component `..`")]
    Parent,
    /// Has a component `.`.
    #[error("has a component `.`")]
    Dot,
    /// A control character or NUL.
    #[error("has a control character")]
    Control,
    /// Too long as a whole or in one component.
    #[error("is too long")]
    TooLong,
    /// At or below [`RESERVED_DIR`].
    #[error("is reserved for the manifest")]
    Reserved,
}

/// Checks an entry's path by itself.
pub fn check_entry_path(path: &str) -> Result<(), PathProblem> {
    if path.starts_with('/') {
        return Err(PathProblem::Absolute);
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(PathProblem::TooLong);
    }
    if path.chars().any(char::is_control) {
        return Err(PathProblem::Control);
    }
    for component in path.split('/') {
        match component {
            "" => return Err(PathProblem::Empty),
            "." => return Err(PathProblem::Dot),
            ".." => return Err(PathProblem::Parent),
            long if long.len() > MAX_COMPONENT_BYTES => return Err(PathProblem::TooLong),
            _ => {}
        }
    }
    match path.split('/').next() {
        Some(RESERVED_DIR) => Err(PathProblem::Reserved),
        Some(_) | None => Ok(()),
    }
}

/// Whether a symlink at `path` with `target` stays inside the package, whatever other links exist.
///
/// `..` may stand only at the front of a target: there it climbs from the link's own directory, which
/// is a real one. After a name it could climb from wherever another link led.
pub fn link_stays_inside(path: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return false;
    }
    let mut room = path.split('/').count() - 1;
    let mut named = false;
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if named || room == 0 => return false,
            ".." => room -= 1,
            _ => named = true,
        }
    }
    true
}
