//! Answers that were given a moment ago and are still true: clients that poll cost no rendering.
//!
//! Whoever asks was let in before anything is looked up here, on every request. An answer is found under all that it
//! depends on: what was asked for, in which form, by which role; the view of the record; and the time that was
//! shown, where times run in it. So it is what would be rendered now, byte for byte.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use evenkeel_model::{Role, WallTime};

use crate::cluster::Picture;
use crate::respond::Form;

/// Most bytes of answers and their questions: several of a cluster of any size, and little beside what a daemon takes anyway.
const MAX_BYTES: usize = 4 << 20;
/// Most answers: pollers ask for a handful of things.
const MAX_ANSWERS: usize = 128;

/// For how long an answer is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasts {
    /// As long as the view of the record.
    View,
    /// As long as the view, and the time that is shown: times run in it.
    Picture,
    /// Nobody can say: it depends on something that is in no picture.
    Unknown,
}

/// What was asked for, and for whom it was rendered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// Path and query.
    pub(crate) target: String,
    pub(crate) form: Form,
    pub(crate) role: Role,
}

/// Answers to the newest view.
#[derive(Default)]
pub(crate) struct Kept(Mutex<State>);

#[derive(Default)]
struct State {
    /// What all of them are of.
    of: Option<Picture>,
    answers: HashMap<Question, Answer>,
    bytes: usize,
}

struct Answer {
    /// The time that is shown in it; none where no time runs.
    time: Option<WallTime>,
    body: Bytes,
}

impl Kept {
    /// The answer that was given to the same, if it is true in this picture.
    pub(crate) fn find(&self, question: &Question, now: &Picture) -> Option<Bytes> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.of.as_ref()?.is_of_same_view(now) {
            return None;
        }
        let answer = state.answers.get(question)?;
        let is_true = answer.time.is_none_or(|time| time == now.time);
        is_true.then(|| answer.body.clone())
    }

    /// Keeps an answer. `before` is the picture from before it was rendered: if another is shown since, nobody
    /// finds it.
    pub(crate) fn keep(&self, question: Question, lasts: Lasts, before: Picture, body: Bytes) {
        let time = match lasts {
            Lasts::View => None,
            Lasts::Picture => Some(before.time),
            Lasts::Unknown => return,
        };
        let bytes = weight(&question, &body);
        if bytes > MAX_BYTES {
            return;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |of: &Picture| of.is_of_same_view(&before);
        let is_full = state.answers.len() >= MAX_ANSWERS || state.bytes + bytes > MAX_BYTES;
        if is_full || !state.of.as_ref().is_some_and(is_same) {
            // Who polls asks again at once.
            *state = State::default();
        }
        state.of = Some(before);
        if let Some(older) = state.answers.remove(&question) {
            state.bytes -= weight(&question, &older.body);
        }
        state.bytes += bytes;
        state.answers.insert(question, Answer { time, body });
    }
}

fn weight(question: &Question, body: &Bytes) -> usize {
    question.target.len() + body.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evenkeel_record::View;

    use super::*;

    fn picture(view: &Arc<View>, second: u64) -> Picture {
        Picture::new(Arc::clone(view), WallTime::from_unix_seconds(second))
    }

    fn asked(target: &str) -> Question {
        Question {
            target: target.to_owned(),
            form: Form::Hal,
            role: Role::Admin,
        }
    }

    fn body(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn an_answer_is_found_under_all_that_it_depends_on() {
        let (kept, view) = (Kept::default(), Arc::new(View::default()));
        kept.keep(asked("/a"), Lasts::View, picture(&view, 1), body("a"));
        let now = picture(&view, 9);
        assert_eq!(kept.find(&asked("/a"), &now), Some(body("a")));
        assert_eq!(kept.find(&asked("/a?fields=b"), &now), None);
        let mut other = asked("/a");
        other.form = Form::Plain;
        assert_eq!(kept.find(&other, &now), None);
        let mut other = asked("/a");
        other.role = Role::Readonly;
        assert_eq!(kept.find(&other, &now), None);
        // Of the same content, and still not the same.
        let other = picture(&Arc::new(View::default()), 9);
        assert_eq!(kept.find(&asked("/a"), &other), None);
    }

    #[test]
    fn what_shows_times_that_run_is_true_in_its_picture_only() {
        let (kept, view) = (Kept::default(), Arc::new(View::default()));
        kept.keep(asked("/a"), Lasts::Picture, picture(&view, 1), body("at 1"));
        assert_eq!(
            kept.find(&asked("/a"), &picture(&view, 1)),
            Some(body("at 1"))
        );
        assert_eq!(kept.find(&asked("/a"), &picture(&view, 2)), None);
        kept.keep(asked("/a"), Lasts::Picture, picture(&view, 2), body("at 2"));
        assert_eq!(
            kept.find(&asked("/a"), &picture(&view, 2)),
            Some(body("at 2"))
        );
        kept.keep(asked("/b"), Lasts::Unknown, picture(&view, 2), body("b"));
        assert_eq!(kept.find(&asked("/b"), &picture(&view, 2)), None);
    }

    #[test]
    fn an_answer_to_an_older_view_that_comes_late_is_found_by_nobody() {
        let kept = Kept::default();
        let (old, new) = (Arc::new(View::default()), Arc::new(View::default()));
        kept.keep(asked("/a"), Lasts::View, picture(&new, 1), body("new"));
        kept.keep(asked("/a"), Lasts::View, picture(&old, 1), body("old"));
        assert_eq!(kept.find(&asked("/a"), &picture(&new, 1)), None);
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let (kept, view) = (Kept::default(), Arc::new(View::default()));
        let now = picture(&view, 1);
        let bound = |kept: &Kept| {
            let state = kept.0.lock().unwrap();
            let answers = state.answers.iter();
            let bytes: usize = answers.map(|(asked, it)| weight(asked, &it.body)).sum();
            assert_eq!(state.bytes, bytes);
            assert!(state.answers.len() <= MAX_ANSWERS && bytes <= MAX_BYTES);
        };
        for n in 0..2 * MAX_ANSWERS {
            let small = Bytes::from(vec![0; 10 + n]);
            kept.keep(asked(&n.to_string()), Lasts::View, now.clone(), small);
            bound(&kept);
        }
        for n in 0..9 {
            let big = Bytes::from(vec![0; MAX_BYTES / 4 + n]);
            kept.keep(asked(&n.to_string()), Lasts::View, now.clone(), big.clone());
            bound(&kept);
            assert_eq!(kept.find(&asked(&n.to_string()), &now), Some(big));
        }
        let huge = Bytes::from(vec![0; MAX_BYTES + 1]);
        kept.keep(asked("huge"), Lasts::View, now.clone(), huge);
        bound(&kept);
        assert_eq!(kept.find(&asked("huge"), &now), None);
    }
}
