//! Waiting until both members of the pair serve their own: nothing is begun while one serves for two, and a node that is
//! taken over would pass over all of its disks and shelves, which are its partner's then.

use evenkeel_model::{MemberHa, error_chain};
use tokio::time::timeout;

use super::failure::WorkError;
use super::inventory::LOOK;
use super::patience::Patience;
use super::work::Work;

impl Work<'_> {
    /// Returns when nobody serves for another, or the operation is over. A node that has no partner is at home always.
    pub(super) async fn at_home(&self) -> Result<(), WorkError> {
        let mut patience = Patience::new(self.node.parts.limits.recovery);
        while let Some(seen) = self.away().await {
            if self.is_over() {
                return Ok(());
            }
            self.say(format!(
                "waiting for the pair: {seen}. Bring it back into service, and give it back"
            ));
            if !patience.goes_on(seen.clone()).await {
                return Err(WorkError::Away(seen));
            }
        }
        Ok(())
    }

    /// What keeps the pair from being whole.
    pub(super) async fn away(&self) -> Option<String> {
        let pair = match timeout(LOOK, self.node.parts.platform.pair()).await {
            Ok(Ok(pair)) => pair?,
            Ok(Err(error)) => return Some(error_chain(&error)),
            Err(_) => return Some(format!("it does not answer within {LOOK:?}")),
        };
        let mut members = [pair.local, pair.partner].into_iter();
        let away = members.find(|member| member.ha != MemberHa::Serving)?;
        Some(format!("node \"{}\": {}", away.node, away.ha.text()))
    }
}
