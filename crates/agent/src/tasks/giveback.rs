//! Giveback: this node gives back what it took: the root pool first, the rest one by one, then LIFs.

use evenkeel_model::{
    How, LifName, LifState, MemberHa, PairState, PoolName, PoolState, TaskError, TaskErrorKind,
    TransitionId, TransitionStage,
};
use evenkeel_platform::GivebackRequest;

use super::patience::Patience;
use super::run::{Acted, REPORT, Run, permanent, transient};

const VETO_ACTION: &str = "Find out why from the HA engine's log of the node that carries both, see to \
                           it, then resume the update.";

pub(super) async fn run(run: &Run) -> Result<How, TaskError> {
    let id = run.transition()?;
    let pair = run.pair().await?;
    let stage = stage_of_ours(run, &pair, id)?;
    if stage == TransitionStage::GivenBack
        && pools_away(run).await?.is_empty()
        && lifs_away(run).await?.is_empty()
    {
        run.release_consent(id).await;
        return Ok(run.found());
    }
    if stage != TransitionStage::GivenBack {
        preconditions(run, &pair)?;
        run.begin()?;
        match pools_away(run).await? {
            away if away.is_empty() => give_nothing_back(run, id).await?,
            away => give_pools_back(run, id, away).await?,
        }
        serves_again(run, id).await?;
    } else {
        run.begin()?;
    }
    send_lifs_home(run).await?;
    verify(run, id).await?;
    run.release_consent(id).await;
    Ok(run.reached())
}

/// We never give back what we did not take.
fn stage_of_ours(
    run: &Run,
    pair: &PairState,
    id: TransitionId,
) -> Result<TransitionStage, TaskError> {
    let (node, own) = (&run.order().task.node, &run.parts().node);
    let Some(transition) = &pair.transition else {
        let message = format!("{node} is not taken over: there is nothing to give back");
        return Err(permanent(
            message,
            "Check the pair, then resume the update.",
        ));
    };
    if transition.id != Some(id) {
        return Err(permanent(
            format!(
                "{} was taken over by hand or by another update",
                transition.taken
            ),
            format!(
                "Find out why, give {} back, then resume the update.",
                transition.taken
            ),
        ));
    }
    match transition.taken == *node && transition.by == *own {
        true => Ok(transition.stage),
        false => Err(permanent(
            format!("takeover {id} is of another pair of nodes"),
            REPORT,
        )),
    }
}

fn preconditions(run: &Run, pair: &PairState) -> Result<(), TaskError> {
    let (node, own) = (&run.order().task.node, &run.parts().node);
    let waits = match pair.partner.ha {
        MemberHa::WaitingForGiveback | MemberHa::PartialGiveback => true,
        // All pools are home; only the engine has not said so yet.
        MemberHa::Serving => true,
        MemberHa::Booting | MemberHa::Down | MemberHa::Fenced => false,
    };
    if !waits {
        return Err(transient(
            format!("Node \"{node}\" is not in \"waiting for giveback\" state"),
            format!(
                "See on the console of {node} that it boots; {own} serves for it. Then resume, or cancel."
            ),
        ));
    }
    let before = pair.transition.as_ref().and_then(|t| t.boot_before);
    // The engine gives back by itself what it takes back, also to the boot that was taken over.
    let begun = pair.transition.as_ref().map(|t| t.stage) == Some(TransitionStage::GivingBack);
    match pair.partner.boot_id {
        Some(boot) if begun || Some(boot) != before => {}
        Some(_) | None => {
            let message = format!("{node} has not booted since it was taken over");
            return Err(transient(message, format!("See that {node} boots.")));
        }
    }
    match &pair.giveback_veto {
        Some(veto) if pair.partner.ha != MemberHa::Serving => {
            let mut error = vetoed(run, veto);
            if pair.giveback_veto_passes {
                error.kind = TaskErrorKind::Transient;
            }
            Err(error)
        }
        Some(_) | None => Ok(()),
    }
}

fn vetoed(run: &Run, veto: &str) -> TaskError {
    let (node, own) = (&run.order().task.node, &run.parts().node);
    permanent(
        format!("{own} does not give back to {node}: {veto}"),
        format!(
            "See to the reason of the veto; the log of the HA engine of {own} tells more. It is never overridden. Then resume \
             the update."
        ),
    )
}

/// Pools of the taken node that are not home, in the order in which they go.
async fn pools_away(run: &Run) -> Result<Vec<PoolState>, TaskError> {
    let node = &run.order().task.node;
    let pools = run.inner().bounded(run.parts().platform.pools()).await;
    let mut pools = pools.map_err(|e| run.unseen("the pools", &e))?;
    pools.retain(|pool| pool.home == *node && pool.owner.as_ref() != Some(node));
    pools.sort_by(|a, b| (!a.root, &a.name).cmp(&(!b.root, &b.name)));
    Ok(pools)
}

async fn lifs_away(run: &Run) -> Result<Vec<LifState>, TaskError> {
    let node = &run.order().task.node;
    let lifs = run.inner().bounded(run.parts().platform.lifs()).await;
    let mut lifs = lifs.map_err(|e| run.unseen("the LIFs", &e))?;
    lifs.retain(|lif| lif.home == *node && lif.current.as_ref() != Some(node));
    Ok(lifs)
}

async fn give_pools_back(
    run: &Run,
    id: TransitionId,
    away: Vec<PoolState>,
) -> Result<(), TaskError> {
    let total = away.len() as u64;
    for (done, pool) in (0..).zip(away) {
        run.say(&format!("giving pool {} back", pool.name), done, total);
        give_pool_back(run, id, &pool.name).await?;
    }
    Ok(())
}

/// A pool that the engine is silent about is looked for, and asked for again a few times.
async fn give_pool_back(run: &Run, id: TransitionId, pool: &PoolName) -> Result<(), TaskError> {
    let request = GivebackRequest {
        id,
        pool: Some(pool.clone()),
    };
    let mut silence = String::new();
    for _ in 0..run.bounds().tries {
        match run.act(run.parts().platform.give_back(&request)).await {
            Ok(Acted::Yes) => return Ok(()),
            Ok(Acted::Unknown(why)) => silence = why,
            Err(veto) => return Err(vetoed(run, &format!("pool {pool}: {veto}"))),
        }
        tokio::time::sleep(run.bounds().poll).await;
        match pools_away(run).await {
            Ok(away) if !away.iter().any(|p| p.name == *pool) => return Ok(()),
            Ok(_) | Err(_) => {}
        }
    }
    let message = format!("giving back pool {pool}: the HA engine does not answer: {silence}");
    Err(transient(message, "See to the HA services of the node."))
}

/// A node that has no pool away, as one without pools of its own, is held by its takeover all the same: that is ended. Asked
/// for what is over already, the engine does nothing.
async fn give_nothing_back(run: &Run, id: TransitionId) -> Result<(), TaskError> {
    let node = &run.order().task.node;
    run.say(&format!("ending the takeover of {node}"), 0, 0);
    let request = GivebackRequest { id, pool: None };
    let mut silence = String::new();
    for _ in 0..run.bounds().tries {
        match run.act(run.parts().platform.give_back(&request)).await {
            Ok(Acted::Yes) => return Ok(()),
            Ok(Acted::Unknown(why)) => silence = why,
            Err(veto) => return Err(vetoed(run, &veto)),
        }
        tokio::time::sleep(run.bounds().poll).await;
    }
    let message = format!(
        "giving {node} back, which has no pool away: the HA engine does not answer: {silence}"
    );
    Err(transient(message, "See to the HA services of the node."))
}

/// All pools are home: the engine must come to say that the node serves.
async fn serves_again(run: &Run, id: TransitionId) -> Result<(), TaskError> {
    let node = &run.order().task.node;
    let mut patience = Patience::new(run.no_progress());
    let mut last = None;
    loop {
        let unseen = match run.pair().await {
            Ok(pair) => {
                let stage = stage_of_ours(run, &pair, id)?;
                if stage == TransitionStage::GivenBack && pair.partner.ha == MemberHa::Serving {
                    return Ok(());
                }
                last = Some((stage, pair.partner.ha));
                String::new()
            }
            Err(unseen) => format!(": {}", unseen.message),
        };
        run.say(&format!("waiting for {node} to serve{unseen}"), 0, 0);
        if let Err(bound) = patience.wait(last, run.bounds().poll).await {
            let message = format!("the giveback to {node} has stood still for {bound:?}{unseen}");
            return Err(permanent(message, VETO_ACTION));
        }
    }
}

async fn send_lifs_home(run: &Run) -> Result<(), TaskError> {
    let away = lifs_away(run).await?;
    let total = away.len() as u64;
    for (done, lif) in (0..).zip(away) {
        run.say(&format!("sending LIF {} home", lif.name), done, total);
        send_lif_home(run, &lif.name).await?;
    }
    Ok(())
}

async fn send_lif_home(run: &Run, lif: &LifName) -> Result<(), TaskError> {
    let mut silence = String::new();
    for _ in 0..run.bounds().tries {
        match run.act(run.parts().platform.send_home(lif)).await {
            Ok(Acted::Yes) => return Ok(()),
            Ok(Acted::Unknown(why)) => silence = why,
            Err(why) => {
                let message = format!("LIF {lif} cannot be sent home: {why}");
                return Err(permanent(
                    message,
                    "Send the LIF home, then resume the update.",
                ));
            }
        }
        tokio::time::sleep(run.bounds().poll).await;
    }
    let message = format!("LIF {lif} cannot be sent home: {silence}");
    Err(transient(
        message,
        "See to the network services of the node.",
    ))
}

async fn verify(run: &Run, id: TransitionId) -> Result<(), TaskError> {
    let node = &run.order().task.node;
    let stage = stage_of_ours(run, &run.pair().await?, id)?;
    let (pools, lifs) = (pools_away(run).await?, lifs_away(run).await?);
    if stage == TransitionStage::GivenBack && pools.is_empty() && lifs.is_empty() {
        return Ok(());
    }
    let message = format!(
        "after the giveback {} pools and {} LIFs of {node} are not home",
        pools.len(),
        lifs.len()
    );
    Err(transient(message, VETO_ACTION))
}
