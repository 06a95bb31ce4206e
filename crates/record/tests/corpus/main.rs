//! Streams that earlier builds recorded, read by this one. `corpus/BUILD/STORY.jsonl` has an event a line; BUILD is
//! a release, or a commit where there was none; beside it stands what people were shown at its end. A cluster's
//! record outlives many releases: what is here must be readable for ever, so files are added, never changed.
//!
//! `cargo xtask record` records the streams of this release, and the pictures of what is new. They come from the
//! stories that `simulation/tests/golden/record.rs` chooses.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod kinds;
mod picture;
mod stories;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use evenkeel_record::projections::UpdateState;
use evenkeel_record::{View, projections};

use picture::{at, picture};
use stories::{entries, stories};

#[test]
fn what_earlier_builds_recorded_is_read() {
    let stories = stories();
    assert!(stories.len() > 30, "the corpus is there");
    let bless = std::env::var_os("EVENKEEL_BLESS").is_some();
    for story in stories {
        let view = View::replay(&entries(&story)).unwrap();
        let wrong = view.quarantined();
        assert!(wrong.is_empty(), "{}: {wrong:?}", story.display());
        assert_eq!(view.may_coordinate(), Ok(()), "{}", story.display());
        let (seen, kept) = (picture(&view), story.with_extension("picture"));
        // One that is there is what the build that recorded the stream showed: it is never written anew.
        if bless && !kept.exists() {
            fs::write(&kept, &seen).unwrap();
        }
        let expected = fs::read_to_string(&kept).unwrap_or_default();
        assert_eq!(seen, expected, "{}", story.display());
    }
}

/// A node that falls back, or is updated, may read the record at any event.
#[test]
fn every_beginning_of_what_was_recorded_can_be_shown() {
    for story in stories() {
        let mut view = View::default();
        for entry in entries(&story) {
            view.apply(&entry).unwrap();
            let shown = projections::software(&view, at());
            // What goes on has gone on for years by then; what stood still at once has taken no time.
            let goes_on = shown.state == Some(UpdateState::InProgress);
            let elapsed = shown.elapsed.unwrap_or_default();
            let is_told = !goes_on || elapsed > Duration::ZERO;
            assert!(is_told, "{}: {:?}", story.display(), entry.position);
            let _ = picture(&view);
            let _ = projections::download(&view);
        }
    }
}

/// Whatever this build can record, the corpus has: what is not kept here, a later build may forget how to read.
#[test]
fn every_kind_of_what_can_be_recorded_is_in_the_corpus() {
    let kinds = kinds::all();
    let mut found = vec![BTreeSet::new(); kinds.len()];
    for entry in stories().iter().flat_map(|story| entries(story)) {
        let body = serde_json::from_str(&entry.body).unwrap();
        for (kinds, found) in kinds.iter().zip(&mut found) {
            found.extend(kinds.of(entry.stream, &body));
        }
    }
    let missing: Vec<String> = kinds
        .iter()
        .zip(&found)
        .flat_map(|(kinds, found)| {
            let missing = kinds.all.iter().filter(|kind| !found.contains(*kind));
            missing.map(|kind| format!("{} {kind}", kinds.what))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "no recorded stream has these: tell a story of them (simulation/tests/golden), name it in its record.rs, \
         then run cargo xtask record: {missing:#?}"
    );
    for kinds in &kinds {
        assert!(kinds.all.len() > 1, "serde names no {}", kinds.what);
    }
}
