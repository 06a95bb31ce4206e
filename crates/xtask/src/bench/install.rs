//! Into a slot: against `sha256sum && tar xzf && sync -f`, which proves the archive and not each file.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Options;
use super::harness::{self, Row, Variant};
use super::inputs::{self, Input, Kind, shell, tool};

const BASELINE: &str = "sha256sum && tar xzf && sync -f";

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    inputs::build_tool()?;
    let folder = options.folder();
    let mut rows = Vec::new();
    for kind in &options.tree {
        let input = inputs::prepare(&folder, *kind, options.size)?;
        inputs::prove(&folder, &input)?;
        rows.extend(harness::rounds(
            kind.name(),
            options.rounds,
            &folder.join("install"),
            &[input.single.clone(), input.members.clone()],
            &variants(&input)?,
        )?);
    }
    Ok(rows)
}

fn variants(input: &Input) -> Result<Vec<Variant<'_>>> {
    // The limits hold for the tree of programs and text.
    let limits = match input.kind {
        Kind::Mixed => [Some(3.5), Some(3.7)],
        Kind::Incompressible | Kind::Small => [None, None],
    };
    let baseline = Variant {
        name: BASELINE.to_owned(),
        against: None,
        must: None,
        command: Box::new(|place| {
            let script = "sha256sum \"$0\" && tar xzf \"$0\" -C \"$1\" && sync -f \"$1\"";
            let mut command = shell(script);
            command.args([&input.single, place]);
            command
        }),
    };
    tool()?;
    let ours = |name: &str, archive, must| Variant {
        name: name.to_owned(),
        against: Some(BASELINE.to_owned()),
        must,
        command: Box::new(move |place: &Path| extract(archive, place)),
    };
    Ok(vec![
        baseline,
        ours("evenkeel, one member", &input.single, limits[0]),
        ours("evenkeel, many members", &input.members, limits[1]),
    ])
}

fn extract(archive: &Path, place: &Path) -> Command {
    let mut command = tool().expect("it was there before the first round");
    command.arg("extract").args([archive, place]);
    command
}
