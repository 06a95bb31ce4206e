//! What every open operation waits for, as this node can tell.

use std::time::Duration;

use evenkeel_interconnect::{AgentRequest, AgentResponse};
use evenkeel_model::{Awaiting, NodeName, OperationId};
use evenkeel_planner::{explain, queued};
use evenkeel_record::{Contact, View};
use tokio::time::timeout;

use crate::elect::Role;
use crate::front_door::FrontDoor;

/// A coordinator answers within milliseconds; whoever asks should not wait for one that is gone.
const ANSWER: Duration = Duration::from_secs(2);

impl FrontDoor {
    /// The same as [`FrontDoor::explain`], but live on every node: the coordinator is asked. From the record where
    /// it does not answer, which is said first.
    pub async fn explain_live(&self) -> Vec<Awaiting> {
        let view = self.follower.view();
        let elsewhere = view.control().coordinator.as_ref();
        let Some(coordinator) = elsewhere.filter(|it| it.node != self.me) else {
            return self.explain();
        };
        if self.follower.contact().trouble.is_some() {
            return self.explain();
        }
        match self.ask(&coordinator.node).await {
            Ok(awaiting) => awaiting,
            Err(why) => {
                let mut awaiting = vec![self.silent(&coordinator.node, why)];
                awaiting.extend(self.explain());
                awaiting
            }
        }
    }

    async fn ask(&self, coordinator: &NodeName) -> Result<Vec<Awaiting>, String> {
        let call = self.agents.call(coordinator, AgentRequest::Explain);
        match timeout(ANSWER, call).await {
            Ok(Ok(AgentResponse::Explained { awaiting })) => Ok(awaiting),
            Ok(Ok(AgentResponse::Refused { reason, .. })) => Err(reason),
            Ok(Ok(other)) => Err(format!("an answer to another question: {other:?}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
        }
    }

    /// The coordinator does not answer. Mostly another one is there in a moment.
    fn silent(&self, coordinator: &NodeName, why: String) -> Awaiting {
        Awaiting {
            operation: None,
            node: Some(coordinator.clone()),
            what: format!(
                "node \"{coordinator}\", which coordinates, to answer, or another node to take its place"
            ),
            since: self.clock.wall(),
            seen: Some(why),
            remaining: None,
            unblock: format!(
                "Another node takes its place within seconds, by itself. If none does, evenkeeld of node \
                 \"{coordinator}\" is frozen while it writes the record: restart it."
            ),
        }
    }

    /// Whether this node coordinates.
    pub fn coordinates(&self) -> bool {
        matches!(*self.role.borrow(), Role::Coordinator { .. })
    }

    /// What every open operation waits for: live on the coordinator, from the record elsewhere. A node that does
    /// not reach the record says that first: what follows is what the record last said.
    pub fn explain(&self) -> Vec<Awaiting> {
        let view = self.follower.view();
        let mut awaiting = self.out_of_reach(&view, &self.follower.contact());
        awaiting.extend(self.hindered());
        awaiting.extend(self.within_reach(&view));
        awaiting.extend(self.unpacking(&view));
        awaiting
    }

    fn within_reach(&self, view: &View) -> Vec<Awaiting> {
        let queued = || queued(view.open_operations(), view.catalogue());
        // What the coordinator awaited before the newest event may be what that event ended.
        if let Role::Coordinator {
            awaiting,
            decided_at,
            ..
        } = &*self.role.borrow()
            && !awaiting.is_empty()
            && *decided_at == view.position()
        {
            let mut awaiting = awaiting.clone();
            // While nothing is open, what firmware waits for is among it.
            if !view.control().open.is_empty() {
                awaiting.extend(queued());
            }
            return awaiting;
        }
        let operations = view
            .open_operations()
            .map(|operation| (operation.id, operation.clone()))
            .collect();
        let mut awaiting = explain(
            view.control(),
            &operations,
            self.clock.wall(),
            &self.tunables,
        );
        awaiting.extend(queued());
        awaiting
    }

    /// A coordinator, where this node cannot be one.
    fn hindered(&self) -> Option<Awaiting> {
        let Role::Follower {
            hindered: Some((why, since)),
        } = &*self.role.borrow()
        else {
            return None;
        };
        Some(Awaiting {
            operation: None,
            node: Some(self.me.clone()),
            what: format!(
                "a coordinator: node \"{}\" cannot be one, and another node has to be",
                self.me
            ),
            since: *since,
            seen: Some(why.clone()),
            remaining: None,
            unblock: "Another node coordinates within seconds, by itself, if it can. If none can, mend what is seen: \
                      the disk under the record is full or read-only, or this evenkeeld is older than what the record \
                      holds. All goes on by itself then."
                .to_owned(),
        })
    }

    /// The record, awaited by every open operation, or by the cluster while nothing is open.
    fn out_of_reach(&self, view: &View, contact: &Contact) -> Vec<Awaiting> {
        let Some(why) = &contact.trouble else {
            return Vec::new();
        };
        let since = contact
            .last
            .map_or_else(|| self.clock.wall(), |last| last.wall);
        let wait = |operation: Option<OperationId>| {
            Awaiting {
            operation,
            node: None,
            what: format!(
                "the record, which node \"{}\" does not reach: what else is said here is as old as that",
                self.me
            ),
            since,
            seen: Some(why.clone()),
            remaining: None,
            unblock: "The record answering this node: see to the disk it is on and to the network to it. Tasks \
                      that nodes have begun come to their end meanwhile; nothing new begins. All goes on by \
                      itself then. Another node that reaches it tells more."
                .to_owned(),
        }
        };
        let mut open: Vec<Awaiting> = view
            .open_operations()
            .map(|operation| wait(Some(operation.id)))
            .collect();
        if open.is_empty() {
            open.push(wait(None));
        }
        open
    }
}
