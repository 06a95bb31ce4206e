//! A LIF server as the supervisor sees it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use evenkeel_model::NodeName;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::Hosting;
use crate::process::append_log;

/// A line to a pipe that its process reads at once; a stuck one is killed and started anew.
const WRITE_BOUND: Duration = Duration::from_secs(1);

/// The LIF server of one node: running while the node has power.
pub(crate) struct LifProcess {
    node: NodeName,
    program: PathBuf,
    log: PathBuf,
    hosting: Hosting,
    running: Option<(Child, ChildStdin)>,
}

impl LifProcess {
    pub(crate) fn new(node: NodeName, program: PathBuf, log: PathBuf) -> Self {
        Self {
            node,
            program,
            log,
            hosting: Hosting::default(),
            running: None,
        }
    }

    /// Power comes: the process starts and hosts nothing yet.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.hosting = Hosting::default();
        self.spawn()
    }

    fn spawn(&mut self) -> Result<()> {
        let log = append_log(&self.log)?;
        let mut child = Command::new(&self.program)
            .args(["lab", "lif-server", "--node", self.node.as_str()])
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the LIF server of {}", self.node))?;
        let stdin = child.stdin.take().context("its stdin is piped")?;
        self.running = Some((child, stdin));
        Ok(())
    }

    /// Power is gone: returns when the process is, and its addresses are free.
    pub(crate) async fn stop(&mut self) {
        self.hosting = Hosting::default();
        if let Some((mut child, stdin)) = self.running.take() {
            drop(stdin);
            if let Err(error) = child.kill().await {
                tracing::warn!(node = %self.node, %error, "cannot kill the LIF server");
            }
        }
    }

    /// From now on it hosts these.
    pub(crate) async fn host(&mut self, hosting: Hosting) -> Result<()> {
        self.hosting = hosting;
        self.tell().await
    }

    async fn tell(&mut self) -> Result<()> {
        let mut line = serde_json::to_vec(&self.hosting)?;
        line.push(b'\n');
        let Some((_, stdin)) = &mut self.running else {
            return Ok(());
        };
        let written = timeout(WRITE_BOUND, stdin.write_all(&line)).await;
        written
            .context("the LIF server does not read")?
            .context("the LIF server is gone")
    }

    /// Starts it anew if it ended while the node has power: its clients wait.
    pub(crate) async fn watch(&mut self) -> Result<()> {
        let Some((child, _)) = &mut self.running else {
            return Ok(());
        };
        if child.try_wait()?.is_none() {
            return Ok(());
        }
        tracing::warn!(node = %self.node, "the LIF server ended; starting it anew");
        self.spawn()?;
        self.tell().await
    }
}
