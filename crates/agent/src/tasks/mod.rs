//! Carrying orders out. Each task: observe → ours and done? → preconditions → act → verify.

mod activate;
mod deactivate;
mod giveback;
mod install;
mod mark_good;
mod patience;
mod run;
mod takeover;

pub(crate) use run::Run;
