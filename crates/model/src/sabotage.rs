//! Ways to break what must never break, for one test: each must be caught by the simulation. What is built without debug assertions,
//! as every release is, has none of them; elsewhere one is on where a test puts it on, on that test's thread.

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
    #[cfg(debug_assertions)]
    pub fn is_on(self) -> bool {
        ON.get() & self.bit() != 0
    }

    /// It is not: this build has none.
    #[cfg(not(debug_assertions))]
    pub const fn is_on(self) -> bool {
        false
    }

    /// Puts these on, on this thread, and all others off.
    #[cfg(debug_assertions)]
    pub fn set(these: &[Self]) {
        ON.set(these.iter().fold(0, |bits, one| bits | one.bit()));
    }

    #[cfg(debug_assertions)]
    fn bit(self) -> u32 {
        1 << self as u32
    }
}

#[cfg(debug_assertions)]
thread_local! {
    static ON: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}
