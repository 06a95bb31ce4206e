//! Keeps a [`View`] up to date and hands it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evenkeel_model::{Monotonic, Position, WallTime};
use evenkeel_seam::watch;
use evenkeel_seam::{Clock, Pulse};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::append::Entry;
use crate::mirror::Mirror;
use crate::own::{OwnRecord, not_its_own};
use crate::record::{Record, Unavailable};
use crate::view::View;

/// Entries per read. With events of 128 KiB at most, a page stays within 32 MiB.
const PAGE: usize = 256;
/// Entries that a slow reader of the broadcast may fall behind before it loses some.
const BROADCAST: usize = 1024;
/// Entries kept for a mirror that cannot be written; beyond, it is left as it is until the next start.
const UNMIRRORED: usize = 4096;
/// Reads that may wait to be asked for.
const REQUESTS: usize = 64;
/// How long someone who asks for a fresh read waits: what a backend may take, and some.
const REFRESH_WAIT: Duration = Duration::from_secs(30);

/// What the view is worth: when the record was last reached, and what keeps it from being reached now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contact {
    /// When the record last answered, if it did since this daemon started.
    pub last: Option<Reached>,
    /// Why it does not answer now; none while it does.
    pub trouble: Option<String>,
}

/// A moment, to measure from and to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// To measure from.
    pub monotonic: Monotonic,
    /// To show.
    pub wall: WallTime,
}

impl Contact {
    /// Whether the last try to reach the record succeeded.
    pub fn is_reachable(&self) -> bool {
        self.last.is_some() && self.trouble.is_none()
    }

    /// How old the view may be: the time since the record last answered. None when it never did.
    pub fn age(&self, now: Monotonic) -> Option<Duration> {
        now.since(self.last?.monotonic)
    }
}

/// How to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowOptions {
    /// How often to read without being rung for; bounds how long a lost ring goes unnoticed.
    pub poll: Duration,
    /// How soon to try again when the record did not answer.
    pub retry: Duration,
    /// What a record that is not the known cluster's means.
    pub loyalty: Loyalty,
}

/// What is made of a record that is empty, or of another cluster, while the mirror or the view has a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loyalty {
    /// The node belongs to that cluster, and its copy may be the last one: it is kept, and the record counts as unavailable.
    ToItsCluster,
    /// The node belongs to no cluster: it follows whatever is there.
    ToNone,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(2),
            retry: Duration::from_millis(250),
            loyalty: Loyalty::ToItsCluster,
        }
    }
}

type Refresh = oneshot::Sender<Result<Arc<View>, Unavailable>>;

/// Handle to the task that follows the record. Dropping it ends the task.
#[derive(Debug)]
pub struct Follower {
    view: watch::Receiver<Arc<View>>,
    contact: watch::Receiver<Contact>,
    entries: broadcast::Sender<Arc<Entry>>,
    refresh: mpsc::Sender<Refresh>,
    pulse: Pulse,
    is_loyal: Arc<AtomicBool>,
    estranged: watch::Receiver<Option<Unavailable>>,
    task: JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Follower {
    /// Starts from the mirror, so the first view is there when this returns; then follows the record.
    pub async fn start(
        record: Arc<dyn Record>,
        mirror: Arc<dyn Mirror>,
        clock: Arc<dyn Clock>,
        options: FollowOptions,
    ) -> Self {
        let (view, contact) = (watch::Sender::default(), watch::Sender::default());
        let (entries, _) = broadcast::channel(BROADCAST);
        let (refresh, requests) = mpsc::channel(REQUESTS);
        let receivers = (view.subscribe(), contact.subscribe());
        let is_loyal = Arc::new(AtomicBool::new(options.loyalty == Loyalty::ToItsCluster));
        let (estranging, estranged) = watch::channel(None);
        let mut following = Following {
            record,
            mirror,
            clock,
            view,
            contact,
            entries: entries.clone(),
            current: View::default(),
            first: None,
            last: None,
            is_loyal: Arc::clone(&is_loyal),
            estranging,
            news: Vec::new(),
            unmirrored: Vec::new(),
            restarted: false,
            pulse: Pulse::default(),
        };
        let pulse = following.pulse.clone();
        following.start_from_mirror().await;
        let task = tokio::spawn(following.run(requests, options));
        Self {
            view: receivers.0,
            contact: receivers.1,
            entries,
            refresh,
            pulse,
            is_loyal,
            estranged,
            task,
        }
    }

    /// Beats while the task goes on, whether or not the record can be reached. Between two beats it waits for an answer of the
    /// record, which the backend bounds, and one of the mirror, or for [`FollowOptions::poll`].
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// From now on the node belongs to the cluster that it follows; see [`Loyalty`].
    pub fn be_loyal(&self) {
        self.is_loyal.store(true, Ordering::Relaxed);
    }

    /// The record that this follows, refused to everyone while it is not the known cluster's.
    pub fn own(&self, record: Arc<dyn Record>) -> OwnRecord {
        OwnRecord::new(record, self.estranged.clone())
    }

    /// The newest view.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Every newer view; a slow reader sees the newest only.
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// What the view is worth.
    pub fn contact(&self) -> Contact {
        self.contact.borrow().clone()
    }

    /// Tells when the record is reached or lost.
    pub fn contacts(&self) -> watch::Receiver<Contact> {
        self.contact.clone()
    }

    /// Entries as they are folded, from now on. A reader that falls far behind learns that it lost some.
    pub fn entries(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.entries.subscribe()
    }

    /// Reads the record now: the view holds all that was appended before this call.
    pub async fn refresh(&self) -> Result<Arc<View>, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            let ended = || Unavailable::new("the follower of the record has ended");
            self.refresh.send(answer).await.map_err(|_| ended())?;
            answered.await.map_err(|_| ended())?
        };
        match timeout(REFRESH_WAIT, asked).await {
            Ok(result) => result,
            Err(_) => Err(Unavailable::new("the record does not answer in time")),
        }
    }

    /// The view once it holds the event at `position`: after an append, what was appended is in it.
    pub async fn at_least(&self, position: Position) -> Result<Arc<View>, Unavailable> {
        let view = self.view();
        if view.position() >= position {
            return Ok(view);
        }
        self.refresh().await
    }
}

/// The task's state.
struct Following {
    record: Arc<dyn Record>,
    mirror: Arc<dyn Mirror>,
    clock: Arc<dyn Clock>,
    view: watch::Sender<Arc<View>>,
    contact: watch::Sender<Contact>,
    entries: broadcast::Sender<Arc<Entry>>,
    /// What was folded; ahead of the published view while a read is under way.
    current: View,
    /// The entry that the record began with; it tells one record from another.
    first: Option<Entry>,
    /// The entry `current` ends with.
    last: Option<Entry>,
    /// See [`Loyalty`].
    is_loyal: Arc<AtomicBool>,
    /// Why the record is not the known cluster's, while it is not.
    estranging: watch::Sender<Option<Unavailable>>,
    /// Entries that are folded, but not published.
    news: Vec<Entry>,
    /// Entries that are published, but not in the mirror.
    unmirrored: Vec<Entry>,
    /// Whether everything is being read anew, which is no news to those who listen to entries.
    restarted: bool,
    /// That the task goes on.
    pulse: Pulse,
}

impl Following {
    async fn start_from_mirror(&mut self) {
        let entries = match self.mirror.load().await {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, "starting without the mirror");
                self.forget().await;
                return;
            }
        };
        match View::replay(&entries) {
            Ok(view) => {
                self.first = entries.first().cloned();
                self.last = entries.into_iter().last();
                self.current = view.clone();
                self.view.send_replace(Arc::new(view));
            }
            Err(gap) => {
                tracing::warn!(%gap, "the mirror has a gap");
                self.forget().await;
            }
        }
    }

    async fn run(mut self, mut requests: mpsc::Receiver<Refresh>, options: FollowOptions) {
        let mut doorbell = self.record.doorbell();
        let mut rings = true;
        let mut waiting: Vec<Refresh> = Vec::new();
        loop {
            self.pulse.beat();
            doorbell.mark_unchanged();
            let read = self.read().await;
            self.note_contact(&read);
            for asked in waiting.drain(..) {
                let view = Arc::clone(&self.view.borrow());
                // Whoever asked may have stopped waiting.
                let _unheard = asked.send(read.clone().map(|()| view));
            }
            let pause = if read.is_ok() {
                options.poll
            } else {
                options.retry
            };
            tokio::select! {
                biased;
                rung = doorbell.changed(), if rings && read.is_ok() => rings = rung.is_ok(),
                asked = requests.recv() => match asked {
                    Some(asked) => waiting.push(asked),
                    None => return,
                },
                () = sleep(pause) => {}
            }
            // Everyone who asked before the read begins is answered by it.
            while let Ok(asked) = requests.try_recv() {
                waiting.push(asked);
            }
        }
    }

    /// Reads and folds all there is. Only whole reads are published, so an append to several streams is seen
    /// whole or not at all.
    async fn read(&mut self) -> Result<(), Unavailable> {
        let mut page = self.beyond_the_known().await?;
        loop {
            // A long record is many pages: each of them is progress.
            self.pulse.beat();
            // A short page is not the last one: the backend may have had no time for more.
            let is_last = page.is_empty();
            for entry in page {
                let is_first = self.current.position() == Position::default();
                if let Err(gap) = self.current.apply(&entry) {
                    tracing::error!(%gap, "the record does not continue what was read before");
                    self.start_over().await?;
                    return Err(Unavailable::new(format!("starting over: {gap}")));
                }
                if is_first {
                    self.first = Some(entry.clone());
                }
                self.news.push(entry);
            }
            if is_last {
                break;
            }
            page = self.next_page().await?;
        }
        self.publish().await;
        self.pulse.beat();
        Ok(())
    }

    async fn publish(&mut self) {
        if self.news.is_empty() && !self.restarted {
            return;
        }
        let news = std::mem::take(&mut self.news);
        let restarted = std::mem::take(&mut self.restarted);
        if let Some(last) = news.last() {
            self.last = Some(last.clone());
        }
        self.view.send_replace(Arc::new(self.current.clone()));
        self.keep(&news).await;
        for entry in news.into_iter().filter(|_| !restarted) {
            // No one may be listening.
            let _unheard = self.entries.send(Arc::new(entry));
        }
    }

    /// The mirror gets every entry or, once it is too far behind, no more: what it has is always a beginning
    /// of the record.
    async fn keep(&mut self, news: &[Entry]) {
        if self.unmirrored.len() > UNMIRRORED {
            return;
        }
        self.unmirrored.extend_from_slice(news);
        match self.mirror.store(&self.unmirrored).await {
            Ok(()) => self.unmirrored.clear(),
            Err(error) => tracing::warn!(%error, "the mirror falls behind"),
        }
    }

    async fn next_page(&self) -> Result<Vec<Entry>, Unavailable> {
        let after = self.current.position();
        self.record.read_since(after, PAGE).await
    }

    /// The first page after what is known. Each time the record must hold what is known last, or it is another one by now: a backup
    /// was put back, it was emptied, or another cluster has begun in its place.
    async fn beyond_the_known(&mut self) -> Result<Vec<Entry>, Unavailable> {
        if let Some(known) = self.news.last().or(self.last.as_ref()) {
            let before = Position(known.position.0.saturating_sub(1));
            let mut page = self.record.read_since(before, PAGE).await?;
            if page.first() == Some(known) {
                page.remove(0);
                self.estrange(None);
                return match page.is_empty() {
                    // What was read may have been all that there was time for.
                    true => self.next_page().await,
                    false => Ok(page),
                };
            }
            self.start_over().await?;
        } else if self.of_its_cluster().is_some() {
            // Nothing is known, or it is being read anew.
            self.start_over().await?;
        }
        self.estrange(None);
        self.next_page().await
    }

    /// Starts over with a record that went another way from the same beginning: a backup was restored. One with another
    /// beginning, or with none, is not this cluster's: what is known stays, and the error says so.
    async fn start_over(&mut self) -> Result<(), Unavailable> {
        if let Some(own) = self.of_its_cluster() {
            let found = self.record.read_since(Position::default(), 1).await;
            if found.as_ref().is_ok_and(|it| it.first() != Some(own)) {
                let name = self.cluster_name().unwrap_or_default();
                let why = not_its_own(&name, found.is_ok_and(|it| it.is_empty()));
                self.drop_unpublished();
                self.estrange(Some(why.clone()));
                return Err(why);
            }
            if let Err(why) = found {
                self.drop_unpublished();
                return Err(why);
            }
        }
        let position = self.last.as_ref().map(|last| last.position);
        tracing::warn!(
            ?position,
            "the record is not what was known of it: it is read anew"
        );
        self.forget().await;
        Ok(())
    }

    /// What the record of the node's cluster begins with. None while it knows no cluster, or belongs to none.
    fn of_its_cluster(&self) -> Option<&Entry> {
        let is_loyal = self.is_loyal.load(Ordering::Relaxed);
        self.cluster_name()
            .filter(|_| is_loyal)
            .and(self.first.as_ref())
    }

    /// By the published view, which stays while a record is read anew.
    fn cluster_name(&self) -> Option<String> {
        let view = self.view.borrow();
        view.control().topology.as_ref().map(|it| it.name.clone())
    }

    fn estrange(&self, why: Option<Unavailable>) {
        self.estranging.send_if_modified(|known| {
            let is_news = *known != why;
            if let Some(why) = why.as_ref().filter(|_| is_news) {
                tracing::error!(%why, "the record is not followed");
            }
            *known = why;
            is_news
        });
    }

    /// Back to what is published: what was read since is of another record, or to be read again.
    fn drop_unpublished(&mut self) {
        self.news.clear();
        self.current = match self.restarted {
            true => View::default(),
            false => View::clone(&self.view.borrow()),
        };
    }

    /// Starts over. The published view stays until a better one is there: an old answer beats none.
    async fn forget(&mut self) {
        if self.of_its_cluster().is_none() {
            self.first = None;
        }
        self.current = View::default();
        self.last = None;
        self.news.clear();
        self.unmirrored.clear();
        self.restarted = true;
        if let Err(error) = self.mirror.clear().await {
            tracing::warn!(%error, "cannot clear the mirror");
        }
    }

    fn note_contact(&mut self, read: &Result<(), Unavailable>) {
        let trouble = read
            .as_ref()
            .err()
            .map(|unavailable| unavailable.why.clone());
        let wall = self.clock.wall();
        let reached = Reached {
            monotonic: self.clock.monotonic(),
            wall,
        };
        self.contact.send_if_modified(|contact| {
            let was_reachable = contact.is_reachable();
            let had = contact.trouble.take();
            if trouble.is_none() {
                contact.last = Some(reached);
            }
            contact.trouble = trouble;
            // Being reached again and again is no news.
            contact.is_reachable() != was_reachable || contact.trouble != had
        });
    }
}
