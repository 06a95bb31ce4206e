//! What the node sees. Each part is bounded and fails by itself: ignorance of one is not of all.

use std::future::Future;
use std::sync::PoisonError;

use evenkeel_interconnect::{AgentRequest, AgentResponse, Look};
use evenkeel_model::{
    Digest, NodeName, NodeObservation, Observed, PackagesStatus, PairState, Quorum, SlotsState,
    Version,
};
use evenkeel_platform::PlatformError;
use futures_util::future::join_all;

use crate::agent::Inner;
use crate::db::DbError;
use crate::guardian;

/// Looks at everything at once.
pub(crate) async fn observe(inner: &Inner, look: Look) -> Result<NodeObservation, DbError> {
    let parts = &inner.parts;
    let p = &parts.platform;
    let serving = async {
        tokio::join!(
            inner.look("slots", p.slots()),
            inner.look("pair", p.pair()),
            inner.look("pools", p.pools()),
            inner.look("lifs", p.lifs()),
            inner.look("disks", p.disks()),
            inner.look("load", p.load()),
            inner.look("sp", p.sp()),
        )
    };
    let around = async {
        tokio::join!(
            inner.look("time_sync", p.time_sync()),
            inner.look("exclusive_jobs", p.exclusive_jobs()),
            inner.look("alerts", p.alerts()),
            inner.look("client_hazards", p.client_hazards()),
            inner.look("client_risks", p.client_risks()),
            inner.look("space", p.space()),
            quorum(inner, look),
            packages(inner),
        )
    };
    let takeover = async {
        tokio::join!(
            inner.look("witness", p.witness()),
            inner.look("fencing", p.fencing()),
            inner.look("partner_sp", p.partner_sp()),
            inner.look("boot_settings", p.boot_settings()),
            inner.look("shelves", p.shelves()),
            inner.look("unowned_disks", p.unowned_disks()),
            inner.look("ports", p.ports()),
        )
    };
    let (serving, around, takeover) = tokio::join!(serving, around, takeover);
    let (slots, pair, pools, lifs, disks, load, sp) = serving;
    let (time_sync, exclusive_jobs, alerts, client_hazards, client_risks, space, quorum, packages) =
        around;
    let (witness, fencing, partner_sp, boot_settings, shelves, unowned_disks, ports) = takeover;
    let (held, status) = packages;
    Ok(NodeObservation {
        node: parts.node.clone(),
        boot_id: parts.boot_id,
        daemon: parts.daemon.clone(),
        version: version(inner, &slots),
        generation: parts.db.generation()?,
        slots,
        pair,
        pools,
        lifs,
        disks,
        load,
        sp,
        time_sync,
        exclusive_jobs,
        alerts: with_own_alert(alerts, guardian::alert(inner)?),
        client_hazards,
        quorum,
        space,
        witness,
        fencing,
        partner_sp,
        boot_settings,
        shelves,
        unowned_disks,
        ports,
        client_risks,
        packages: held,
        transfers: status.transfers,
        package_room: status.room,
        pull_trouble: status.trouble,
        accepts_unsigned: status.accepts_unsigned,
        gate_script: Observed::Known {
            value: parts.gate.is_configured(),
            at: parts.clock.wall(),
        },
        firmware: inner.observed("firmware", parts.firmware.status()),
        bundled_checks: inner.bundled_run(),
    })
}

impl Inner {
    /// The pair, bounded.
    pub(crate) async fn pair(&self) -> Result<Option<PairState>, PlatformError> {
        self.bounded(self.parts.platform.pair()).await
    }

    /// One look at the machine. No answer in time is no answer.
    pub(crate) async fn bounded<T>(
        &self,
        look: impl Future<Output = Result<T, PlatformError>>,
    ) -> Result<T, PlatformError> {
        let bound = self.parts.bounds.look;
        match tokio::time::timeout(bound, look).await {
            Ok(answer) => answer,
            Err(_) => Err(PlatformError::Unavailable(format!(
                "no answer within {bound:?}"
            ))),
        }
    }

    async fn look<T>(
        &self,
        what: &'static str,
        look: impl Future<Output = Result<T, PlatformError>>,
    ) -> Observed<T> {
        self.observed(what, self.bounded(look).await)
    }

    /// Dates an answer; an unknown is dated by the first failure in a row.
    fn observed<T>(&self, what: &'static str, answer: Result<T, impl ToString>) -> Observed<T> {
        let now = self.parts.clock.wall();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(value) => {
                failing.remove(what);
                Observed::Known { value, at: now }
            }
            Err(why) => {
                let since = *failing.entry(what).or_insert(now);
                Observed::Unknown {
                    why: why.to_string(),
                    since,
                }
            }
        }
    }
}

/// A node's version is what the manifest of the slot that booted says.
fn version(inner: &Inner, slots: &Observed<SlotsState>) -> Observed<Version> {
    let version = match slots {
        Observed::Unknown { why, .. } => Err(why.clone()),
        Observed::Known { value, .. } => match &value.slot(value.booted).image {
            Some(image) => Ok(image.version.clone()),
            None => Err(format!(
                "the booted slot {} has no readable manifest",
                value.booted
            )),
        },
    };
    inner.observed("version", version)
}

async fn quorum(inner: &Inner, look: Look) -> Observed<Quorum> {
    if look == Look::Itself {
        return Observed::Unknown {
            why: "nobody asked whether the other members answer".to_owned(),
            since: inner.parts.clock.wall(),
        };
    }
    let view = inner.parts.cluster.borrow().clone();
    if view.members.is_empty() {
        return inner.observed("quorum", Err("the members of the cluster are not known"));
    }
    let others = view
        .members
        .iter()
        .filter(|member| **member != inner.parts.node);
    let answers = join_all(others.map(|member| pinged(inner, member))).await;
    let silent = answers.into_iter().flatten().collect();
    let quorum = Quorum {
        record_reachable: view.record_reachable,
        silent,
    };
    inner.observed("quorum", Ok::<_, String>(quorum))
}

/// The member, if it is silent.
async fn pinged(inner: &Inner, member: &NodeName) -> Option<NodeName> {
    let ping = inner.parts.peers.call(member, AgentRequest::Ping);
    match tokio::time::timeout(inner.parts.bounds.ping, ping).await {
        Ok(Ok(AgentResponse::Pong { .. })) => None,
        Ok(Ok(_) | Err(_)) | Err(_) => Some(member.clone()),
    }
}

/// What the packages' part of an observation is made of. While the store does not answer, nothing is
/// known to be held, to come or to fail.
async fn packages(inner: &Inner) -> (Observed<Vec<Digest>>, PackagesStatus) {
    let bound = inner.parts.bounds.look;
    let answer = match tokio::time::timeout(bound, inner.parts.packages.status()).await {
        Ok(status) => status.map_err(|e| e.to_string()),
        Err(_) => Err(format!("the package store did not answer within {bound:?}")),
    };
    let (held, status) = match answer {
        Ok(mut status) => (Ok(std::mem::take(&mut status.held)), status),
        Err(why) => (Err(why), PackagesStatus::default()),
    };
    (inner.observed("packages", held), status)
}

fn with_own_alert(alerts: Observed<Vec<String>>, own: Option<String>) -> Observed<Vec<String>> {
    match (alerts, own) {
        (Observed::Known { mut value, at }, Some(own)) => {
            value.push(own);
            Observed::Known { value, at }
        }
        (alerts, _) => alerts,
    }
}
