//! What a node does by itself, without record, coordinator or quorum.

use std::time::Duration;

use evenkeel_model::{MemberHa, NodeName, PairState, WallTime};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::agent::Inner;
use crate::consent;
use crate::db::DbError;
use crate::logged::SERVES_ALONE;

/// Where the memory of having served alone is kept.
const KEY: &str = "served_alone";
/// Consents are looked at this much more rarely than the pair.
const SETTLE_EVERY: u32 = 10;

/// That this node served alone, until its partner serves again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServedAlone {
    since: WallTime,
    partner: NodeName,
    /// What came of the newest attempt; none before its answer.
    outcome: Option<String>,
}

/// Looks after the pair for as long as the agent lives.
pub(crate) async fn run(inner: &Inner) {
    let mut round = 0_u32;
    loop {
        inner.pulse.beat();
        if let Err(error) = look(inner).await {
            // The database is no condition for serving: that was tried before it was written to.
            error!("the guardian's memory failed: {error}");
        }
        inner.pulse.beat();
        if round.is_multiple_of(SETTLE_EVERY)
            && let Err(error) = consent::settle(inner).await
        {
            warn!("consents cannot be settled: {error}");
        }
        round = round.wrapping_add(1);
        wait(inner, inner.parts.bounds.guard, &mut round).await;
    }
}

async fn wait(inner: &Inner, pause: Duration, round: &mut u32) {
    tokio::select! {
        biased;
        () = tokio::time::sleep(pause) => {}
        () = inner.settle.notified() => *round = 0,
    }
}

pub(crate) async fn look(inner: &Inner) -> Result<(), DbError> {
    let Ok(Some(pair)) = inner.pair().await else {
        return Ok(());
    };
    if must_serve_alone(&pair) {
        return serve_alone(inner, &pair).await;
    }
    let remembered = inner.parts.db.get(KEY)?;
    if remembered.is_some() && pair.local.ha.serves() && pair.partner.ha == MemberHa::Serving {
        inner.parts.db.forget(KEY)?;
    }
    Ok(())
}

/// The partner serves nothing any more, provably, and this node has not all of its own pools.
pub fn must_serve_alone(pair: &PairState) -> bool {
    let waits = match pair.local.ha {
        MemberHa::WaitingForGiveback | MemberHa::PartialGiveback => true,
        MemberHa::Serving | MemberHa::Booting | MemberHa::Down | MemberHa::Fenced => false,
    };
    waits && pair.partner.ha == MemberHa::Fenced
}

/// A full disk or a damaged database must not keep a node from serving. One that does not answer at all may: then
/// whoever else watches the pair acts.
async fn serve_alone(inner: &Inner, pair: &PairState) -> Result<(), DbError> {
    let parts = &inner.parts;
    let partner = pair.partner.node.clone();
    let earlier = recall(inner).ok().flatten().and_then(Result::ok);
    let earlier = earlier.filter(|earlier| earlier.partner == partner);
    let mut memory = earlier.clone().unwrap_or_else(|| ServedAlone {
        since: parts.clock.wall(),
        partner,
        outcome: None,
    });
    // What is refused is asked for again all the time: it is written down, and logged, when that is new.
    let intent = match &earlier {
        Some(_) => Ok(()),
        None => remember(inner, &memory),
    };
    if earlier.is_none() {
        warn!(target: SERVES_ALONE, partner = %pair.partner.node, "{} is fenced: this node serves alone", pair.partner.node);
    }
    let outcome = match tokio::time::timeout(parts.bounds.act, parts.platform.serve_alone()).await {
        Ok(Ok(())) => "it serves both nodes' pools".to_owned(),
        Ok(Err(error)) => format!("the HA engine: {error}"),
        Err(_) => format!("the HA engine did not answer within {:?}", parts.bounds.act),
    };
    if memory.outcome.as_ref() == Some(&outcome) {
        return intent;
    }
    warn!(target: SERVES_ALONE, partner = %pair.partner.node, "serving alone: {outcome}");
    memory.outcome = Some(outcome);
    intent.and(remember(inner, &memory))
}

fn remember(inner: &Inner, memory: &ServedAlone) -> Result<(), DbError> {
    let json = serde_json::to_string(memory).expect("plain data: JSON can say it");
    inner.parts.db.put(KEY, &json)
}

fn recall(inner: &Inner) -> Result<Option<Result<ServedAlone, serde_json::Error>>, DbError> {
    let json = inner.parts.db.get(KEY)?;
    Ok(json.map(|json| serde_json::from_str(&json)))
}

/// What to report to whoever asks later.
pub(crate) fn alert(inner: &Inner) -> Result<Option<String>, DbError> {
    let memory = match recall(inner)? {
        None => return Ok(None),
        Some(Ok(memory)) => memory,
        Some(Err(_)) => {
            return Ok(Some(
                "this node served alone; the details cannot be read".to_owned(),
            ));
        }
    };
    let ServedAlone {
        since,
        partner,
        outcome,
    } = memory;
    let outcome = outcome.unwrap_or_else(|| "the outcome is not known".to_owned());
    Ok(Some(format!(
        "{partner} was fenced at {since}, so this node serves alone if it can: {outcome}"
    )))
}
