//! Admits what users ask for. An id that is returned here is durable.

mod admit;
mod firmware;
mod membership;
mod packages;
mod settings;
mod updates;
mod users;

pub(crate) use admit::Attempt;
pub use admit::{FrontDoor, GetTicket};
pub use firmware::Unpacked;
pub use membership::Release;
pub use packages::{CopyNote, CopyState, StaleGet};
pub use settings::NewKey;
pub use users::UserChange;
