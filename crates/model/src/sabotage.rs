//! Ways to break what must never break, for one test: each must be caught by the simulation. Without debug assertions, as every release
//! is built, none is ever on; elsewhere where a test puts it on, on that test's thread.

use std::cell::Cell;

/// A rule that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The record takes what a stale coordinator appends.
    NoFence,
    /// A node takes over what it looked at a while ago.
    NoLastLook,
    /// A node takes over without being let.
    NoConsent,
    /// A promise does not outlive the daemon that gave it.
    ConsentForgotten,
    /// A promise is given that is not written down.
    ConsentNotDurable,
    /// The highest generation is not written down.
    GenerationForgotten,
    /// Orders of any generation are accepted.
    StaleOrder,
    /// An order is accepted that is not written down.
    OrderNotDurable,
    /// A takeover is begun without asking whether the pair is fit.
    PartnerAway,
    /// The image is written into the slot that runs.
    RunningSlot,
    /// What cannot be seen is taken for well.
    UnknownHealthy,
    /// A request is answered before the record has it.
    AckEarly,
    /// Every attempt is another takeover.
    NewTransition,
    /// A node takes over under an id that nobody recorded.
    UnrecordedIntent,
    /// An order is begun although a newer coordinator is known by then.
    StaleAct,
    /// A package that was taken in is not written into the catalogue.
    UploadLost,
    /// That a node was updated is not written down.
    HistoryLost,
    /// A slot is written without telling the boot loader to stay away from it.
    BootableWhileWritten,
}

impl Sabotage {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::NoFence,
        Self::NoLastLook,
        Self::NoConsent,
        Self::ConsentForgotten,
        Self::ConsentNotDurable,
        Self::GenerationForgotten,
        Self::StaleOrder,
        Self::OrderNotDurable,
        Self::PartnerAway,
        Self::RunningSlot,
        Self::UnknownHealthy,
        Self::AckEarly,
        Self::NewTransition,
        Self::UnrecordedIntent,
        Self::StaleAct,
        Self::UploadLost,
        Self::HistoryLost,
        Self::BootableWhileWritten,
    ];

    /// Whether it is on, on this thread.
    pub fn is_on(self) -> bool {
        cfg!(debug_assertions) && ON.get() & self.bit() != 0
    }

    /// Puts these on, on this thread, and all others off.
    pub fn set(these: &[Self]) {
        ON.set(these.iter().fold(0, |bits, one| bits | one.bit()));
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

thread_local! {
    static ON: Cell<u32> = const { Cell::new(0) };
}
