//! Steps the real agent: its futures run until they ask for something that the explorer decides on.
//!
//! A future cannot be copied, but it can be run again: what it was answered so far, in order, brings it to
//! where it was. Looks at the machine, and questions to the partner that only read, are answered at once
//! from the state at hand; acts, and what may change the partner's mind, wait for the explorer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_agent::{
    Agent, AgentParts, Bounds, ClusterView, FirmwareWork, GateAnswer, GateContext, GateScript,
    InstallError, InstallRequest, Installer, JournalEntry, Keeper, Memory, NodeDb, PackageChecks,
    Packages, PackagesError, Stage as Progressed,
};
use evenkeel_firmware::{FirmwareOrder, NodeJournal, WorkError};
use evenkeel_interconnect::{
    AgentClient, AgentRequest, AgentResponse, AgentService, CallError, Look,
};
use evenkeel_model::{
    BootId, BundledFinding, CheckOrder, Digest, FirmwareStatus, How, Monotonic, NodeName,
    NodeObservation, PackagesStatus, Progress, Slot, WallTime,
};
use evenkeel_platform::PlatformError;
use evenkeel_platform::sim::Hardware;
use evenkeel_platform::wire::{Command, Port, Reply, Transport};
use evenkeel_seam::{Clock, watch};
use tokio::runtime::{Builder, Runtime};

use super::kept::{Kept, join, print};
use super::state::name;
use crate::settings::{NEW, digest, epoch};

/// What the agent's code waits for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    /// The machine to act.
    Act(Command),
    /// The partner to answer what may change its memory.
    Call(AgentRequest),
    /// The slot to be written.
    Write(Slot),
}

/// What it was answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Memory(Kept<Memory>),
    Reply(Result<Reply, PlatformError>),
    Response(Result<AgentResponse, CallError>),
    Written(Result<(), InstallError>),
    Slept,
}

/// All that it was answered since it began.
pub(crate) type Script = Vec<Kept<Answer>>;

/// What the agents see: as it is at this step.
#[derive(Clone)]
pub(crate) struct Scenery {
    pub(crate) hardware: Kept<Hardware>,
    pub(crate) memories: [Kept<Memory>; 2],
    /// The boot that each node's daemon runs in.
    pub(crate) up: [Option<BootId>; 2],
}

impl Scenery {
    /// Of all that an observation depends on: orders that ended are no part of it.
    fn print(&self) -> u64 {
        let memories = self.memories.each_ref().map(|memory| memory.print);
        join(&(self.hardware.print, memories, self.up))
    }
}

/// Where a future came to.
pub(crate) enum CameTo {
    Asks(Ask),
    Sleeps,
    End,
}

/// One step of one node's agent.
struct Stage {
    me: usize,
    scenery: Scenery,
    script: Script,
    at: usize,
    /// The transaction at hand was answered from the script: what it stores was stored then.
    again: bool,
    /// Acts are carried out at once, on this.
    inline: Option<Hardware>,
    asks: Option<Ask>,
    forgets_generations: bool,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Stage>>);

/// Steps agents. One per exploring thread.
pub(crate) struct Stepper {
    runtime: Runtime,
    clock: Arc<dyn Clock>,
    view: watch::Receiver<ClusterView>,
    /// A rule that is broken on purpose: nodes forget the generations they have seen.
    pub(crate) forgets_generations: bool,
    /// What nodes lately saw, by all that they look at: many states differ in nothing that is seen.
    seen: RefCell<BTreeMap<u64, AgentResponse>>,
}

/// Most observations that are kept.
const MOST_SEEN: usize = 4_096;

impl Stepper {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O needs nothing");
        let view = ClusterView {
            members: vec![name(0), name(1)],
            record_reachable: true,
        };
        Self {
            runtime,
            clock: Arc::new(StoodStill),
            view: watch::channel(view).1,
            forgets_generations: false,
            seen: RefCell::default(),
        }
    }

    /// What a node's agent sees.
    pub(crate) fn observe(&self, me: usize, from: usize, scenery: &Scenery) -> AgentResponse {
        let print = join(&(me, from, scenery.print()));
        if let Some(known) = self.seen.borrow().get(&print) {
            return known.clone();
        }
        let (seen, _) = self.answer(
            me,
            from,
            scenery,
            AgentRequest::Observe { look: Look::Around },
        );
        let mut all = self.seen.borrow_mut();
        if all.len() >= MOST_SEEN {
            all.clear();
        }
        all.insert(print, seen.clone());
        seen
    }

    /// Brings an order's work from its beginning over all that it was answered to where it asks, sleeps or ends.
    pub(crate) fn carry_out(
        &self,
        me: usize,
        scenery: &Scenery,
        entry: &JournalEntry,
        script: Script,
    ) -> (CameTo, Script, Kept<Memory>) {
        let shared = self.shared(me, scenery, script, None);
        let agent = self.agent(&shared);
        let work = pin!(agent.carry_out(entry.clone()));
        let came_to = self.runtime.block_on(Step {
            work,
            shared: &shared,
        });
        let stage = shared.lock();
        let memory = stage.scenery.memories[me].clone();
        (came_to, stage.script.clone(), memory)
    }

    /// Lets a node's agent answer at once.
    pub(crate) fn answer(
        &self,
        me: usize,
        from: usize,
        scenery: &Scenery,
        request: AgentRequest,
    ) -> (AgentResponse, Kept<Memory>) {
        let shared = self.shared(me, scenery, Script::new(), None);
        let agent = self.agent(&shared);
        let response = self.runtime.block_on(agent.answer(&name(from), request));
        let memory = shared.lock().scenery.memories[me].clone();
        (response, memory)
    }

    /// What a new daemon does first.
    pub(crate) fn recover(&self, me: usize, scenery: &Scenery) -> Kept<Memory> {
        let shared = self.shared(me, scenery, Script::new(), None);
        let recovered = self.agent(&shared).recover();
        recovered.expect("plain data does not fail");
        shared.lock().scenery.memories[me].clone()
    }

    /// One round of the guard. The hardware comes back changed if it acted.
    pub(crate) fn guard(&self, me: usize, scenery: &Scenery) -> (Hardware, Kept<Memory>) {
        let hardware = (*scenery.hardware).clone();
        let shared = self.shared(me, scenery, Script::new(), Some(hardware));
        let agent = self.agent(&shared);
        let looked = self.runtime.block_on(agent.guard_once());
        looked.expect("plain data does not fail");
        let mut stage = shared.lock();
        let hardware = stage.inline.take().expect("it was put there");
        (hardware, stage.scenery.memories[me].clone())
    }

    fn shared(
        &self,
        me: usize,
        scenery: &Scenery,
        script: Script,
        inline: Option<Hardware>,
    ) -> Shared {
        Shared(Arc::new(Mutex::new(Stage {
            me,
            scenery: scenery.clone(),
            script,
            at: 0,
            again: false,
            inline,
            asks: None,
            forgets_generations: self.forgets_generations,
        })))
    }

    /// The real agent, which starts nothing by itself.
    fn agent(&self, shared: &Shared) -> Arc<Agent> {
        agent(shared, &self.clock, &self.view)
    }
}

fn agent(
    shared: &Shared,
    clock: &Arc<dyn Clock>,
    view: &watch::Receiver<ClusterView>,
) -> Arc<Agent> {
    let (me, boot) = {
        let stage = shared.lock();
        (stage.me, stage.scenery.up[stage.me])
    };
    let poll = Duration::from_millis(10);
    let agent = Agent::new(AgentParts {
        node: name(me),
        boot_id: boot.expect("only daemons that run are stepped"),
        daemon: "0".to_owned(),
        db: NodeDb::plain(shared.clone()),
        platform: Arc::new(Port::new(shared.clone())),
        peers: Arc::new(Peers {
            shared: shared.clone(),
            clock: Arc::clone(clock),
            view: view.clone(),
        }),
        packages: Arc::new(shared.clone()),
        installer: Arc::new(shared.clone()),
        clock: Arc::clone(clock),
        cluster: view.clone(),
        checks: Arc::new(Nobody),
        gate: Arc::new(Nobody),
        firmware: Arc::new(Nobody),
        minute: Duration::from_secs(1),
        bounds: Bounds {
            poll,
            // Three looks that show the same.
            no_progress: poll * 3 / 2,
            resumes: 2,
            ..Bounds::default()
        },
    });
    agent.stop();
    agent
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the explorer answered, or the question put before it.
    async fn ask<T>(&self, ask: Ask, take: impl Fn(&Answer) -> Option<T>) -> T {
        let answered = self.lock().next(&take);
        match answered {
            Some(answer) => answer,
            None => {
                self.lock().asks = Some(ask);
                pending().await
            }
        }
    }
}

impl Stage {
    /// The next answer of the script, if it is not over.
    fn next<T>(&mut self, take: impl Fn(&Answer) -> Option<T>) -> Option<T> {
        let answer = self.script.get(self.at)?;
        self.at += 1;
        let fits = take(answer);
        Some(fits.expect("the same code asks the same in the same order"))
    }

    fn look(&mut self, command: &Command) -> Result<Reply, PlatformError> {
        let reply = |answer: &Answer| match answer {
            Answer::Reply(reply) => Some(reply.clone()),
            _ => None,
        };
        if let Some(answer) = self.next(reply) {
            return answer;
        }
        let node = name(self.me);
        let hardware = self.inline.as_ref();
        let seen = hardware
            .unwrap_or(&self.scenery.hardware)
            .look(&node, command);
        self.add(Answer::Reply(seen.clone()));
        seen
    }

    fn add(&mut self, answer: Answer) {
        self.script.push(keep(answer));
        self.at += 1;
    }
}

pub(crate) fn keep(answer: Answer) -> Kept<Answer> {
    let print = match &answer {
        Answer::Memory(memory) => memory.print,
        other => print(other),
    };
    Kept::with(print, answer)
}

/// Of a memory: of what work may still read. Orders that ended are looked at by whoever asks for them by
/// their key, which a state's fingerprint takes into account.
pub(crate) fn keep_memory(memory: Memory) -> Kept<Memory> {
    let open = memory
        .orders
        .iter()
        .filter(|e| e.stage != Progressed::Ended);
    let open: Vec<u64> = open.map(|entry| entry_print(entry)).collect();
    let rest = print(&(
        memory.generation,
        &memory.given,
        &memory.held,
        &memory.devices,
        &memory.small,
    ));
    Kept::with(join(&(open, rest)), memory)
}

/// Of a journaled order.
pub(crate) fn entry_print(entry: &JournalEntry) -> u64 {
    let order = &entry.order;
    let (generation, before) = (order.generation, print(&order.before));
    let end = entry.end.as_ref().map(print);
    let stage = (entry.stage as u8, entry.resumed, end);
    join(&(order.key, generation, before, order.transition, stage))
}

impl Keeper for Shared {
    fn load(&mut self) -> Memory {
        let mut stage = self.lock();
        let memory = |answer: &Answer| match answer {
            Answer::Memory(memory) => Some((**memory).clone()),
            _ => None,
        };
        let known = stage.next(memory);
        stage.again = known.is_some();
        let mut memory = known.unwrap_or_else(|| {
            let now = stage.scenery.memories[stage.me].clone();
            stage.add(Answer::Memory(now.clone()));
            (*now).clone()
        });
        if stage.forgets_generations {
            memory.generation = evenkeel_model::Generation(0);
        }
        memory
    }

    fn store(&mut self, memory: Memory) {
        let mut stage = self.lock();
        if !stage.again {
            let me = stage.me;
            stage.scenery.memories[me] = keep_memory(memory);
        }
    }
}

#[async_trait]
impl Transport for Shared {
    async fn call(&self, command: Command) -> Result<Reply, PlatformError> {
        if !command.acts() {
            return self.lock().look(&command);
        }
        {
            let mut stage = self.lock();
            let node = name(stage.me);
            if let Some(hardware) = &mut stage.inline {
                return hardware.handle(&node, &command, 0);
            }
        }
        let reply = |answer: &Answer| match answer {
            Answer::Reply(reply) => Some(reply.clone()),
            _ => None,
        };
        self.ask(Ask::Act(command), reply).await
    }

    fn slot_path(&self, slot: Slot) -> PathBuf {
        PathBuf::from("/slots").join(slot.as_str())
    }
}

struct Peers {
    shared: Shared,
    clock: Arc<dyn Clock>,
    view: watch::Receiver<ClusterView>,
}

impl Peers {
    /// What only reads is answered by the partner's real agent, now.
    async fn read(
        &self,
        node: &NodeName,
        request: AgentRequest,
    ) -> Result<AgentResponse, CallError> {
        let (me, scenery) = {
            let stage = self.shared.lock();
            (stage.me, stage.scenery.clone())
        };
        let of = usize::from(*node == name(1));
        if scenery.up[of].is_none() {
            return Err(CallError::Unreachable {
                node: node.clone(),
                why: "its daemon does not run".to_owned(),
            });
        }
        let partner = Shared(Arc::new(Mutex::new(Stage {
            me: of,
            scenery,
            script: Script::new(),
            at: 0,
            again: false,
            inline: None,
            asks: None,
            forgets_generations: false,
        })));
        let agent = agent(&partner, &self.clock, &self.view);
        Ok(agent.answer(&name(me), request).await)
    }
}

#[async_trait]
impl AgentClient for Peers {
    async fn call(
        &self,
        node: &NodeName,
        request: AgentRequest,
    ) -> Result<AgentResponse, CallError> {
        let response = |answer: &Answer| match answer {
            Answer::Response(response) => Some(response.clone()),
            _ => None,
        };
        match &request {
            AgentRequest::Consent { .. } | AgentRequest::Release { .. } => {
                self.shared.ask(Ask::Call(request), response).await
            }
            _ => {
                let known = self.shared.lock().next(response);
                if let Some(known) = known {
                    return known;
                }
                let answered = self.read(node, request).await;
                self.shared.lock().add(Answer::Response(answered.clone()));
                answered
            }
        }
    }
}

#[async_trait]
impl Packages for Shared {
    async fn status(&self) -> Result<PackagesStatus, PackagesError> {
        Ok(PackagesStatus {
            held: vec![digest(NEW)],
            accepts_unsigned: true,
            ..PackagesStatus::default()
        })
    }

    async fn pull(&self, _package: Digest) -> Result<(), PackagesError> {
        Ok(())
    }
}

#[async_trait]
impl Installer for Shared {
    async fn install(
        &self,
        request: &InstallRequest,
        _progress: &watch::Sender<Progress>,
    ) -> Result<(), InstallError> {
        let written = |answer: &Answer| match answer {
            Answer::Written(written) => Some(written.clone()),
            _ => None,
        };
        self.ask(Ask::Write(request.slot), written).await
    }
}

/// The explored package brings no checks, and the explored update has no gates.
struct Nobody;

#[async_trait]
impl PackageChecks for Nobody {
    async fn run(
        &self,
        _order: &CheckOrder,
        _seen: &NodeObservation,
        _say: &(dyn for<'t> Fn(&'t str) + Send + Sync),
    ) -> Vec<BundledFinding> {
        Vec::new()
    }
}

#[async_trait]
impl GateScript for Nobody {
    fn is_configured(&self) -> bool {
        true
    }

    async fn ask(&self, _context: &GateContext) -> GateAnswer {
        GateAnswer::Open
    }
}

#[async_trait]
impl FirmwareWork for Nobody {
    async fn renew(
        &self,
        _order: &FirmwareOrder,
        _journal: &dyn NodeJournal,
        _progress: &watch::Sender<Progress>,
    ) -> Result<How, WorkError> {
        Ok(How::AlreadyDone)
    }

    fn status(&self) -> Result<FirmwareStatus, String> {
        Ok(FirmwareStatus::default())
    }
}

/// Time stands still: what takes time is a step of its own.
struct StoodStill;

impl Clock for StoodStill {
    fn wall(&self) -> WallTime {
        epoch()
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic {
            boot_id: BootId(uuid::Uuid::nil()),
            since_boot_ms: 0,
        }
    }
}

/// Runs work until it asks, ends, or sleeps once more than the script says it did.
struct Step<'a, F> {
    work: Pin<&'a mut F>,
    shared: &'a Shared,
}

impl<F: Future<Output = ()>> Future for Step<'_, F> {
    type Output = CameTo;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<CameTo> {
        if self.work.as_mut().poll(context).is_ready() {
            return Poll::Ready(CameTo::End);
        }
        let mut stage = self.shared.lock();
        if let Some(ask) = stage.asks.take() {
            return Poll::Ready(CameTo::Asks(ask));
        }
        let slept = |answer: &Answer| matches!(answer, Answer::Slept).then_some(());
        match stage.next(slept) {
            // The clock jumps to the end of the sleep.
            Some(()) => Poll::Pending,
            None => Poll::Ready(CameTo::Sleeps),
        }
    }
}
