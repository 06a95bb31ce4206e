//! `cargo xtask bench`: how fast the package store is, against the shell commands that do the same; what updates of
//! big clusters take; how fast the REST front end is, against a bare server.
//!
//! One module per benchmark; [`harness`] measures, [`inputs`] makes what is measured on. What a row of the
//! result means and how it was got is told in `docs/benchmarks.md`.

mod harness;
mod inputs;
mod install;
mod rest;
mod staging;
mod sync;
mod update;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::prerequisites;
use crate::step::target;

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Takes a package in: verified, kept, durable.
    Staging(Options),
    /// Puts a package into a slot: verified, durable.
    Install(Options),
    /// Carries a package from one node to eight others.
    Sync(sync::SyncOptions),
    /// Updates simulated clusters of up to 192 nodes.
    Update(update::UpdateOptions),
    /// Asks the REST front end of a cluster of 24 nodes, and watches an idle daemon.
    Rest(rest::RestOptions),
}

/// How to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Writes the result there, as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Rounds; each measures every variant once, in shuffled order.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// Size of the tree that packages are made of.
    #[arg(long, default_value_t = 1000, value_name = "MEGABYTES")]
    pub(crate) size: u64,
    /// Where trees, packages and outputs lie; a fresh file system, ideally. What it needs is made once.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Which tree: programs and text, what does not compress, or many small files.
    #[arg(long, value_enum, default_values_t = [inputs::Kind::Mixed])]
    pub(crate) tree: Vec<inputs::Kind>,
}

impl Options {
    /// The folder everything lies in.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| target().join("bench"))
    }
}

pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Staging(_) | Bench::Install(_) | Bench::Sync(_) => prerequisites::for_bench()?,
        // They need nothing but Rust's own tools.
        Bench::Update(_) | Bench::Rest(_) => {}
    }
    let (name, options, rows) = match bench {
        Bench::Staging(options) => ("staging", options, staging::measure(options)?),
        Bench::Install(options) => ("install", options, install::measure(options)?),
        Bench::Sync(options) => {
            let options = options.common();
            let rows = sync::measure(&options)?;
            return harness::conclude("sync", &options, &rows);
        }
        Bench::Update(options) => return update::measure(options),
        Bench::Rest(options) => return rest::measure(options),
    };
    harness::conclude(name, options, &rows)
}
