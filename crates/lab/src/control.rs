//! What can be asked of a running supervisor.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use evenkeel_model::NodeName;
use evenkeel_platform::sim::{Fault, LogEntry};
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::lines;
use crate::status::LabStatus;

/// The supervisor answers from memory, after at most one small write.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Daemons get two seconds to end, side by side; the rest is quick.
const DOWN_WITHIN: Duration = Duration::from_secs(30);
const DOWN_POLL: Duration = Duration::from_millis(50);

/// A request to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum ControlRequest {
    /// How is everything?
    Status,
    /// End the lab.
    Down,
    /// Put a fault on a node or take it off.
    Fault {
        /// Which node.
        node: NodeName,
        /// Which fault.
        fault: Fault,
        /// On or off.
        on: bool,
    },
    /// Have the node taken over by its partner, by hand.
    TakeOver {
        /// Which node.
        node: NodeName,
    },
    /// Have everything given back to the node, by hand.
    GiveBack {
        /// Which node.
        node: NodeName,
    },
    /// Kill the node's `evenkeeld`, and nothing else.
    Kill {
        /// Which node.
        node: NodeName,
    },
    /// Reset the node without warning.
    Reset {
        /// Which node.
        node: NodeName,
    },
    /// What happened to the hardware after an entry of its log.
    Events {
        /// Its sequence number; 0 for all that is kept.
        after: u64,
    },
}

/// The supervisor's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ControlResponse {
    /// Done.
    Done,
    /// To [`ControlRequest::Status`].
    Status {
        /// Everything.
        status: Box<LabStatus>,
    },
    /// To [`ControlRequest::Events`].
    Events {
        /// Oldest first.
        events: Vec<LogEntry>,
    },
    /// Not done.
    Failed {
        /// Why.
        why: String,
    },
}

/// A hand on a running lab.
#[derive(Clone, Debug)]
pub struct Control {
    layout: Layout,
}

impl Control {
    /// The lab in `dir`. Whether it runs shows with the first request.
    pub fn new(dir: &Path) -> Result<Self> {
        let layout = Layout::new(dir)?;
        Ok(Self { layout })
    }

    async fn ask(&self, request: &ControlRequest) -> Result<ControlResponse> {
        let socket = self.layout.control_socket();
        let answer = lines::ask(&socket, request, ANSWER_WITHIN).await;
        let dir = self.layout.dir().display();
        match answer.with_context(|| format!("no lab is running in {dir}"))? {
            ControlResponse::Failed { why } => Err(anyhow!(why)),
            answer @ (ControlResponse::Done
            | ControlResponse::Status { .. }
            | ControlResponse::Events { .. }) => Ok(answer),
        }
    }

    /// Asks for something to be done.
    pub async fn act(&self, request: &ControlRequest) -> Result<()> {
        match self.ask(request).await? {
            ControlResponse::Done => Ok(()),
            other => Err(anyhow!("the supervisor answered {other:?}")),
        }
    }

    /// How everything is.
    pub async fn status(&self) -> Result<LabStatus> {
        match self.ask(&ControlRequest::Status).await? {
            ControlResponse::Status { status } => Ok(*status),
            other => Err(anyhow!("the supervisor answered {other:?}")),
        }
    }

    /// What happened to the hardware after the entry `after`.
    pub async fn events(&self, after: u64) -> Result<Vec<LogEntry>> {
        match self.ask(&ControlRequest::Events { after }).await? {
            ControlResponse::Events { events } => Ok(events),
            other => Err(anyhow!("the supervisor answered {other:?}")),
        }
    }

    /// Ends the lab, and returns when its supervisor has ended.
    pub async fn down(&self) -> Result<()> {
        self.act(&ControlRequest::Down).await?;
        let gone = async {
            while crate::lock::is_held(&self.layout.lock())? {
                tokio::time::sleep(DOWN_POLL).await;
            }
            Ok(())
        };
        let ended = tokio::time::timeout(DOWN_WITHIN, gone).await;
        ended.context("the lab is still ending")?
    }
}
