//! The fault seam: every exchange with another node asks the state of this node's link.

use std::time::Duration;

use evenkeel_model::Link;
use evenkeel_seam::watch;

/// A node's link, as the lab makes it.
#[derive(Clone, Debug)]
pub(crate) struct Gate(watch::Receiver<Link>);

impl Gate {
    pub(crate) fn new(link: watch::Receiver<Link>) -> Self {
        Self(link)
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.0.borrow().cut
    }

    /// Waits as long as the link delays one message.
    pub(crate) async fn delay(&self) {
        let delay = Duration::from_millis(self.0.borrow().delay_ms);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// Returns when the link is cut; never, when nobody can cut it any more.
    pub(crate) async fn cut(&self) {
        let mut link = self.0.clone();
        if link.wait_for(|link| link.cut).await.is_err() {
            std::future::pending().await
        }
    }
}
