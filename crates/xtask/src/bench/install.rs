//! Into a slot: against `sha256sum && tar xzf && sync -f`, which proves the archive and not each file, and in
//! CPU time against SWUpdate, which inflates the payload to one file and does not sync it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Options;
use super::harness::{self, Row, Variant};
use super::inputs::{self, Input, Kind, shell, tool};

const BASELINE: &str = "sha256sum && tar xzf && sync -f";
const SWUPDATE: &str = "swupdate, zlib, to one file, no sync";
const BASELINE_FULL: &str = "rm -rf of what was there, then the same";
const DISK: &str = "disk alone: as many zeros, fsync";
const UNPACK: &str = "sha256sum \"$0\" && tar xzf \"$0\" -C \"$1\" && sync -f \"$1\"";
/// Most CPU time, as a part of SWUpdate's.
const CPU_MUST: f64 = 1.2;

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    inputs::build_tool()?;
    let folder = options.folder();
    let mut rows = Vec::new();
    for kind in &options.tree {
        let input = inputs::prepare(&folder, *kind, options.size)?;
        inputs::prove(&folder, &input)?;
        let inflated = folder.join("swupdate.out");
        let update = inputs::swupdate(&folder, &input, &inflated)?;
        let bytes = inputs::tree_bytes(&input.tree)?;
        rows.extend(harness::rounds(
            kind.name(),
            options.rounds,
            &folder.join("install"),
            &[
                input.single.clone(),
                input.members.clone(),
                update.0.clone(),
            ],
            &variants(&input, &update, bytes),
        )?);
        // Last, since removing files makes others dear for minutes (see `performance` in docs/benchmarks.md).
        rows.extend(harness::rounds(
            kind.name(),
            options.rounds,
            &folder.join("install-full"),
            &[input.single.clone(), input.members.clone()],
            &over_a_full_slot(&input),
        )?);
        std::fs::remove_file(inflated)?;
    }
    Ok(rows)
}

fn variants<'a>(
    input: &'a Input,
    (update, certificate): &'a (PathBuf, PathBuf),
    bytes: u64,
) -> Vec<Variant<'a>> {
    // The limits hold for the tree of programs and text.
    let (limits, cpu_must) = match input.kind {
        Kind::Mixed => ([Some(3.5), Some(3.7)], Some(CPU_MUST)),
        Kind::Incompressible | Kind::Small => ([None, None], None),
    };
    let ours = |name: &str, archive, must| Variant {
        against: Some(BASELINE.to_owned()),
        must,
        cpu_against: Some((SWUPDATE.to_owned(), cpu_must)),
        disk: Some(DISK.to_owned()),
        ..Variant::new(name, move |place| extract(archive, place))
    };
    vec![
        Variant::new(BASELINE, |place| {
            let mut command = shell(UNPACK);
            command.args([&input.single, place]);
            command
        }),
        ours("evenkeel, one member", &input.single, limits[0]),
        ours("evenkeel, many members", &input.members, limits[1]),
        Variant::new(SWUPDATE, move |_| {
            let mut command = Command::new("swupdate");
            command
                .arg("-k")
                .arg(certificate)
                .args(["-H", "bench:1", "-M", "-m", "-i"]);
            command.arg(update);
            command
        }),
        Variant::new(DISK, move |place| inputs::disk_alone(bytes, place)),
    ]
}

/// A slot holds an older version, which goes: the everyday case.
fn over_a_full_slot(input: &Input) -> Vec<Variant<'_>> {
    let filled = |variant| Variant {
        before: Some(Box::new(|place: &Path| {
            let mut command = Command::new("cp");
            command.args(["--recursive", "--no-target-directory"]);
            command.args([&input.tree, place]);
            command
        })),
        ..variant
    };
    let baseline = Variant::new(BASELINE_FULL, |place| {
        let mut command = shell(&format!("rm -rf \"$1\"/* && {UNPACK}"));
        command.args([&input.single, place]);
        command
    });
    let ours = Variant {
        against: Some(BASELINE_FULL.to_owned()),
        ..Variant::new("evenkeel, many members, over a full slot", |place| {
            extract(&input.members, place)
        })
    };
    vec![filled(baseline), filled(ours)]
}

fn extract(archive: &Path, place: &Path) -> Command {
    let mut command = tool().expect("it was there before the first round");
    command.arg("extract").args([archive, place]);
    command
}
