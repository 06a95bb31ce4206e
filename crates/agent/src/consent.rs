//! Consent: a node's durable promise to start nothing against its partner, which is about to take it
//! over. The pair's last guard: it needs no coordinator and no record.
//!
//! A promise ends when the partner releases it. Where the release was lost it ends by observation: see
//! [`settle`].

use evenkeel_interconnect::{AgentRequest, AgentResponse, ConsentRequest};
use evenkeel_model::{
    MemberHa, NodeName, PairState, ReportState, Transition, TransitionId, TransitionStage,
};
use tracing::info;

use crate::agent::{Inner, busy, refused, stale};
use crate::db::{DbError, Promised, Side};

/// Gives consent, or says why not. Asked again for the same, it gives the same.
pub(crate) async fn give(
    inner: &Inner,
    from: &NodeName,
    request: &ConsentRequest,
) -> Result<Result<(), AgentResponse>, DbError> {
    if request.by != *from {
        let reason = format!("{from} asks in the name of {}", request.by);
        return Ok(Err(refused(reason)));
    }
    settle(inner).await?;
    if let Err(reason) = conditions(inner, request).await {
        return Ok(Err(refused(reason)));
    }
    let refusal = match inner.parts.db.give(request)? {
        Promised::Yes => return Ok(Ok(())),
        Promised::Stale(highest) => stale(highest),
        Promised::Given(other) => refused(format!(
            "this node has consented to takeover {}",
            other.transition
        )),
        Promised::Held(own) => refused(format!(
            "this node takes its partner over itself (takeover {})",
            own.transition
        )),
        Promised::Busy(order) => refused(busy(&order)),
    };
    Ok(Err(refusal))
}

/// What must be true of the pair, in this node's own eyes.
async fn conditions(inner: &Inner, request: &ConsentRequest) -> Result<(), String> {
    if request.node_boot != inner.parts.boot_id {
        return Err("this node has booted since the takeover was decided".to_owned());
    }
    let pair = inner
        .pair()
        .await
        .map_err(|e| format!("the pair cannot be seen: {e}"))?;
    let pair = pair.ok_or("this node has no partner")?;
    if pair.partner.node != request.by {
        return Err(format!("{} is not the partner of this node", request.by));
    }
    if pair.partner.boot_id != Some(request.by_boot) {
        return Err("the partner has booted since the takeover was decided".to_owned());
    }
    if let Some(transition) = &pair.transition {
        let stands = transition.stage != TransitionStage::GivenBack;
        if stands && transition.id != Some(request.transition) {
            return Err(format!("{} is taken over already", transition.taken));
        }
        if stands {
            // The very takeover is on its way: asked again by a partner that was restarted.
            return Ok(());
        }
    }
    match (pair.local.ha, pair.partner.ha) {
        (MemberHa::Serving, MemberHa::Serving) => Ok(()),
        (local, partner) => Err(format!(
            "both must serve; of this node: {}; of its partner: {}",
            local.text(),
            partner.text()
        )),
    }
}

/// Ends a promise at the word of the partner that has it, under whatever generation: it ends safely what it had
/// accepted. Nobody else may: what a partner does not need any more ends by observation.
pub(crate) fn release(
    inner: &Inner,
    from: &NodeName,
    transition: TransitionId,
) -> Result<AgentResponse, DbError> {
    let db = &inner.parts.db;
    let Some(given) = db.consent(Side::Given, transition)? else {
        return Ok(AgentResponse::Ok);
    };
    if given.by != *from {
        return Ok(refused(format!("the consent is {}'s to end", given.by)));
    }
    db.release(Side::Given, transition)?;
    Ok(AgentResponse::Ok)
}

/// Ends the promises that nobody needs any more, by observation alone. Cheap when there are none.
pub(crate) async fn settle(inner: &Inner) -> Result<(), DbError> {
    let db = &inner.parts.db;
    for given in db.consents(Side::Given)? {
        if is_over(inner, &given).await {
            info!(transition = %given.transition, by = %given.by, "the consent is over");
            db.release(Side::Given, given.transition)?;
        }
    }
    for held in db.consents(Side::Held)? {
        let open = db.open_orders()?;
        let needed = open
            .iter()
            .any(|entry| entry.order.transition == Some(held.transition));
        let Ok(Some(pair)) = inner.pair().await else {
            continue;
        };
        if !needed && !stands(&pair, held.transition) {
            db.release(Side::Held, held.transition)?;
        }
    }
    Ok(())
}

/// Whether the partner can no longer act on a consent: the takeover was given back; or it never began
/// and cannot begin, because a boot that it names is over or because the partner's journal has ended
/// (or never had) the order that it serves. In doubt it can.
async fn is_over(inner: &Inner, given: &ConsentRequest) -> bool {
    let Ok(Some(pair)) = inner.pair().await else {
        return false;
    };
    if stands(&pair, given.transition) {
        return false;
    }
    let given_back = pair
        .transition
        .as_ref()
        .is_some_and(|t| t.id == Some(given.transition));
    let booted = inner.parts.boot_id != given.node_boot
        || pair
            .partner
            .boot_id
            .is_some_and(|boot| boot != given.by_boot);
    if given_back || booted {
        return true;
    }
    let request = AgentRequest::Reports {
        keys: vec![given.key],
    };
    let asked = inner.parts.peers.call(&given.by, request);
    match tokio::time::timeout(inner.parts.bounds.ping, asked).await {
        Ok(Ok(AgentResponse::Journal { reports })) => !reports
            .iter()
            .any(|r| r.key == given.key && matches!(r.state, ReportState::Running { .. })),
        Ok(Ok(_) | Err(_)) | Err(_) => false,
    }
}

/// Whether that takeover is on its way or not given back.
fn stands(pair: &PairState, id: TransitionId) -> bool {
    let standing = |t: &Transition| t.id == Some(id) && t.stage != TransitionStage::GivenBack;
    pair.transition.as_ref().is_some_and(standing)
}
