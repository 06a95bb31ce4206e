//! Power, the boot loader and its counting, and the faults' immediate consequences.

use evenkeel_model::{BootId, NodeName, Slot, SlotHealth};
use uuid::Builder;

use super::check::Cause;
use super::command::Effect;
use super::fault::Fault;
use super::hardware::{Hardware, PowerState, UnknownNode};
use crate::traits::{PlatformError, RebootRequest};

/// How much longer [`Fault::SlowBoot`] makes a boot.
const SLOW_BOOT: u64 = 10;
/// The part of a minute for which a node with [`Fault::Flap`] stays up.
const FLAP_PARTS: u64 = 2;

impl Hardware {
    /// Gives every node power at once, as after a power cut of the whole machine room; the boots take no
    /// time. Nodes with [`Fault::PowerOff`] stay dark. A boot that was running before has ended.
    pub fn cold_start(&mut self, now_ms: u64) {
        self.now = self.now.max(now_ms);
        self.cause = Cause::outside("power of all nodes was cut");
        let names: Vec<NodeName> = self.nodes.keys().cloned().collect();
        for name in &names {
            self.lose_power(name);
        }
        self.cold_start_devices();
        for name in &names {
            // Who carried its partner comes up first: the partner then waits for giveback as before.
            let duration_ms = u64::from(self.is_carried(name));
            let node = self.at_mut(name);
            (node.detect_at, node.proven_lost) = (None, node.has(Fault::PowerOff));
            if !node.has(Fault::PowerOff) {
                self.begin_boot(name, duration_ms);
            }
        }
        self.watch_service();
        self.changed();
    }

    /// Puts a fault on a node or takes it off.
    pub fn set_fault(
        &mut self,
        node: &NodeName,
        fault: Fault,
        on: bool,
        now_ms: u64,
    ) -> Result<(), UnknownNode> {
        self.advance_quietly(now_ms);
        let faults = &mut self.node_mut(node)?.faults;
        let changed = if on {
            faults.insert(fault)
        } else {
            faults.remove(&fault)
        };
        if changed {
            let set = if on { "fault" } else { "fault cleared" };
            self.cause = Cause::outside(format!("{set}: {fault} on {node}"));
            self.note(node, format!("{set}: {fault}"));
            self.follow_fault(node, fault, on);
            self.watch_service();
        }
        Ok(())
    }

    /// The node starts anew without warning: a panic, a watchdog, a reset button.
    pub fn reset(&mut self, node: &NodeName, why: &str, now_ms: u64) -> Result<(), UnknownNode> {
        self.advance_quietly(now_ms);
        self.node_mut(node)?;
        if self.at(node).power == PowerState::Off {
            return Ok(());
        }
        self.cause = Cause::outside(format!("{node} was reset: {why}"));
        self.crash(node, why);
        self.watch_service();
        Ok(())
    }

    pub(super) fn crash(&mut self, node: &NodeName, why: &str) {
        self.note(node, format!("reset: {why}"));
        self.lose_power(node);
        self.begin_boot(node, self.boot_ms(node));
    }

    /// Like [`Hardware::advance`], but leaves the effects where they are.
    pub(super) fn advance_quietly(&mut self, now_ms: u64) {
        let effects = self.advance(now_ms);
        self.effects = effects;
    }

    fn follow_fault(&mut self, node: &NodeName, fault: Fault, on: bool) {
        match (fault, on) {
            (Fault::PowerOff, true) => self.lose_power(node),
            (Fault::PowerOff, false) => self.begin_boot(node, self.boot_ms(node)),
            (Fault::HangBoot | Fault::NoAutoboot | Fault::BootMenu, _) => self.hang_or_go_on(node),
            (Fault::NoDaemon, false) => self.start_daemon_late(node),
            (Fault::Flap, false) => self.at_mut(node).resets_at = None,
            (Fault::LifDown, _) | (Fault::LifAway, _) => self.move_faulty_lif(node),
            // The rest is read where it matters.
            (
                Fault::SlowBoot
                | Fault::BadImage
                | Fault::RefuseTakeover
                | Fault::FailTakeover
                | Fault::RefuseGiveback
                | Fault::HoldTakeover
                | Fault::HoldGiveback
                | Fault::Flap
                | Fault::NoDaemon
                | Fault::DisableHa
                | Fault::DegradePool
                | Fault::ResyncPool
                | Fault::Scrub
                | Fault::LosePath
                | Fault::FailDisk
                | Fault::HideDisk
                | Fault::NoFailoverTarget
                | Fault::HighLoad
                | Fault::ExclusiveJob
                | Fault::SpDead
                | Fault::SpCorrupt
                | Fault::ClockSkew
                | Fault::NoTimeSource
                | Fault::ReadonlySlot
                | Fault::FillDisk
                | Fault::Alert
                | Fault::SoftMount
                | Fault::WitnessLost
                | Fault::NoFencing
                | Fault::FencingUntested
                | Fault::SpCut
                | Fault::IomDead
                | Fault::ShelfSensor
                | Fault::UnownedDisk
                | Fault::LoseDomain
                | Fault::OldSmb
                | Fault::SinglePath
                | Fault::ForeignVersion
                | Fault::Cut
                | Fault::Slow
                | Fault::FwBusy
                | Fault::FwSlow
                | Fault::FwWrongImage
                | Fault::FwAttention
                | Fault::FwPowerLoss
                | Fault::FwPathLoss
                | Fault::FwLongReset
                | Fault::FwUnchanged
                | Fault::FwNodeLoss
                | Fault::BlindPair
                | Fault::BlindSlots
                | Fault::BlindPools
                | Fault::BlindLifs
                | Fault::BlindDisks
                | Fault::BlindLoad
                | Fault::BlindSp
                | Fault::BlindTime
                | Fault::BlindJobs
                | Fault::BlindAlerts
                | Fault::BlindClients
                | Fault::BlindSpace
                | Fault::BlindWitness
                | Fault::BlindFencing
                | Fault::BlindPartnerSp
                | Fault::BlindBoot
                | Fault::BlindShelves
                | Fault::BlindOwnership
                | Fault::BlindPorts
                | Fault::BlindSessions,
                _,
            ) => {}
        }
    }

    /// What keeps the daemon from starting is gone: somebody starts it.
    fn start_daemon_late(&mut self, name: &NodeName) {
        let node = self.at_mut(name);
        let silent = std::mem::take(&mut node.without_daemon);
        if let (true, Some((slot, boot_id))) = (silent, node.up()) {
            self.note(name, "its evenkeeld starts");
            let node = name.clone();
            self.effects.push(Effect::Daemon {
                node,
                slot,
                boot_id,
            });
            self.changed();
        }
    }

    /// A node that flaps resets itself.
    pub(super) fn flap(&mut self, name: &NodeName) {
        self.cause = Cause::outside(format!("{name} reset itself"));
        self.at_mut(name).resets_at = None;
        if self.at(name).up().is_some() {
            self.note(name, "resets itself");
            self.lose_power(name);
            self.begin_boot(name, self.boot_ms(name));
        }
    }

    fn hang_or_go_on(&mut self, name: &NodeName) {
        let (now, boot_ms) = (self.now, self.boot_ms(name));
        let node = self.at_mut(name);
        let hangs = node.hangs();
        if let PowerState::Booting { until, .. } = &mut node.power {
            *until = (!hangs).then_some(now + boot_ms);
        }
    }

    /// The running system is gone, and the partner begins to wonder. What it served is not served.
    fn lose_power(&mut self, name: &NodeName) {
        let detect_at = self.now + self.settings.detect_ms;
        let node = self.at_mut(name);
        let was_up = node.up().is_some();
        (node.resets_at, node.without_daemon) = (None, false);
        node.power = PowerState::Off;
        if !node.proven_lost {
            node.detect_at.get_or_insert(detect_at);
        }
        if was_up {
            if let Some(pair) = self.pairs.iter().position(|p| p.members.contains(name)) {
                self.abort_takeover(pair);
            }
            self.note(name, "power lost");
            self.stop_serving(name);
            let node = name.clone();
            self.effects.push(Effect::PowerLost { node });
        }
        self.changed();
    }

    /// A clean shutdown that ends in a boot of the default slot: the takeover's part on the taken node.
    pub(super) fn shut_down(&mut self, name: &NodeName) {
        self.note(name, "shut down");
        self.stop_serving(name);
        let node = name.clone();
        self.effects.push(Effect::Shutdown { node });
        self.begin_boot(name, self.boot_ms(name));
    }

    pub(super) fn reboot(
        &mut self,
        name: &NodeName,
        request: &RebootRequest,
    ) -> Result<(), PlatformError> {
        let node = self.at(name);
        let (_, boot) = node.up().expect("only a node that is up calls");
        if boot != request.boot {
            return refuse(format!("{name} has booted since then"));
        }
        if let Some(partner) = &node.partner {
            return refuse(format!(
                "{name} is not rebooted while it serves: {partner} can take it over"
            ));
        }
        self.shut_down(name);
        Ok(())
    }

    fn stop_serving(&mut self, name: &NodeName) {
        let pools = self.pools.iter_mut().map(|pool| &mut pool.owner);
        let lifs = self.lifs.iter_mut().map(|lif| &mut lif.current);
        for owner in pools.chain(lifs) {
            if owner.as_ref() == Some(name) {
                *owner = None;
            }
        }
    }

    fn boot_ms(&self, node: &NodeName) -> u64 {
        let slow = if self.at(node).has(Fault::SlowBoot) {
            SLOW_BOOT
        } else {
            1
        };
        self.settings.boot_minutes * self.settings.minute_ms * slow
    }

    /// The boot loader picks a slot: the default while it has tries left, else the other one. It counts a
    /// try before it jumps, so that no way of failing can go uncounted.
    fn begin_boot(&mut self, name: &NodeName, duration_ms: u64) {
        let until = self.now + duration_ms;
        let node = self.at_mut(name);
        let order = [node.default, node.default.other()];
        let picked = order.into_iter().find(|slot| {
            let state = node.slot_mut(*slot);
            let bootable = state.image.is_some();
            match state.health {
                SlotHealth::Unbootable => false,
                SlotHealth::Good => bootable,
                SlotHealth::Untried { tries: 0 } => {
                    state.health = SlotHealth::Unbootable;
                    false
                }
                SlotHealth::Untried { tries } => {
                    state.health = SlotHealth::Untried { tries: tries - 1 };
                    bootable
                }
            }
        });
        let Some(slot) = picked else {
            node.power = PowerState::Halted;
            return self.note(name, "neither slot boots");
        };
        let fell_back = slot != node.default;
        node.default = slot;
        let hangs = node.hangs();
        node.power = PowerState::Booting {
            slot,
            until: (!hangs).then_some(until),
        };
        let how = if fell_back { "falls back to" } else { "boots" };
        self.note(name, format!("{how} slot {slot}"));
    }

    /// A boot's time is over: the node is up, or the image was bad and the loader counts on.
    pub(super) fn end_boot(&mut self, name: &NodeName) {
        self.cause = Cause::outside(format!("{name} came to the end of its boot"));
        let PowerState::Booting { slot, .. } = self.at(name).power else {
            return;
        };
        let node = self.at(name);
        let proven = node.slot(slot).health == SlotHealth::Good;
        let bad = node.has(Fault::BadImage) && !proven;
        if bad || node.slot(slot).image.is_none() {
            self.note(name, format!("the image in slot {slot} does not boot"));
            return self.begin_boot(name, self.boot_ms(name));
        }
        let boot_id = self.next_boot_id();
        let resets_at = self.now + self.settings.minute_ms / FLAP_PARTS;
        let node = self.at_mut(name);
        node.power = PowerState::Up { slot, boot_id };
        node.last_boot = Some(boot_id);
        (node.detect_at, node.proven_lost) = (None, false);
        node.without_daemon = node.has(Fault::NoDaemon);
        node.resets_at = node.has(Fault::Flap).then_some(resets_at);
        let starts = !node.without_daemon;
        self.note(name, format!("up from slot {slot}"));
        let node = || name.clone();
        self.effects.push(Effect::Boot {
            node: node(),
            slot,
            boot_id,
        });
        if starts {
            self.effects.push(Effect::Daemon {
                node: node(),
                slot,
                boot_id,
            });
        }
        self.serve_after_boot(name);
    }

    fn next_boot_id(&mut self) -> BootId {
        self.boots += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.settings.seed.to_be_bytes());
        bytes[8..].copy_from_slice(&self.boots.to_be_bytes());
        BootId(Builder::from_random_bytes(bytes).into_uuid())
    }

    pub(super) fn mark_unbootable(
        &mut self,
        name: &NodeName,
        slot: Slot,
    ) -> Result<(), PlatformError> {
        let node = self.at(name);
        let (booted, _) = node.up().expect("only a node that is up calls");
        if node.has(Fault::ReadonlySlot) {
            return refuse(format!("the boot medium of {name} cannot be written"));
        }
        if slot == booted {
            return refuse(format!("slot {slot} is the one that {name} runs from"));
        }
        if node.slot(booted).health != SlotHealth::Good {
            return refuse(format!(
                "slot {slot} is what {name} falls back to: slot {booted}, which it runs from, is not \
                 marked good"
            ));
        }
        let node = self.at_mut(name);
        // The loader would skip it anyway; a default that cannot boot would only confuse.
        node.default = booted;
        node.slot_mut(slot).health = SlotHealth::Unbootable;
        self.note(name, format!("slot {slot} marked unbootable"));
        Ok(())
    }

    pub(super) fn set_default(
        &mut self,
        name: &NodeName,
        slot: Slot,
        tries: u8,
    ) -> Result<(), PlatformError> {
        let node = self.at(name);
        if node.has(Fault::ReadonlySlot) {
            return refuse(format!("the boot medium of {name} cannot be written"));
        }
        if node.slot(slot).image.is_none() {
            return refuse(format!("slot {slot} of {name} holds no whole image"));
        }
        if tries == 0 {
            return refuse(format!("slot {slot} of {name} would never be tried"));
        }
        let health = node.slot(slot).health;
        if node.default == slot && health != SlotHealth::Unbootable {
            return Ok(());
        }
        let node = self.at_mut(name);
        node.default = slot;
        if health != SlotHealth::Good {
            node.slot_mut(slot).health = SlotHealth::Untried { tries };
        }
        self.note(name, format!("slot {slot} made the default"));
        Ok(())
    }

    pub(super) fn mark_good(&mut self, name: &NodeName, slot: Slot) -> Result<(), PlatformError> {
        let node = self.at(name);
        let (booted, _) = node.up().expect("only a node that is up calls");
        if slot != booted {
            return refuse(format!("{name} runs from slot {booted}, not from {slot}"));
        }
        if node.has(Fault::ReadonlySlot) {
            return refuse(format!("the boot medium of {name} cannot be written"));
        }
        if node.slot(slot).health != SlotHealth::Good {
            self.at_mut(name).slot_mut(slot).health = SlotHealth::Good;
            self.note(name, format!("slot {slot} marked good"));
        }
        Ok(())
    }
}

pub(super) fn refuse<T>(why: String) -> Result<T, PlatformError> {
    Err(PlatformError::Refused(why))
}
