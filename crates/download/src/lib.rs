//! Packages from a server: `http`, `https` and `ftp`, resumed wherever they broke off.
//!
//! Entry points: [`Source::parse`] takes what a user asked for apart; [`Transfer`] brings its bytes, over as
//! many tries as it takes. Nothing is written to disk here, and nothing is judged: what the bytes are is
//! for the package store to say.
//!
//! Invariants: a secret (a password, the query of an address) is used and never shown: no type that holds one
//! can be printed, and no error quotes what a server said. Secrets go only to the host they were given for.
//! A transfer never goes on with bytes of another file than the one it began with. Every wait has a bound.

mod error;
mod ftp;
mod http;
mod limits;
mod open;
mod secret;
mod source;
mod transfer;
mod trust;
mod validator;

pub use error::{SourceError, StartsOver};
pub use limits::{Limits, Pace, TooSlow};
pub use open::{Body, Client, Opened};
pub use source::{Source, SourceScheme, UrlError};
pub use transfer::{Event, Transfer};
pub use trust::{Trust, TrustError};
pub use validator::Validator;
