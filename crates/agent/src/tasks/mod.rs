//! Carrying orders out. Each task: observe → ours and done? → preconditions → act → verify.

mod activate;
mod deactivate;
mod firmware;
mod gate_script;
mod giveback;
mod install;
mod mark_good;
mod package;
mod patience;
mod reboot;
mod run;
mod takeover;

pub(crate) use run::Run;
