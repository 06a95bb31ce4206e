//! What chosen stories record, for the corpus of streams that every later build must read
//! (`record/tests/corpus`). `cargo xtask record` plays them and writes what is not there yet.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use evenkeel_record::{Entry, View};

/// The folder that streams are written to, when they are.
const FOLDER: &str = "EVENKEEL_RECORD";

/// Stories that together record every kind of event, task and outcome that there is; the corpus' own test says
/// what is missing. Few, since all that they record is kept for ever.
pub(crate) const RECORDED: &[&str] = &[
    "03-eight-nodes-in-batches",
    "05-nodes-to-update",
    "07-single-node",
    "11-pause-after-all",
    "12-pause-after-takeover-giveback",
    "17-cancel-after-giveback",
    "20-validation-errors",
    "31-falls-back",
    "32-falls-back-and-is-cancelled",
    "42-coordinator-dies",
    "48-package-lost",
    "50-flaps",
    "53-validated-again-on-resume",
    "61-a-batch-is-paused-and-cancelled",
    "62-gates",
    "67-post-update-checks-are-red",
    "71-users-keys-and-settings",
    "72-packages-come-and-go",
    "73-estimates",
    "74-acknowledged-warnings",
    "75-a-plan-in-parts",
    "76-the-gate-script-fails",
    "77-firmware",
    "78-firmware-waits",
];

/// Sees that what a chosen story recorded can be read, and writes it down where that is asked for.
pub(crate) fn keep(story: &str, recorded: &[Entry]) -> Result<(), String> {
    if !RECORDED.contains(&story) {
        return Ok(());
    }
    let view = View::replay(recorded).map_err(|gap| gap.to_string())?;
    let wrong = view.quarantined();
    if !wrong.is_empty() {
        return Err(format!("what it records cannot be folded: {wrong:?}"));
    }
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return Ok(());
    };
    let file = folder.join(format!("{story}.jsonl"));
    // What was recorded once is what clusters may have: it is never written anew.
    if file.exists() {
        return Ok(());
    }
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, lines(recorded)));
    written.map_err(|error| format!("{}: {error}", file.display()))
}

/// An event a line: its stream, and its body to the letter.
fn lines(recorded: &[Entry]) -> String {
    let mut text = String::new();
    for entry in recorded {
        let (stream, body) = (entry.stream, &entry.body);
        let _ = writeln!(text, "{{\"stream\":\"{stream}\",\"body\":{body}}}");
    }
    text
}
