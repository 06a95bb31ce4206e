//! Answers that are kept: whoever asks sees what would be rendered anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use evenkeel_model::*;
use evenkeel_record::{
    Append, Entry, Fence, FollowOptions, Follower, MemoryHub, MemoryRecord, NewEvent, NoMirror,
    Record, StreamWrite, projections,
};
use evenkeel_rest::{Api, Peer, RecordCluster};
use evenkeel_seam::{Clock, SeededIds};
use evenkeel_simulation::{Cluster, Dice, Settings, run};
use tower::ServiceExt;

use crate::support::Fake;

/// Let in by their certificates, which costs nothing.
const USERS: [(&str, Role); 3] = [
    ("boss", Role::Admin),
    ("helper", Role::Stager),
    ("poller", Role::Readonly),
];
const ACCEPTED: [&str; 3] = ["*/*", "application/json", "application/hal+json"];

/// A clock that stands until it is set.
struct SetClock(Mutex<WallTime>);

impl Clock for SetClock {
    fn wall(&self) -> WallTime {
        *self.0.lock().unwrap()
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic {
            boot_id: BootId(uuid::Uuid::from_u128(1)),
            since_boot_ms: 0,
        }
    }
}

/// A record that grows event by event, and the front end that shows it.
struct Story {
    record: Arc<MemoryRecord>,
    follower: Arc<Follower>,
    clock: Arc<SetClock>,
    cluster: Arc<RecordCluster>,
    keeping: Router,
    heads: BTreeMap<StreamId, u64>,
}

impl Story {
    async fn begin(at: WallTime) -> Self {
        let record = Arc::new(MemoryHub::new().client(1));
        let clock = Arc::new(SetClock(Mutex::new(at)));
        let (mirror, options) = (Arc::new(NoMirror), FollowOptions::default());
        let follower = Follower::start(record.clone(), mirror, clock.clone(), options).await;
        let follower = Arc::new(follower);
        let minute = Duration::from_secs(60);
        let cluster = RecordCluster::new(follower.clone(), record.clone(), clock.clone(), minute);
        let cluster = Arc::new(cluster);
        Self {
            keeping: router(&cluster),
            record,
            follower,
            clock,
            cluster,
            heads: BTreeMap::new(),
        }
    }

    async fn append(&mut self, stream: StreamId, id: EventId, body: String) {
        let head = self.heads.entry(stream).or_default();
        let write = StreamWrite {
            stream,
            expected: Seq(*head),
            events: vec![NewEvent { id, body }],
        };
        *head += 1;
        let append = Append {
            fence: Fence::None,
            writes: vec![write],
        };
        self.record.append(append).await.unwrap();
        self.follower.refresh().await.unwrap();
    }

    async fn set_user(&mut self, n: u128, user: &str, account: AccountChange) {
        let event = Event::Control(ControlEvent::UserSet {
            at: self.clock.wall(),
            user: user.parse().unwrap(),
            password_hash: String::new(),
            account: Some(account),
            by: None,
        });
        let id = EventId(uuid::Uuid::from_u128(n));
        self.append(StreamId::Control, id, event.encode()).await;
    }

    fn pass(&self, milliseconds: u64) {
        let mut now = self.clock.0.lock().unwrap();
        *now = now.plus(Duration::from_millis(milliseconds));
    }

    fn targets(&self) -> Vec<String> {
        let job = projections::jobs(&self.follower.view()).pop();
        let job = job.map_or_else(String::new, |job| job.id.to_string());
        let job = format!("/api/cluster/jobs/{job}");
        [
            "/api/cluster",
            "/api/cluster/nodes?fields=*",
            "/api/cluster/software",
            "/api//cluster/software/",
            "/api/cluster/software?fields=*",
            "/api/cluster/software?fields=elapsed_duration,estimated_duration,state",
            "/api/cluster/software/download",
            "/api/cluster/software/history?order_by=end_time%20desc",
            "/api/cluster/software/packages?fields=*",
            "/api/cluster/jobs?fields=*",
            &job,
        ]
        .map(str::to_owned)
        .into()
    }

    /// Asks the front end that keeps answers, and one that was made this moment.
    async fn compare(&self, dice: &mut Dice) {
        let targets = self.targets();
        for _ in 0..6 {
            let target = &dice.pick(&targets);
            let (user, _) = dice.pick(&USERS);
            let accept = dice.pick(&ACCEPTED);
            let kept = ask(&self.keeping, user, accept, target).await;
            let anew = ask(&router(&self.cluster), user, accept, target).await;
            assert_eq!(kept, anew, "{target} for {user}, who accepts {accept}");
        }
    }
}

fn router(cluster: &Arc<RecordCluster>) -> Router {
    let door = Arc::new(Fake::new());
    Api::new(cluster.clone(), door, &SeededIds::new(1)).router()
}

/// Status, kind and text of the answer.
async fn ask(router: &Router, user: &str, accept: &str, target: &str) -> (u16, String, String) {
    let peer = Peer {
        certificate: Some(user.parse().unwrap()),
        ..Peer::default()
    };
    let request = Request::get(target)
        .header("accept", accept)
        .extension(peer);
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap());
    let (head, body) = response.await.unwrap().into_parts();
    let text = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let kind = head.headers["content-type"].to_str().unwrap().to_owned();
    (head.status.as_u16(), kind, String::from_utf8(text).unwrap())
}

fn letting_in(role: Role) -> AccountChange {
    AccountChange::Set {
        role,
        password_hash: None,
        certificate: true,
    }
}

/// All that the update of two pairs records.
fn an_update() -> Vec<Entry> {
    run(async {
        let cluster = Cluster::start(Settings::new(4)).await;
        cluster.start_update(Cluster::request()).await.unwrap();
        let bound = Duration::from_secs(24 * 3600);
        cluster.rest(bound).await.unwrap();
        cluster.entries()
    })
}

fn time_of(entry: &Entry) -> WallTime {
    let event: serde_json::Value = serde_json::from_str(&entry.body).unwrap();
    serde_json::from_value(event["at"].clone()).unwrap()
}

/// The users, and the update's first events: nothing is asked for yet.
async fn begin(entries: &[Entry]) -> Story {
    let mut story = Story::begin(time_of(&entries[0])).await;
    for (n, (user, role)) in USERS.into_iter().enumerate() {
        story.set_user(n as u128, user, letting_in(role)).await;
    }
    story
}

#[test]
fn what_is_kept_of_a_whole_update_is_what_would_be_rendered_anew() {
    let entries = an_update();
    let mut dice = Dice::new(7);
    run(async {
        let mut story = begin(&entries).await;
        for entry in entries {
            let now = story.clock.wall();
            story.pass(time_of(&entry).shown_since(now).as_millis() as u64);
            story.append(entry.stream, entry.id, entry.body).await;
            story.compare(&mut dice).await;
            story.pass(dice.pick(&[0, 1, 40, 99, 350, 1000, 61_000]));
            story.compare(&mut dice).await;
        }
    });
}

#[test]
fn an_answer_changes_at_once_when_the_state_does_and_as_the_time_runs() {
    let entries = an_update();
    run(async {
        let mut story = begin(&entries).await;
        let state = "/api/cluster/software?fields=state,elapsed_duration";
        let seen = async |story: &Story| {
            let (_, _, text) = ask(&story.keeping, "poller", "application/json", state).await;
            let body: serde_json::Value = serde_json::from_str(&text).unwrap();
            (body["state"].clone(), body["elapsed_duration"].clone())
        };
        let mut states = Vec::new();
        for entry in entries {
            let now = story.clock.wall();
            story.pass(time_of(&entry).shown_since(now).as_millis() as u64);
            story.append(entry.stream, entry.id, entry.body).await;
            if story.follower.view().control().topology.is_none() {
                continue;
            }
            let (state, before) = seen(&story).await;
            let row = projections::software(
                &story.follower.view(),
                projections::At::new(story.clock.wall()),
            );
            assert_eq!(state.is_null(), row.state.is_none());
            states.push(state.clone());
            story.pass(1000);
            let (_, after) = seen(&story).await;
            let more = after.as_u64().unwrap_or(0) - before.as_u64().unwrap_or(0);
            let runs = state == "in_progress";
            assert_eq!(more, u64::from(runs), "a second of {state}");
        }
        states.dedup();
        assert_eq!(
            states,
            [
                serde_json::Value::Null,
                "in_progress".into(),
                "completed".into()
            ]
        );
    });
}

#[test]
fn an_answer_that_is_kept_is_for_nobody_who_is_not_let_in() {
    let entries = an_update();
    run(async {
        let mut story = begin(&entries).await;
        for entry in entries {
            story.append(entry.stream, entry.id, entry.body).await;
        }
        let target = "/api/cluster/software";
        let status = async |story: &Story, user| ask(&story.keeping, user, "*/*", target).await.0;
        for (user, _) in USERS {
            assert_eq!(status(&story, user).await, 200, "{user}");
        }
        assert_eq!(status(&story, "stranger").await, 401);
        story.set_user(100, "poller", AccountChange::Removed).await;
        assert_eq!(
            status(&story, "poller").await,
            401,
            "it was let in a moment ago"
        );
        story
            .set_user(101, "helper", letting_in(Role::Unknown))
            .await;
        assert_eq!(
            status(&story, "helper").await,
            403,
            "its role is another now"
        );
        assert_eq!(status(&story, "boss").await, 200);
    });
}
