//! Into the store: against `sha256sum && tar tzf && cp && sync -f`, which proves the archive and not each file.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Options;
use super::harness::{self, Row, Variant};
use super::inputs::{self, Input, Kind, shell, tool};

const BASELINE: &str = "sha256sum && tar tzf && cp && sync -f";
const DISK: &str = "disk alone: as many zeros, fsync";
/// What 1 Gbit/s carries of payload.
const LINK_BYTES_PER_SECOND: &str = "117000000";

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    inputs::build_tool()?;
    tool()?;
    let folder = options.folder();
    let mut rows = Vec::new();
    for kind in &options.tree {
        let input = inputs::prepare(&folder, *kind, options.size)?;
        let bytes = std::fs::metadata(&input.single)?.len();
        rows.extend(harness::rounds(
            kind.name(),
            options.rounds,
            &folder.join("staging"),
            &[input.single.clone(), input.members.clone()],
            &variants(&input, bytes),
        )?);
    }
    Ok(rows)
}

fn variants(input: &Input, bytes: u64) -> Vec<Variant<'_>> {
    let must = match input.kind {
        Kind::Mixed => Some(3.7),
        Kind::Incompressible | Kind::Small => None,
    };
    let ours = |name: &str, archive, must| Variant {
        against: Some(BASELINE.to_owned()),
        must,
        disk: Some(DISK.to_owned()),
        ..Variant::new(name, move |place| stage(archive, place, None))
    };
    // A paced sender is as slow as its link; what counts there is `tail_s`.
    let sent = |name: &str, archive| {
        Variant::new(name, move |place| {
            stage(archive, place, Some(LINK_BYTES_PER_SECOND))
        })
    };
    vec![
        Variant::new(BASELINE, |place| {
            let script = "sha256sum \"$0\" && tar tzf \"$0\" >/dev/null && cp \"$0\" \"$1\" && sync -f \"$1\"";
            let mut command = shell(script);
            command.args([&input.single, place]);
            command
        }),
        ours("evenkeel, one member", &input.single, must),
        ours("evenkeel, many members", &input.members, must),
        sent("evenkeel, one member, sent at 1 Gbit/s", &input.single),
        sent("evenkeel, many members, sent at 1 Gbit/s", &input.members),
        Variant::new(DISK, move |place| inputs::disk_alone(bytes, place)),
    ]
}

fn stage(archive: &Path, place: &Path, pace: Option<&str>) -> Command {
    let mut command = tool().expect("it was there before the first round");
    command.arg("stage").args([archive, place]).args(pace);
    command
}
