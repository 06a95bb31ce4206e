//! Takeover: this node takes its partner over, with the partner's consent.

use std::time::Duration;

use evenkeel_interconnect::{AgentRequest, AgentResponse, ConsentRequest};
use evenkeel_model::{
    BootId, How, MemberHa, NodeName, PairState, PoolHealth, PoolState, Sabotage, TaskError,
    TaskErrorKind, Transition, TransitionId, TransitionStage,
};
use evenkeel_platform::TakeoverRequest;

use super::patience::Patience;
use super::run::{Acted, REPORT, Run, journal_failed, permanent, transient};
use crate::consent;
use crate::db::Promised;

/// What the order expects of both boots.
#[derive(Clone, Copy)]
struct Boots {
    target: BootId,
    own: BootId,
}

/// Where our takeover stands.
enum Ours {
    /// Not there, and none is in its way.
    NotBegun,
    UnderWay,
    Done,
}

pub(super) async fn run(run: &Run) -> Result<How, TaskError> {
    let (mut id, boots) = (run.transition()?, boots(run)?);
    if Sabotage::UnrecordedIntent.is_on() {
        id = TransitionId(run.order().key.operation.0);
    }
    let pair = run.pair().await?;
    match ours(run, &pair, id)? {
        Ours::Done => return Ok(run.found()),
        Ours::UnderWay => return wait(run, id).await,
        Ours::NotBegun => {}
    }
    conditions(run, &pair, boots).await?;
    obtain_consent(run, id, boots).await?;
    take_over(run, id, boots).await?;
    wait(run, id).await
}

/// Asks the engine, and again when it is silent: the same takeover is the same request.
async fn take_over(run: &Run, id: TransitionId, boots: Boots) -> Result<(), TaskError> {
    let mut silence = None;
    for _ in 0..run.bounds().tries {
        match act(run, id, boots).await {
            Ok(Acted::Yes) => return Ok(()),
            Ok(Acted::Unknown(why)) => silence = Some(why),
            Err(error) => {
                if silence.is_none() {
                    // Nothing was done: the partner need not wait.
                    run.release_consent(id).await;
                }
                return Err(error);
            }
        }
        tokio::time::sleep(run.bounds().poll).await;
    }
    // Whether anything comes of it is unknown, so the promise stays: the target ends it by observation.
    let node = &run.order().task.node;
    let message = format!(
        "the HA engine does not answer: {}",
        silence.unwrap_or_default()
    );
    Err(transient(
        format!("taking over {node}: {message}"),
        "See to the node's HA services.",
    ))
}

fn boots(run: &Run) -> Result<Boots, TaskError> {
    match (
        run.order().before.node_boot,
        run.order().before.partner_boot,
    ) {
        (Some(target), Some(own)) => Ok(Boots { target, own }),
        (None, _) | (_, None) => Err(permanent("the order names no boots", REPORT)),
    }
}

/// Already done means that *our* takeover was found, by its id, of the right node by the right node.
fn ours(run: &Run, pair: &PairState, id: TransitionId) -> Result<Ours, TaskError> {
    let (node, own) = (&run.order().task.node, &run.parts().node);
    let Some(transition) = &pair.transition else {
        return Ok(Ours::NotBegun);
    };
    if transition.id != Some(id) {
        return match transition.stage {
            TransitionStage::GivenBack => Ok(Ours::NotBegun),
            TransitionStage::TakingOver
            | TransitionStage::TakenOver
            | TransitionStage::GivingBack => Err(foreign(transition)),
        };
    }
    if transition.taken != *node || transition.by != *own {
        return Err(permanent(
            format!("takeover {id} is of another pair of nodes"),
            REPORT,
        ));
    }
    match (transition.stage, &transition.trouble) {
        (TransitionStage::TakingOver, _) => Ok(Ours::UnderWay),
        (TransitionStage::TakenOver, trouble) => Ok(match trouble.is_none() && is_complete(pair) {
            true => Ours::Done,
            false => Ours::UnderWay,
        }),
        (TransitionStage::GivingBack, Some(_)) => Ok(Ours::UnderWay),
        (TransitionStage::GivenBack, Some(why)) => Err(permanent(
            format!("the HA engine has undone the takeover of {node}: {why}"),
            format!(
                "{node} serves its own pools again. See to the reason: the log of the HA engine of {own} tells more. Then resume \
                 the update."
            ),
        )),
        (TransitionStage::GivingBack | TransitionStage::GivenBack, None) => Err(permanent(
            format!("the takeover of {node} was undone from outside the update"),
            format!("See that {node} serves its own pools, then resume the update."),
        )),
    }
}

fn foreign(transition: &Transition) -> TaskError {
    let Transition { taken, by, id, .. } = transition;
    let whose = match id {
        Some(id) => format!("by takeover {id}, which is not of this task"),
        None => "by hand or after a panic, not by this update".to_owned(),
    };
    permanent(
        format!("{taken} is taken over by {by} {whose}"),
        format!("Find out why, give {taken} back, then resume the update."),
    )
}

/// The partner serves everything, the target is down or on its way up again.
fn is_complete(pair: &PairState) -> bool {
    let gone = match pair.partner.ha {
        MemberHa::WaitingForGiveback | MemberHa::Booting | MemberHa::Down | MemberHa::Fenced => {
            true
        }
        MemberHa::Serving | MemberHa::PartialGiveback => false,
    };
    pair.local.ha == MemberHa::Serving && gone
}

/// This node's own conditions, the last guard of the pair: it serves, will go on serving, and the
/// target is what the order expects.
async fn conditions(run: &Run, pair: &PairState, boots: Boots) -> Result<(), TaskError> {
    let (node, own) = (&run.order().task.node, &run.parts().node);
    run.check_own_boot(Some(boots.own))?;
    if pair.local.boot_id != Some(boots.own) || pair.partner.boot_id != Some(boots.target) {
        return Err(transient(
            format!("{node} or {own} has booted since the task was decided"),
            "None: the task is decided anew.",
        ));
    }
    if !pair.enabled {
        let message = format!("storage failover is disabled on {own}");
        return Err(permanent(
            message,
            "Enable storage failover, then resume the update.",
        ));
    }
    if pair.local.ha != MemberHa::Serving || pair.partner.ha != MemberHa::Serving {
        let message = format!(
            "both must serve before a takeover; of {own}: {}; of {node}: {}",
            pair.local.ha.text(),
            pair.partner.ha.text()
        );
        return Err(transient(
            message,
            "Bring both nodes of the pair to serving.",
        ));
    }
    if let Some(veto) = &pair.takeover_veto {
        let mut error = vetoed(run, veto);
        if pair.takeover_veto_passes {
            error.kind = TaskErrorKind::Transient;
        }
        return Err(error);
    }
    stays_serving(run).await
}

fn vetoed(run: &Run, veto: &str) -> TaskError {
    let (node, own) = (&run.order().task.node, &run.parts().node);
    permanent(
        format!("{own} does not take {node} over: {veto}"),
        format!(
            "See to the reason of the veto; the log of the HA engine of {own} tells more. It is never \
             overridden. Then resume the update."
        ),
    )
}

/// A node that does not serve all of its own is in trouble itself.
async fn stays_serving(run: &Run) -> Result<(), TaskError> {
    let own = &run.parts().node;
    let pools = run.inner().bounded(run.parts().platform.pools()).await;
    let pools = pools.map_err(|e| run.unseen("the pools", &e))?;
    let ill = pools
        .iter()
        .filter(|pool| pool.home == *own)
        .find(|pool| pool.unseen || !serves(own, pool));
    match ill {
        None => Ok(()),
        Some(pool) if pool.unseen && pool.owner.as_ref() == Some(own) => Err(transient(
            format!("{own} cannot see how its own pool {} is", pool.name),
            format!(
                "See from the alerts of {own} why, see to the pool's storage, then resume the update."
            ),
        )),
        Some(pool) => Err(permanent(
            format!("{own} does not serve its own pool {}", pool.name),
            "Repair the pool, then resume the update.",
        )),
    }
}

fn serves(node: &NodeName, pool: &PoolState) -> bool {
    pool.owner.as_ref() == Some(node) && pool.health != PoolHealth::Offline
}

/// Asks the target's agent directly. The asking is durable here, the promise is durable there.
async fn obtain_consent(run: &Run, id: TransitionId, boots: Boots) -> Result<(), TaskError> {
    if Sabotage::NoConsent.is_on() {
        return Ok(());
    }
    let (order, db) = (run.order(), &run.parts().db);
    let request = ConsentRequest {
        transition: id,
        key: order.key,
        generation: order.generation,
        by: run.parts().node.clone(),
        by_boot: boots.own,
        node_boot: boots.target,
    };
    consent::settle(run.inner())
        .await
        .map_err(|e| journal_failed(&e))?;
    match db.ask(&request).map_err(|e| journal_failed(&e))? {
        Promised::Yes => {}
        Promised::Given(other) => return Err(has_consented(run, &other)),
        Promised::Held(_) | Promised::Busy(_) | Promised::Stale(_) => {
            unreachable!("asking is only in the way of a promise of one's own")
        }
    }
    let node = &order.task.node;
    run.say(&format!("asking {node} for its consent"), 0, 0);
    let why = match run
        .ask(
            node,
            AgentRequest::Consent {
                request: request.clone(),
            },
        )
        .await
    {
        Ok(AgentResponse::Consented { consent }) if consent.request == request => return Ok(()),
        Ok(AgentResponse::Refused { reason, .. }) => reason,
        Ok(other) => format!("an answer that does not fit: {other:?}"),
        Err(error) => error.to_string(),
    };
    run.release_consent(id).await;
    let message = format!("{node} does not consent to be taken over: {why}");
    Err(transient(
        message,
        format!("See to {node}, then resume the update."),
    ))
}

fn has_consented(run: &Run, other: &ConsentRequest) -> TaskError {
    let own = &run.parts().node;
    let message = format!("{own} has consented to be taken over by {}", other.by);
    transient(
        message,
        "None: the consent ends by itself when it is no longer needed.",
    )
}

/// Everything is looked at once more, immediately before acting. An error means that this did nothing.
async fn act(run: &Run, id: TransitionId, boots: Boots) -> Result<Acted, TaskError> {
    if !Sabotage::NoLastLook.is_on() {
        let pair = run.pair().await?;
        match ours(run, &pair, id)? {
            Ours::Done | Ours::UnderWay => return Ok(Acted::Yes),
            Ours::NotBegun => {}
        }
        conditions(run, &pair, boots).await?;
    }
    run.begin_strictly()?;
    run.say("taking over", 0, 0);
    let request = TakeoverRequest {
        id,
        partner_boot: boots.target,
        local_boot: boots.own,
    };
    let acted = run.act(run.parts().platform.take_over(&request)).await;
    acted.map_err(|veto| vetoed(run, &veto))
}

/// What changes while a takeover goes on.
#[derive(Clone, Copy, PartialEq)]
struct Seen {
    stage: Option<TransitionStage>,
    partner: MemberHa,
    pools_here: usize,
}

async fn wait(run: &Run, id: TransitionId) -> Result<How, TaskError> {
    let mut patience = Patience::new(run.no_progress());
    let mut last: Option<Seen> = None;
    let mut trouble = None;
    loop {
        let unseen = match run.pair().await {
            Ok(pair) => {
                let ours = match ours(run, &pair, id)? {
                    Ours::Done => return Ok(run.reached()),
                    Ours::UnderWay => pair.transition,
                    Ours::NotBegun => None,
                };
                let stage = ours.as_ref().map(|transition| transition.stage);
                if stage.is_none() && last.is_some_and(|seen| seen.stage.is_some()) {
                    return Err(broken_off(run, id).await);
                }
                let (partner, pools_here) = (pair.partner.ha, pools_here(run).await);
                trouble = ours.and_then(|transition| transition.trouble);
                say(run, stage, trouble.as_deref(), pools_here);
                last = Some(Seen {
                    stage,
                    partner,
                    pools_here,
                });
                None
            }
            Err(unseen) => {
                let node = &run.order().task.node;
                run.say(&format!("the takeover of {node}: {}", unseen.message), 0, 0);
                Some(unseen)
            }
        };
        if let Err(bound) = patience.wait(last, run.bounds().poll).await {
            let stage = last.and_then(|seen| seen.stage);
            return Err(match unseen {
                Some(unseen) => stood_unseen(run, bound, unseen, trouble),
                None => stood_still(run, bound, stage, trouble.as_deref()),
            });
        }
    }
}

fn say(run: &Run, stage: Option<TransitionStage>, trouble: Option<&str>, pools_here: usize) {
    let node = &run.order().task.node;
    let text = match (stage, trouble) {
        (Some(TransitionStage::GivingBack), Some(why)) => {
            format!("the HA engine undoes the takeover of {node}: {why}; pools on this node")
        }
        (_, Some(why)) => format!("taking over {node}: {why}; pools on this node"),
        (_, None) => format!("taking over {node}: pools on this node"),
    };
    run.say(&text, pools_here as u64, 0);
}

fn stood_still(
    run: &Run,
    bound: Duration,
    stage: Option<TransitionStage>,
    trouble: Option<&str>,
) -> TaskError {
    let (node, own) = (&run.order().task.node, &run.parts().node);
    let why = trouble.map(|why| format!(": {why}")).unwrap_or_default();
    if stage == Some(TransitionStage::GivingBack) {
        return permanent(
            format!(
                "the HA engine has undone the takeover of {node}, and not everything is home{why}"
            ),
            format!(
                "See from the log of the HA engine of {node} what does not start there, and see to the reason. Then resume the \
                 update."
            ),
        );
    }
    permanent(
        format!("the takeover of {node} has stood still for {bound:?}{why}"),
        format!(
            "Find out why: from the alerts of {node} and its daemon's log, if it has not shut down, and from the HA \
             engine's log of {own}. See to it, then resume the update."
        ),
    )
}

/// How far it has come cannot be told: what was seen last may be over.
fn stood_unseen(
    run: &Run,
    bound: Duration,
    unseen: TaskError,
    trouble: Option<String>,
) -> TaskError {
    let node = &run.order().task.node;
    let before = trouble.map(|why| format!("; seen before: {why}"));
    let message = format!(
        "the takeover of {node} has stood still for {bound:?}: {}{}",
        unseen.message,
        before.unwrap_or_default()
    );
    permanent(message, unseen.action)
}

/// The engine had begun and went back to before: nothing of it is left.
async fn broken_off(run: &Run, id: TransitionId) -> TaskError {
    run.release_consent(id).await;
    transient(
        format!(
            "the HA engine broke the takeover of {} off",
            run.order().task.node
        ),
        "See that both nodes of the pair are up and serve.",
    )
}

async fn pools_here(run: &Run) -> usize {
    let pools = run
        .inner()
        .bounded(run.parts().platform.pools())
        .await
        .unwrap_or_default();
    pools
        .iter()
        .filter(|pool| pool.owner.as_ref() == Some(&run.parts().node))
        .count()
}
