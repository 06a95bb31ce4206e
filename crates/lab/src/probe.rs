//! Reads through every LIF all the time, as a client would, and keeps the gaps.
//!
//! A machine that is too busy to run the probe shows as gaps of every LIF. So the probe reads from a
//! server of its own too: each gap tells how much of it not even that one answered. Nothing is taken off a
//! gap; one that the stall explains is only not counted as one *outside* of any transition.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use evenkeel_model::{BootId, NodeName, WallTime};
use evenkeel_platform::sim::{Window, WindowKind};
use evenkeel_seam::{Clock, Ids, RandomIds, SystemClock};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::control::Control;
use crate::lab_json::{LabFile, LabNode};
use crate::status::LabStatus;

/// Pause between two reads through a LIF.
const READ_EVERY: Duration = Duration::from_millis(50);
/// A client that gets no answer for this long connects anew, perhaps to another node.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// Shorter pauses are no gaps: a busy machine has them by itself.
const GAP: Duration = Duration::from_millis(250);
/// The probe's own server answers at once: a longer pause of it is the machine's.
const STALL: Duration = Duration::from_millis(100);
/// After the hardware has moved an address its new host still binds it, and the client still finds it.
const SETTLE_MS: i64 = 1_000;

/// Reads through the LIFs of a running lab until finished or dropped.
pub struct Probe {
    dir: PathBuf,
    tracks: Vec<Arc<Mutex<Track>>>,
    /// Of the probe's own server: its gaps are the machine's stalls.
    own: Arc<Mutex<Track>>,
    readers: JoinSet<()>,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Length of the longest gap; 0 when there was none.
    pub longest_io_gap_ms: u64,
    /// Longest time between two answers, gaps and shorter pauses alike. A read is sent every 50 ms.
    pub longest_pause_ms: u64,
    /// Time in which the machine did not run the probe.
    #[serde(default)]
    pub stalled_ms: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// All gaps, in the order of their beginning.
    pub gaps: Vec<Gap>,
    /// Why it is not known which transitions were under way, when it is not.
    pub transitions_unknown: Option<String>,
}

impl ProbeReport {
    /// Gaps at a time when no takeover or giveback was under way in the LIF's pair.
    pub fn gaps_outside(&self) -> impl Iterator<Item = &Gap> {
        let threshold = GAP.as_millis() as u64;
        let unexplained = move |gap: &&Gap| gap.ms - gap.stalled_ms >= threshold;
        self.gaps
            .iter()
            .filter(|gap| gap.during.is_empty())
            .filter(unexplained)
    }
}

/// At least 250 ms without an answered read through a LIF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Node on which the LIF is at home.
    pub home: NodeName,
    /// Its address.
    pub lif: String,
    /// When the last answer before it came.
    pub start: WallTime,
    /// When the next answer came, or the probe ended.
    pub end: WallTime,
    /// How long it was.
    pub ms: u64,
    /// How much of it the machine did not run the probe: at most `ms`.
    #[serde(default)]
    pub stalled_ms: u64,
    /// Takeovers and givebacks of its home or of its home's partner that were under way.
    pub during: Vec<During>,
}

/// A transition that was under way in a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct During {
    /// Takeover or giveback.
    pub kind: WindowKind,
    /// Of which node.
    pub node: NodeName,
}

/// What is known of one LIF, or of the probe's own server.
struct Track {
    /// None for the probe's own.
    nodes: Option<(NodeName, NodeName)>,
    address: String,
    /// Pauses as long as this are kept.
    threshold: Duration,
    last_answer: Instant,
    reads: u64,
    longest_pause: Duration,
    gaps: Vec<(Instant, Instant)>,
}

impl Track {
    fn new(nodes: Option<(NodeName, NodeName)>, address: String, threshold: Duration) -> Self {
        Self {
            nodes,
            address,
            threshold,
            last_answer: Instant::now(),
            reads: 0,
            longest_pause: Duration::ZERO,
            gaps: Vec::new(),
        }
    }

    fn answered(&mut self, now: Instant) {
        self.reads += 1;
        self.close_gap(now);
        self.last_answer = now;
    }

    fn close_gap(&mut self, now: Instant) {
        let pause = now.duration_since(self.last_answer);
        self.longest_pause = self.longest_pause.max(pause);
        if pause >= self.threshold {
            self.gaps.push((self.last_answer, now));
        }
    }
}

impl Probe {
    /// Begins to read through every LIF of the lab in `dir`, within a tokio runtime.
    pub fn start(dir: &Path) -> Result<Self> {
        let lab = LabFile::read(dir)?;
        ensure!(!lab.nodes.is_empty(), "the lab has no nodes");
        let mut readers = JoinSet::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("the probe's server")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        readers.spawn(serve_own(TcpListener::from_std(listener)?));
        let mut watch = |track: Track| {
            let track = Arc::new(Mutex::new(track));
            readers.spawn(read_all_the_time(Arc::clone(&track)));
            track
        };
        let own = watch(Track::new(None, address, STALL));
        let of_node = |node: LabNode| Track::new(Some((node.name, node.partner)), node.lif, GAP);
        let tracks = lab
            .nodes
            .into_iter()
            .map(|node| watch(of_node(node)))
            .collect();
        Ok(Self {
            dir: dir.to_owned(),
            tracks,
            own,
            readers,
        })
    }

    /// The longest gap so far, one that lasts included, of those that the machine's own stalls do not
    /// explain.
    pub fn longest_unexplained_gap(&self) -> Duration {
        let now = Instant::now();
        let stalls = lock(&self.own).gaps.clone();
        let longest = |track: &Arc<Mutex<Track>>| {
            let track = lock(track);
            let all = track.gaps.iter().copied().chain([(track.last_answer, now)]);
            all.map(|(from, to)| {
                to.duration_since(from)
                    .saturating_sub(overlap((from, to), &stalls))
            })
            .filter(|length| *length >= GAP)
            .max()
        };
        self.tracks
            .iter()
            .filter_map(longest)
            .max()
            .unwrap_or_default()
    }

    /// Reads that were answered so far.
    pub fn reads(&self) -> u64 {
        self.tracks.iter().map(|track| lock(track).reads).sum()
    }

    /// Ends the reading and asks the supervisor which transitions were under way in the gaps.
    pub async fn finish(mut self) -> ProbeReport {
        self.readers.shutdown().await;
        let status = match Control::new(&self.dir) {
            Ok(control) => control.status().await,
            Err(error) => Err(error),
        };
        let now = Instant::now();
        let stalls = {
            let mut own = lock(&self.own);
            own.close_gap(now);
            own.gaps.clone()
        };
        let judge = Judge {
            now,
            wall: wall_now(),
            status: status.as_ref().ok(),
            stalls: &stalls,
        };
        let mut gaps = Vec::new();
        let (mut reads, mut longest_pause) = (0, Duration::ZERO);
        for track in &self.tracks {
            let mut track = lock(track);
            track.close_gap(now);
            reads += track.reads;
            longest_pause = longest_pause.max(track.longest_pause);
            gaps.extend(track.gaps.iter().filter_map(|gap| judge.gap(&track, *gap)));
        }
        gaps.sort_by_key(|gap| gap.start.timestamp());
        ProbeReport {
            longest_io_gap_ms: gaps.iter().map(|gap| gap.ms).max().unwrap_or(0),
            longest_pause_ms: longest_pause.as_millis() as u64,
            stalled_ms: stalls
                .iter()
                .map(|(from, to)| to.duration_since(*from).as_millis() as u64)
                .sum(),
            reads,
            gaps,
            transitions_unknown: status.err().map(|error| format!("{error:#}")),
        }
    }
}

/// Puts gaps in relation to the clocks of the wall and of the hardware.
struct Judge<'a> {
    now: Instant,
    wall: WallTime,
    status: Option<&'a LabStatus>,
    stalls: &'a [(Instant, Instant)],
}

impl Judge<'_> {
    /// The gap as it is told; none of the probe's own server.
    fn gap(&self, track: &Track, (from, to): (Instant, Instant)) -> Option<Gap> {
        let (home, partner) = track.nodes.as_ref()?;
        let under_way = |window: &&Window| {
            let ours = window.node == *home || window.node == *partner;
            ours && self.overlaps(window, from, to)
        };
        let windows = self.status.map_or(&[][..], |status| &status.windows);
        let during = windows.iter().filter(under_way).map(|window| During {
            kind: window.kind,
            node: window.node.clone(),
        });
        Some(Gap {
            home: home.clone(),
            lif: track.address.clone(),
            start: self.wall_of(from),
            end: self.wall_of(to),
            ms: to.duration_since(from).as_millis() as u64,
            stalled_ms: overlap((from, to), self.stalls).as_millis() as u64,
            during: during.collect(),
        })
    }

    fn overlaps(&self, window: &Window, from: Instant, to: Instant) -> bool {
        let Some(status) = self.status else {
            return false;
        };
        let on_hardware =
            |at: Instant| status.now_ms as i64 - self.now.duration_since(at).as_millis() as i64;
        let ends = window
            .until_ms
            .map_or(i64::MAX, |until| until as i64 + SETTLE_MS);
        on_hardware(from) <= ends && on_hardware(to) >= window.from_ms as i64
    }

    fn wall_of(&self, at: Instant) -> WallTime {
        let before = self.now.duration_since(at);
        let timestamp = self.wall.timestamp().saturating_sub(before);
        WallTime::new(timestamp.unwrap_or(self.wall.timestamp()))
    }
}

/// How much of a time the machine's stalls fill, which do not overlap each other.
fn overlap((from, to): (Instant, Instant), stalls: &[(Instant, Instant)]) -> Duration {
    let common = |(begin, end): &(Instant, Instant)| {
        to.min(*end).saturating_duration_since(from.max(*begin))
    };
    stalls.iter().map(common).sum()
}

/// Answers as LIF servers do, within this process.
async fn serve_own(listener: TcpListener) {
    let mut clients = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(clients.spawn(answer_own(stream))),
            Err(error) => {
                tracing::debug!("the probe's own server: {error}");
                tokio::time::sleep(READ_EVERY).await;
            }
        }
        while clients.try_join_next().is_some() {}
    }
}

async fn answer_own(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while matches!(stream.read_line(&mut line).await, Ok(length) if length > 0) {
        let answer = format!("DATA {} own\n", line.trim_start_matches("READ ").trim_end());
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        line.clear();
    }
}

fn wall_now() -> WallTime {
    // Only its wall time is read, which has nothing to do with a boot.
    SystemClock::new(BootId(RandomIds.uuid())).wall()
}

fn lock(track: &Mutex<Track>) -> std::sync::MutexGuard<'_, Track> {
    track.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read_all_the_time(track: Arc<Mutex<Track>>) {
    let address = lock(&track).address.clone();
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = None;
    for number in 1_u64.. {
        ticks.tick().await;
        match timeout(ANSWER_WITHIN, read_once(&address, &mut connection, number)).await {
            Ok(Ok(())) => lock(&track).answered(Instant::now()),
            Ok(Err(error)) => {
                tracing::debug!(address, "no answer: {error:#}");
                connection = None;
            }
            Err(_) => connection = None,
        }
    }
}

async fn read_once(
    address: &str,
    connection: &mut Option<BufReader<TcpStream>>,
    number: u64,
) -> Result<()> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            connection.insert(BufReader::new(stream))
        }
    };
    let request = format!("READ {number}\n");
    stream.get_mut().write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    let data = answer.strip_prefix(&format!("DATA {number} "));
    data.map(|_| ()).context("the connection ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_tells_how_much_of_it_the_machine_stalled() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let stalls = [(at(100), at(300)), (at(900), at(2000))];
        let stalled = |from, to| overlap((at(from), at(to)), &stalls).as_millis();
        assert_eq!(stalled(0, 400), 200);
        assert_eq!(stalled(150, 250), 100);
        assert_eq!(stalled(400, 800), 0);
        assert_eq!(stalled(0, 1000), 300);
    }

    #[tokio::test]
    async fn the_own_server_answers_as_a_lif_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(serve_own(listener));
        let mut connection = None;
        for number in 1..4 {
            read_once(&address, &mut connection, number).await.unwrap();
        }
        server.abort();
    }
}
