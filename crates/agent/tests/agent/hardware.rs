//! A pair of controllers, faked behind the platform traits, and the point at which a test kills.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_agent::{InstallError, InstallRequest, Installer, Packages, PackagesError};
use evenkeel_interconnect::{AgentClient, AgentRequest, AgentResponse, CallError, LocalClient};
use evenkeel_model::*;
use evenkeel_platform::{
    Addresses, BootSlots, Failover, GivebackRequest, Inventory, PlatformError, Power,
    RebootRequest, TakeoverRequest,
};
use evenkeel_seam::watch;
use tokio::sync::Notify;

pub(crate) fn name(s: &str) -> NodeName {
    NodeName::new(s).unwrap()
}

pub(crate) fn boot(n: u128) -> BootId {
    BootId(uuid::Uuid::from_u128(n))
}

pub(crate) const OLD: Digest = Digest([1; 32]);
pub(crate) const NEW: Digest = Digest([2; 32]);

pub(crate) fn image(digest: Digest) -> SlotImage {
    let version = Version::new(if digest == NEW { "2.0" } else { "1.0" }).unwrap();
    SlotImage { digest, version }
}

/// Where a kill strikes: the nth call that leaves the agent, before or after its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

/// Counts the calls of one agent and stops it for good at the chosen one.
#[derive(Default)]
pub(crate) struct Trap {
    calls: AtomicUsize,
    at: Mutex<Option<(usize, When)>>,
    pub(crate) sprung: Notify,
}

impl Trap {
    pub(crate) fn arm(&self, call: usize, when: When) {
        self.calls.store(0, Ordering::SeqCst);
        *self.at.lock().unwrap() = Some((call, when));
    }

    pub(crate) fn disarm(&self) {
        *self.at.lock().unwrap() = None;
    }

    fn count(&self) -> usize {
        self.calls.fetch_add(1, Ordering::SeqCst)
    }

    async fn pass(&self, call: usize, when: When) {
        if *self.at.lock().unwrap() == Some((call, when)) {
            self.sprung.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// What was done to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    TakeOver(NodeName),
    GiveBack(PoolName),
    /// Of a takeover that holds no pool.
    EndTakeover,
    SendHome(LifName),
    ServeAlone(NodeName),
    Unbootable(Slot),
    Install(Slot),
    SetDefault(Slot),
    MarkGood(Slot),
}

pub(crate) struct Member {
    pub(crate) boot: BootId,
    pub(crate) ha: MemberHa,
    pub(crate) slots: SlotsState,
}

/// Silence that the HA engine is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It does what it is asked, but does not answer.
    Acts,
    /// It neither acts nor answers.
    Ignores,
}

pub(crate) struct State {
    pub(crate) a: Member,
    pub(crate) b: Member,
    pub(crate) transition: Option<Transition>,
    pub(crate) pools: Vec<PoolState>,
    pub(crate) lifs: Vec<LifState>,
    pub(crate) enabled: bool,
    pub(crate) takeover_veto: Option<String>,
    pub(crate) refuse_takeover: Option<String>,
    pub(crate) giveback_veto: Option<String>,
    pub(crate) refuse_alone: Option<String>,
    pub(crate) silent: Vec<Silence>,
    pub(crate) blind: bool,
    pub(crate) latency: Duration,
    pub(crate) stuck: bool,
    pub(crate) effects: Vec<Effect>,
    pub(crate) held: Vec<Digest>,
    pub(crate) pull: Result<(), PackagesError>,
    pub(crate) install: Result<(), InstallError>,
}

impl State {
    pub(crate) fn member(&mut self, node: &NodeName) -> &mut Member {
        if *node == name("a") {
            &mut self.a
        } else {
            &mut self.b
        }
    }

    /// One step of whatever the engine is doing.
    fn step(&mut self) {
        if self.stuck {
            return;
        }
        let Some(mut transition) = self.transition.clone() else {
            return;
        };
        let taken = transition.taken.clone();
        match transition.stage {
            TransitionStage::TakingOver => {
                for pool in &mut self.pools {
                    pool.owner = Some(transition.by.clone());
                }
                for lif in &mut self.lifs {
                    lif.current = Some(transition.by.clone());
                }
                self.member(&taken).ha = MemberHa::Booting;
                transition.stage = TransitionStage::TakenOver;
            }
            TransitionStage::TakenOver => self.boots(&taken),
            TransitionStage::GivingBack if self.all_home() => {
                self.member(&taken).ha = MemberHa::Serving;
                transition.stage = TransitionStage::GivenBack;
            }
            TransitionStage::GivingBack | TransitionStage::GivenBack => {}
        }
        self.transition = Some(transition);
    }

    /// Lets a taken node boot.
    pub(crate) fn step_until_waiting(&mut self) {
        self.step();
        self.step();
    }

    fn boots(&mut self, node: &NodeName) {
        let member = self.member(node);
        if member.ha == MemberHa::Booting {
            member.boot = boot(member.boot.0.as_u128() + 100);
            member.ha = MemberHa::WaitingForGiveback;
            member.slots.booted = member.slots.default;
        }
    }

    fn all_home(&self) -> bool {
        self.pools
            .iter()
            .all(|pool| pool.owner.as_ref() == Some(&pool.home))
    }
}

#[derive(Clone)]
pub(crate) struct Hardware(Arc<Mutex<State>>);

fn slots() -> SlotsState {
    SlotsState {
        booted: Slot::A,
        default: Slot::A,
        a: SlotState {
            health: SlotHealth::Good,
            image: Some(image(OLD)),
        },
        b: SlotState {
            health: SlotHealth::Good,
            image: None,
        },
        writable: true,
    }
}

impl Hardware {
    pub(crate) fn new() -> Self {
        let member = |n| Member {
            boot: boot(n),
            ha: MemberHa::Serving,
            slots: slots(),
        };
        let pool = |node: &str, n: &str| PoolState {
            name: PoolName::new(format!("{n}_{node}")).unwrap(),
            home: name(node),
            owner: Some(name(node)),
            root: n == "root",
            health: PoolHealth::Online,
            scrubbing: false,
            unseen: false,
        };
        let lif = |node: &str| LifState {
            name: LifName::new(format!("lif_{node}")).unwrap(),
            home: name(node),
            current: Some(name(node)),
            has_failover_target: true,
        };
        Self(Arc::new(Mutex::new(State {
            a: member(1),
            b: member(2),
            transition: None,
            pools: vec![
                pool("a", "data"),
                pool("a", "root"),
                pool("b", "data"),
                pool("b", "root"),
            ],
            lifs: vec![lif("a"), lif("b")],
            enabled: true,
            takeover_veto: None,
            refuse_takeover: None,
            giveback_veto: None,
            refuse_alone: None,
            silent: Vec::new(),
            blind: false,
            latency: Duration::ZERO,
            stuck: false,
            effects: Vec::new(),
            held: vec![OLD, NEW],
            pull: Ok(()),
            install: Ok(()),
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.state().effects.clone()
    }

    /// `by` has taken `node` over and `node` waits for giveback on a new boot.
    pub(crate) fn taken(&self, node: &str, by: &str, id: Option<TransitionId>) {
        let mut state = self.state();
        let boot_before = Some(state.member(&name(node)).boot);
        let stage = TransitionStage::TakingOver;
        let (taken, by) = (name(node), name(by));
        state.transition = Some(Transition {
            id,
            taken,
            by,
            boot_before,
            clean: true,
            stage,
            trouble: None,
        });
        state.step();
        state.step();
    }
}

/// One node's machine, store and installer.
pub(crate) struct Machine {
    pub(crate) node: NodeName,
    pub(crate) hardware: Hardware,
    pub(crate) trap: Arc<Trap>,
}

impl Machine {
    async fn call<T>(
        &self,
        act: impl FnOnce(&mut State) -> Result<T, PlatformError> + Send,
    ) -> Result<T, PlatformError> {
        let call = self.trap.count();
        self.trap.pass(call, When::Before).await;
        let latency = self.hardware.state().latency;
        tokio::time::sleep(latency).await;
        let answer = act(&mut self.hardware.state());
        self.trap.pass(call, When::After).await;
        answer
    }
}

fn refused<T>(why: &str) -> Result<T, PlatformError> {
    Err(PlatformError::Refused(why.to_owned()))
}

fn silent<T>() -> Result<T, PlatformError> {
    Err(PlatformError::Unavailable("silence".to_owned()))
}

#[async_trait]
impl Failover for Machine {
    async fn pair(&self) -> Result<Option<PairState>, PlatformError> {
        let node = self.node.clone();
        self.call(|state| {
            if state.blind {
                return silent();
            }
            state.step();
            let other = name(if node == name("a") { "b" } else { "a" });
            let member = |state: &mut State, node: &NodeName| MemberState {
                node: node.clone(),
                ha: state.member(node).ha,
                boot_id: Some(state.member(node).boot),
            };
            Ok(Some(PairState {
                enabled: state.enabled,
                local: member(state, &node),
                partner: member(state, &other),
                takeover_veto: state.takeover_veto.clone(),
                takeover_veto_passes: false,
                giveback_veto: state.giveback_veto.clone(),
                giveback_veto_passes: false,
                transition: state.transition.clone(),
            }))
        })
        .await
    }

    async fn take_over(&self, request: &TakeoverRequest) -> Result<(), PlatformError> {
        let by = self.node.clone();
        self.call(|state| {
            let silence = state.silent.pop();
            if silence == Some(Silence::Ignores) {
                return silent();
            }
            if let Some(veto) = &state.refuse_takeover {
                return refused(veto);
            }
            let standing = state
                .transition
                .clone()
                .filter(|t| t.stage != TransitionStage::GivenBack);
            match standing {
                Some(standing) if standing.id == Some(request.id) => return Ok(()),
                Some(_) => {
                    // A real engine may not be so good: being asked is the harm.
                    state.effects.push(Effect::TakeOver(by.clone()));
                    return refused("a takeover stands");
                }
                None => {}
            }
            let taken = name(if by == name("a") { "b" } else { "a" });
            if state.member(&taken).boot != request.partner_boot
                || state.member(&by).boot != request.local_boot
            {
                return refused("another boot");
            }
            state.effects.push(Effect::TakeOver(taken.clone()));
            state.transition = Some(Transition {
                id: Some(request.id),
                boot_before: Some(request.partner_boot),
                taken,
                by,
                clean: true,
                stage: TransitionStage::TakingOver,
                trouble: None,
            });
            if silence.is_some() { silent() } else { Ok(()) }
        })
        .await
    }

    async fn give_back(&self, request: &GivebackRequest) -> Result<(), PlatformError> {
        self.call(|state| {
            let silence = state.silent.pop();
            if silence == Some(Silence::Ignores) {
                return silent();
            }
            if let Some(veto) = &state.giveback_veto {
                return refused(veto);
            }
            let Some(mut transition) = state.transition.clone() else {
                return refused("none");
            };
            if transition.id != Some(request.id) {
                return refused("not that takeover");
            }
            let away =
                |p: &PoolState| p.home == transition.taken && p.owner.as_ref() != Some(&p.home);
            let Some(name) = &request.pool else {
                if state.pools.iter().any(away) {
                    return refused("a pool is to go home");
                }
                if transition.stage != TransitionStage::TakenOver {
                    return Ok(());
                }
                transition.stage = TransitionStage::GivingBack;
                state.transition = Some(transition);
                state.effects.push(Effect::EndTakeover);
                return if silence.is_some() { silent() } else { Ok(()) };
            };
            let root_away = state
                .pools
                .iter()
                .any(|p| p.root && p.home == transition.taken && p.owner.as_ref() != Some(&p.home));
            let Some(pool) = state.pools.iter_mut().find(|p| p.name == *name) else {
                return refused("no such pool");
            };
            if pool.owner.as_ref() == Some(&pool.home) {
                return Ok(());
            }
            if root_away && !pool.root {
                return refused("the root pool goes first");
            }
            pool.owner = Some(pool.home.clone());
            transition.stage = TransitionStage::GivingBack;
            state.member(&transition.taken).ha = MemberHa::PartialGiveback;
            state.transition = Some(transition);
            state.effects.push(Effect::GiveBack(name.clone()));
            if silence.is_some() { silent() } else { Ok(()) }
        })
        .await
    }

    async fn serve_alone(&self) -> Result<(), PlatformError> {
        let node = self.node.clone();
        self.call(|state| {
            if let Some(why) = &state.refuse_alone {
                return refused(why);
            }
            state.effects.push(Effect::ServeAlone(node.clone()));
            state.member(&node).ha = MemberHa::Serving;
            Ok(())
        })
        .await
    }
    async fn witness(&self) -> Result<Option<WitnessState>, PlatformError> {
        Ok(None)
    }
    async fn fencing(&self) -> Result<Option<FencingState>, PlatformError> {
        silent()
    }
}

#[async_trait]
impl BootSlots for Machine {
    async fn slots(&self) -> Result<SlotsState, PlatformError> {
        let node = self.node.clone();
        self.call(|state| Ok(state.member(&node).slots.clone()))
            .await
    }

    fn path(&self, slot: Slot) -> PathBuf {
        PathBuf::from(format!("/slots/{slot}"))
    }

    async fn mark_unbootable(&self, slot: Slot) -> Result<(), PlatformError> {
        let node = self.node.clone();
        self.call(|state| {
            let slots = &mut state.member(&node).slots;
            if slots.booted == slot {
                return refused("the booted slot");
            }
            *slots.slot_mut(slot) = SlotState {
                health: SlotHealth::Unbootable,
                image: None,
            };
            state.effects.push(Effect::Unbootable(slot));
            Ok(())
        })
        .await
    }

    async fn set_default(&self, slot: Slot, tries: u8) -> Result<(), PlatformError> {
        let node = self.node.clone();
        self.call(|state| {
            let slots = &mut state.member(&node).slots;
            slots.default = slot;
            slots.slot_mut(slot).health = SlotHealth::Untried { tries };
            state.effects.push(Effect::SetDefault(slot));
            Ok(())
        })
        .await
    }

    async fn mark_good(&self, slot: Slot) -> Result<(), PlatformError> {
        let node = self.node.clone();
        self.call(|state| {
            state.member(&node).slots.slot_mut(slot).health = SlotHealth::Good;
            state.effects.push(Effect::MarkGood(slot));
            Ok(())
        })
        .await
    }
    async fn boot_settings(&self) -> Result<BootSettings, PlatformError> {
        silent()
    }
}

#[async_trait]
impl Power for Machine {
    async fn boot_id(&self) -> Result<BootId, PlatformError> {
        let node = self.node.clone();
        self.call(|state| Ok(state.member(&node).boot)).await
    }

    async fn sp(&self) -> Result<SpState, PlatformError> {
        Ok(SpState {
            reachable: true,
            image_ok: true,
            absent: false,
        })
    }
    async fn reboot(&self, _request: &RebootRequest) -> Result<(), PlatformError> {
        silent()
    }
    async fn partner_sp(&self) -> Result<Option<PartnerSp>, PlatformError> {
        silent()
    }
}

#[async_trait]
impl Addresses for Machine {
    async fn lifs(&self) -> Result<Vec<LifState>, PlatformError> {
        self.call(|state| Ok(state.lifs.clone())).await
    }

    async fn send_home(&self, lif: &LifName) -> Result<(), PlatformError> {
        self.call(|state| {
            let moved = state.lifs.iter_mut().find(|l| l.name == *lif).unwrap();
            moved.current = Some(moved.home.clone());
            state.effects.push(Effect::SendHome(lif.clone()));
            Ok(())
        })
        .await
    }
    async fn ports(&self) -> Result<Vec<PortState>, PlatformError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Inventory for Machine {
    async fn pools(&self) -> Result<Vec<PoolState>, PlatformError> {
        self.call(|state| Ok(state.pools.clone())).await
    }
    async fn disks(&self) -> Result<Vec<DiskState>, PlatformError> {
        // A look that never ends: only the bound ends it.
        std::future::pending().await
    }
    async fn load(&self) -> Result<Load, PlatformError> {
        Ok(Load {
            cpu_percent: 1,
            disk_percent: 1,
        })
    }
    async fn time_sync(&self) -> Result<TimeSync, PlatformError> {
        silent()
    }
    async fn exclusive_jobs(&self) -> Result<Vec<String>, PlatformError> {
        Ok(Vec::new())
    }
    async fn alerts(&self) -> Result<Vec<String>, PlatformError> {
        Ok(Vec::new())
    }
    async fn client_hazards(&self) -> Result<Vec<String>, PlatformError> {
        Ok(Vec::new())
    }
    async fn space(&self) -> Result<Space, PlatformError> {
        Ok(Space {
            store_free: 1,
            slot_free: 1,
            root_free: 1,
        })
    }
    async fn unowned_disks(&self) -> Result<Vec<DiskSerial>, PlatformError> {
        Ok(Vec::new())
    }
    async fn shelves(&self) -> Result<Vec<ShelfState>, PlatformError> {
        Ok(Vec::new())
    }
    async fn client_risks(&self) -> Result<Vec<ClientRisk>, PlatformError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Packages for Machine {
    async fn status(&self) -> Result<PackagesStatus, PackagesError> {
        let held = self.call(|state| Ok(state.held.clone())).await.unwrap();
        Ok(PackagesStatus {
            held,
            ..PackagesStatus::default()
        })
    }

    async fn pull(&self, package: Digest) -> Result<(), PackagesError> {
        let pulled = self.call(|state| {
            if state.pull.is_ok() {
                state.held.push(package);
            }
            Ok(state.pull.clone())
        });
        pulled.await.unwrap()
    }
}

#[async_trait]
impl Installer for Machine {
    async fn install(
        &self,
        request: &InstallRequest,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), InstallError> {
        progress.send_modify(|p| p.done += 1);
        let node = self.node.clone();
        let installed = self.call(|state| {
            assert_ne!(
                state.member(&node).slots.booted,
                request.slot,
                "never the running slot"
            );
            let outcome = state.install.clone();
            if outcome.is_ok() {
                let slot = state.member(&node).slots.slot_mut(request.slot);
                assert_eq!(
                    slot.health,
                    SlotHealth::Unbootable,
                    "marked before it is written"
                );
                slot.image = Some(image(request.package));
                state.effects.push(Effect::Install(request.slot));
            }
            Ok(outcome)
        });
        installed.await.unwrap()
    }
}

/// Calls that leave the agent can be its last, too.
pub(crate) struct TrappedClient {
    pub(crate) client: Arc<LocalClient>,
    pub(crate) trap: Arc<Trap>,
}

#[async_trait]
impl AgentClient for TrappedClient {
    async fn call(
        &self,
        node: &NodeName,
        request: AgentRequest,
    ) -> Result<AgentResponse, CallError> {
        let call = self.trap.count();
        self.trap.pass(call, When::Before).await;
        let answer = self.client.call(node, request).await;
        self.trap.pass(call, When::After).await;
        answer
    }
}
