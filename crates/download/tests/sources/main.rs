//! Sources that misbehave, one thing at a time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ftp;
mod ftp_server;
mod http;
mod support;
