//! One node's `evenkeeld`: what a service manager does for it.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use evenkeel_model::{BootId, NodeName};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Time for a clean end: everything that matters is durable before it is said, so this only lets open
/// answers out.
const END_WITHIN: Duration = Duration::from_secs(2);
/// First pause before a daemon that ended by itself is started anew; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A daemon that lived this long has started well.
const STARTED_WELL: Duration = Duration::from_secs(2);
/// Bad starts in a row after which they are reported: an image on trial is given up then.
const BAD_STARTS: u32 = 5;

/// What the supervisor tells a node's runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The node is up: run this program.
    Start { program: PathBuf, boot_id: BootId },
    /// The node shuts down: end it.
    End,
    /// The node lost power: kill it.
    Kill,
    /// Somebody kills the daemon only: it is started anew.
    Crash,
    /// The lab goes down: end it, and the runner with it.
    Quit,
}

/// What a runner tells the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Its process is another one, or none.
    Pid(NodeName),
    /// The daemon of this boot does not stay up.
    BadStarts { node: NodeName, boot_id: BootId },
}

/// A handle on a node's runner.
pub(crate) struct Runner {
    orders: mpsc::UnboundedSender<Order>,
    pid: Arc<Mutex<Option<u32>>>,
}

impl Runner {
    pub(crate) fn start(
        node: NodeName,
        config: PathBuf,
        log: PathBuf,
        guard: PathBuf,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let pid = Arc::new(Mutex::new(None));
        let runner = Running {
            node,
            config,
            log,
            guard,
            reports,
            pid: Arc::clone(&pid),
            child: None,
            wanted: None,
            bad_starts: 0,
            retry_at: None,
        };
        tokio::spawn(runner.run(inbox));
        Self { orders, pid }
    }

    pub(crate) fn tell(&self, order: Order) {
        // A runner ends only after Quit.
        self.orders.send(order).ok();
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        *self.pid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the daemon and its runner have ended, after [`Order::Quit`].
    pub(crate) async fn ended(&self) {
        self.orders.closed().await;
    }
}

struct Wanted {
    program: PathBuf,
    boot_id: BootId,
}

struct Running {
    node: NodeName,
    config: PathBuf,
    log: PathBuf,
    guard: PathBuf,
    reports: mpsc::UnboundedSender<Report>,
    pid: Arc<Mutex<Option<u32>>>,
    child: Option<(Child, Instant)>,
    wanted: Option<Wanted>,
    bad_starts: u32,
    retry_at: Option<Instant>,
}

impl Running {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        loop {
            let retry_at = self.retry_at;
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(Order::Quit) | None => return self.end().await,
                    Some(order) => self.obey(order).await,
                },
                () = ended(&mut self.child) => self.ended_by_itself(),
                () = due(retry_at) => self.spawn(),
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Start { program, boot_id } => {
                self.kill().await;
                self.bad_starts = 0;
                self.wanted = Some(Wanted { program, boot_id });
                self.spawn();
            }
            Order::End => {
                self.end().await;
            }
            Order::Kill => {
                self.wanted = None;
                self.kill().await;
            }
            Order::Crash => {
                if let Some((child, _)) = &mut self.child
                    && let Err(error) = child.start_kill()
                {
                    tracing::warn!(node = %self.node, %error, "cannot kill evenkeeld");
                }
            }
            Order::Quit => {}
        }
    }

    fn spawn(&mut self) {
        self.retry_at = None;
        let Some(wanted) = &self.wanted else { return };
        match self.command(&wanted.program) {
            Ok(child) => {
                self.child = Some((child, Instant::now()));
                self.tell_pid();
            }
            Err(error) => {
                tracing::warn!(node = %self.node, error = format!("{error:#}"), "cannot start");
                self.count_bad_start();
            }
        }
    }

    /// The guard asks the kernel to be killed when the supervisor is, and then becomes the daemon: an
    /// `evenkeeld` never outlives the hardware it runs on.
    fn command(&self, program: &Path) -> Result<Child> {
        let log = append_log(&self.log)?;
        Command::new(&self.guard)
            .args(["lab", "run-daemon", "--parent"])
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(program)
            .arg("--config")
            .arg(&self.config)
            .current_dir(self.config.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))
    }

    fn ended_by_itself(&mut self) {
        let Some((_, started)) = self.child.take() else {
            return;
        };
        self.tell_pid();
        if started.elapsed() >= STARTED_WELL {
            self.bad_starts = 0;
        }
        self.count_bad_start();
    }

    fn count_bad_start(&mut self) {
        let Some(wanted) = &self.wanted else { return };
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.bad_starts.min(10));
        self.bad_starts += 1;
        self.retry_at = Some(Instant::now() + pause.min(LONGEST_PAUSE));
        if self.bad_starts >= BAD_STARTS {
            let report = Report::BadStarts {
                node: self.node.clone(),
                boot_id: wanted.boot_id,
            };
            self.reports.send(report).ok();
        }
    }

    async fn end(&mut self) {
        self.wanted = None;
        if let Some((child, _)) = &mut self.child
            && let Some(pid) = child.id()
        {
            let pid = Pid::from_raw(pid as i32);
            if let Err(error) = kill(pid, Signal::SIGTERM) {
                tracing::debug!(node = %self.node, %error, "cannot send SIGTERM");
            }
            if timeout(END_WITHIN, child.wait()).await.is_ok() {
                self.child = None;
            }
        }
        self.kill().await;
    }

    async fn kill(&mut self) {
        self.retry_at = None;
        if let Some((mut child, _)) = self.child.take()
            && let Err(error) = child.kill().await
        {
            tracing::warn!(node = %self.node, %error, "cannot kill evenkeeld");
        }
        self.tell_pid();
    }

    fn tell_pid(&self) {
        let new = self.child.as_ref().and_then(|(child, _)| child.id());
        let mut pid = self.pid.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *pid, new) != new {
            self.reports.send(Report::Pid(self.node.clone())).ok();
        }
    }
}

async fn ended(child: &mut Option<(Child, Instant)>) {
    match child {
        Some((child, _)) => {
            if let Err(error) = child.wait().await {
                tracing::warn!(%error, "cannot wait for evenkeeld");
                // It will be found dead or alive at the next look.
                sleep(FIRST_PAUSE).await;
            }
        }
        None => std::future::pending().await,
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A log file to append to.
pub(crate) fn append_log(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.with_context(|| format!("cannot open {}", path.display()))
}

/// Becomes `program`, to be killed when the process `parent`, the supervisor, ends.
pub(crate) fn run_guarded(parent: u32, program: &Path, arguments: &[String]) -> Result<()> {
    use std::os::unix::process::CommandExt;
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("cannot follow the supervisor")?;
    // The supervisor may have ended before the line above.
    let now = nix::unistd::getppid().as_raw();
    anyhow::ensure!(
        i64::from(now) == i64::from(parent),
        "the supervisor is gone"
    );
    let error = std::process::Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
