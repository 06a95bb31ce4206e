//! The backend `linux` over trees of files and printed outputs of programs.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod clients;
mod disks;
mod machine;
mod offline;
mod redfish;
mod shelves;
mod storage;
mod transports;
mod tree;
mod whole;
