//! Into the store: against `sha256sum && tar tzf && cp && sync -f`, which proves the archive and not each file.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Options;
use super::harness::{self, Row, Variant};
use super::inputs::{self, Input, Kind, shell, tool};

const BASELINE: &str = "sha256sum && tar tzf && cp && sync -f";
/// What 1 Gbit/s carries of payload.
const LINK_BYTES_PER_SECOND: &str = "117000000";

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    inputs::build_tool()?;
    tool()?;
    let folder = options.folder();
    let mut rows = Vec::new();
    for kind in &options.tree {
        let input = inputs::prepare(&folder, *kind, options.size)?;
        rows.extend(harness::rounds(
            kind.name(),
            options.rounds,
            &folder.join("staging"),
            &[input.single.clone(), input.members.clone()],
            &variants(&input),
        )?);
    }
    Ok(rows)
}

fn variants(input: &Input) -> Vec<Variant<'_>> {
    let must = match input.kind {
        Kind::Mixed => Some(3.7),
        Kind::Incompressible | Kind::Small => None,
    };
    let baseline = Variant {
        name: BASELINE.to_owned(),
        against: None,
        must: None,
        command: Box::new(|place| {
            let script = "sha256sum \"$0\" && tar tzf \"$0\" >/dev/null && cp \"$0\" \"$1\" && sync -f \"$1\"";
            let mut command = shell(script);
            command.args([&input.single, place]);
            command
        }),
    };
    let ours = |name: &str, archive, pace: Option<&'static str>, must| Variant {
        name: name.to_owned(),
        // A paced sender is as slow as its link; what counts there is `tail_s`.
        against: pace.is_none().then(|| BASELINE.to_owned()),
        must,
        command: Box::new(move |place: &Path| stage(archive, place, pace)),
    };
    let link = Some(LINK_BYTES_PER_SECOND);
    vec![
        baseline,
        ours("evenkeel, one member", &input.single, None, must),
        ours("evenkeel, many members", &input.members, None, must),
        ours(
            "evenkeel, one member, sent at 1 Gbit/s",
            &input.single,
            link,
            None,
        ),
        ours(
            "evenkeel, many members, sent at 1 Gbit/s",
            &input.members,
            link,
            None,
        ),
    ]
}

fn stage(archive: &Path, place: &Path, pace: Option<&str>) -> Command {
    let mut command = tool().expect("it was there before the first round");
    command.arg("stage").args([archive, place]).args(pace);
    command
}
