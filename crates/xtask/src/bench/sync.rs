//! From one node to eight others, whose uplinks are limited: along the chain, against one after the other.
//!
//! The bound is the product's own. It is low enough that two shared cores, which have to encrypt, decrypt
//! and verify for all nine nodes at once, are not what is measured; the package does not compress for the
//! same reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;

use super::Options;
use super::harness::{self, Row, Variant};
use super::inputs::{self, Kind, tool};
use crate::step::{cargo, run, target};

const BASELINE: &str = "one after the other, from the origin";
const NODES: &str = "8";
const UPLINK_BYTES_PER_SECOND: &str = "20000000";

/// How to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct SyncOptions {
    /// Writes the result there, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds; each measures every variant once, in shuffled order, and takes about a minute and a half.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Size of the package.
    #[arg(long, default_value_t = 200, value_name = "MEGABYTES")]
    size: u64,
    /// Where packages and stores lie. What it needs is made once.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl SyncOptions {
    /// As the other benchmarks have them.
    pub(crate) fn common(&self) -> Options {
        Options {
            json: self.json.clone(),
            rounds: self.rounds,
            size: self.size,
            dir: self.dir.clone(),
            tree: vec![Kind::Incompressible],
        }
    }
}

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    inputs::build_tool()?;
    build_carrier()?;
    tool()?;
    let folder = options.folder();
    let input = inputs::prepare(&folder, Kind::Incompressible, options.size)?;
    let carry = |how: &'static str| {
        let archive = &input.members;
        move |place: &Path| {
            let mut command = Command::new(target().join("release/examples/carry_bench"));
            command.arg(how).args([archive, place]);
            command.args([NODES, UPLINK_BYTES_PER_SECOND]);
            command
        }
    };
    let variants = [
        Variant::new(BASELINE, carry("serial")),
        Variant {
            against: Some(BASELINE.to_owned()),
            must: Some(4.5),
            ..Variant::new("evenkeel, along the chain", carry("chain"))
        },
    ];
    harness::rounds(
        "incompressible, 8 nodes",
        options.rounds,
        &folder.join("sync"),
        std::slice::from_ref(&input.members),
        &variants,
    )
}

fn build_carrier() -> Result<()> {
    let arguments = [
        "build",
        "--quiet",
        "--release",
        "--package",
        "evenkeel-interconnect",
        "--example",
        "carry_bench",
    ];
    run("building what is measured", cargo().args(arguments))
}
