//! `evenkeel`: what operators type. `image`, `job`, `explain`, `events`, `user`, `certificate` and `audit` speak
//! to the cluster over its REST API only; `package`, `firmware` and `lab` work on files and processes of this machine.
//!
//! Start at [`run`]. Invariants: exit code 0 means done, 1 failed, 2 wrong usage, 3 paused; an error is
//! one sentence on standard error with the API's code; `--json` prints the API's object as it is.

mod acknowledgements;
mod args;
mod audit;
mod certificate;
mod client;
mod clock;
mod cluster;
mod command_line;
mod demo;
mod devices;
mod firmware;
mod gates;
mod get;
mod image;
mod keys;
mod lab_tools;
mod local;
mod observe;
mod outcome;
mod package;
mod plan;
mod profile;
mod secret;
mod table;
mod target;
mod timeline;
mod transfers;
mod upload;
mod user;
mod waiting;
mod watch;

pub use args::command;
pub use command_line::run;
