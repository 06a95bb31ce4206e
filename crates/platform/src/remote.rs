//! The machine behind another process of ours: the daemon itself has no devices and no privileges where a unit of systemd's
//! starts it, and [`serve`] runs in a process that has.
//!
//! One connection is one call: a line of JSON each way, in the vocabulary that the simulated hardware is spoken to with. A call
//! goes on when whoever asked is gone: an act that has begun, a flash above all, is never cut.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::Slot;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::devices::SharedDevices;
use crate::sim::{Command, DeviceCall, DeviceReply, MAX_LINE_BYTES, Port, Reply, Transport};
use crate::traits::{PlatformError, SharedPlatform};

/// Longer than any call is bounded by the backend that carries it out: only a process that hangs takes so long.
pub const CALL: Duration = Duration::from_secs(600);
/// Calls at once: an observation of everything, and what tasks, guards and firmware ask for meanwhile.
const MOST_AT_ONCE: usize = 128;
/// After a connection that could not be accepted: there may be no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Asked {
    /// Where are the slots?
    Slots,
    Call {
        command: Command,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
enum Answered {
    Slots { a: PathBuf, b: PathBuf },
    Reply { reply: Reply },
    Failed { error: PlatformError },
}

/// A node's machine, behind a process that runs [`serve`].
pub type Remote = Port<Behind>;

/// Carries calls there, each on a connection of its own.
#[derive(Clone, Debug)]
pub struct Behind {
    socket: PathBuf,
    a: PathBuf,
    b: PathBuf,
}

impl Remote {
    /// Asks whoever listens at `socket` where the machine's slots are.
    pub async fn connect(socket: &Path) -> Result<Self, PlatformError> {
        match exchange(socket, &Asked::Slots).await? {
            Answered::Slots { a, b } => {
                let socket = socket.to_owned();
                Ok(Self::new(Behind { socket, a, b }))
            }
            Answered::Failed { error } => Err(error),
            Answered::Reply { .. } => Err(strange(socket)),
        }
    }
}

#[async_trait]
impl Transport for Behind {
    async fn call(&self, command: Command) -> Result<Reply, PlatformError> {
        match exchange(&self.socket, &Asked::Call { command }).await? {
            Answered::Reply { reply } => Ok(reply),
            Answered::Failed { error } => Err(error),
            Answered::Slots { .. } => Err(strange(&self.socket)),
        }
    }

    /// Real slots need not lie beside each other: nobody asks.
    fn slots_dir(&self) -> PathBuf {
        self.a.parent().unwrap_or(&self.a).to_owned()
    }

    fn slot_path(&self, slot: Slot) -> PathBuf {
        match slot {
            Slot::A => self.a.clone(),
            Slot::B => self.b.clone(),
        }
    }
}

fn strange(socket: &Path) -> PlatformError {
    let socket = socket.display();
    PlatformError::Unavailable(format!(
        "the machine behind {socket} answered another question"
    ))
}

async fn exchange(socket: &Path, asked: &Asked) -> Result<Answered, PlatformError> {
    let failed = |why: String| {
        PlatformError::Unavailable(format!("the machine behind {}: {why}", socket.display()))
    };
    match timeout(CALL, exchange_line(socket, asked)).await {
        Ok(Ok(answered)) => Ok(answered),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {CALL:?}"))),
    }
}

async fn exchange_line(socket: &Path, asked: &Asked) -> io::Result<Answered> {
    let mut stream = UnixStream::connect(socket).await?;
    say(&mut stream, asked).await?;
    hear(&mut stream).await
}

async fn say(stream: &mut UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn hear<T: for<'a> Deserialize<'a>>(stream: &mut UnixStream) -> io::Result<T> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.take(MAX_LINE_BYTES));
    if reader.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

/// What [`serve`] serves.
#[derive(Clone)]
struct Machine {
    platform: SharedPlatform,
    devices: SharedDevices,
}

/// Answers for a machine at `listener` until `stop`, and then ends the calls that are under way, within [`CALL`]: an act is not cut in
/// half. Whoever can connect acts as this process does: the socket is root's alone.
pub async fn serve(
    listener: UnixListener,
    platform: SharedPlatform,
    devices: SharedDevices,
    stop: impl Future<Output = ()>,
) {
    let machine = Machine { platform, devices };
    let mut calls = JoinSet::new();
    tokio::select! {
        () = stop => {}
        () = accept(&listener, &machine, &mut calls) => {}
    }
    drop(listener);
    let ended = async { while calls.join_next().await.is_some() {} };
    if timeout(CALL, ended).await.is_err() {
        tracing::error!("calls to the machine have not ended within {CALL:?}; they are cut");
    }
}

/// Never ends.
async fn accept(listener: &UnixListener, machine: &Machine, calls: &mut JoinSet<()>) {
    loop {
        while calls.len() >= MOST_AT_ONCE {
            calls.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                let machine = machine.clone();
                calls.spawn(async move { machine.answer(stream).await });
            }
            Err(error) => {
                tracing::error!(%error, "the machine is asked in vain");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while calls.try_join_next().is_some() {}
    }
}

impl Machine {
    async fn answer(&self, mut stream: UnixStream) {
        let done = async {
            let asked = hear(&mut stream).await?;
            let answered = self.answered(asked).await;
            say(&mut stream, &answered).await
        };
        let done: io::Result<()> = done.await;
        if let Err(error) = done {
            tracing::debug!(%error, "who asked the machine is gone");
        }
    }

    async fn answered(&self, asked: Asked) -> Answered {
        match asked {
            Asked::Slots => Answered::Slots {
                a: self.platform.path(Slot::A),
                b: self.platform.path(Slot::B),
            },
            Asked::Call { command } => match self.reply(command).await {
                Ok(reply) => Answered::Reply { reply },
                Err(error) => Answered::Failed { error },
            },
        }
    }

    async fn reply(&self, command: Command) -> Result<Reply, PlatformError> {
        let it: &SharedPlatform = &self.platform;
        Ok(match command {
            Command::Pair => Reply::Pair(it.pair().await?),
            Command::TakeOver(request) => done(it.take_over(&request).await)?,
            Command::GiveBack(request) => done(it.give_back(&request).await)?,
            Command::ServeAlone => done(it.serve_alone().await)?,
            Command::Slots => Reply::Slots(it.slots().await?),
            Command::MarkUnbootable { slot } => done(it.mark_unbootable(slot).await)?,
            Command::SetDefault { slot, tries } => done(it.set_default(slot, tries).await)?,
            Command::MarkGood { slot } => done(it.mark_good(slot).await)?,
            Command::BootId => Reply::BootId(it.boot_id().await?),
            Command::Reboot(request) => done(it.reboot(&request).await)?,
            Command::Sp => Reply::Sp(it.sp().await?),
            Command::Lifs => Reply::Lifs(it.lifs().await?),
            Command::SendHome { lif } => done(it.send_home(&lif).await)?,
            Command::Pools => Reply::Pools(it.pools().await?),
            Command::Disks => Reply::Disks(it.disks().await?),
            Command::Load => Reply::Load(it.load().await?),
            Command::TimeSync => Reply::TimeSync(it.time_sync().await?),
            Command::ExclusiveJobs => Reply::Texts(it.exclusive_jobs().await?),
            Command::Alerts => Reply::Texts(it.alerts().await?),
            Command::ClientHazards => Reply::Texts(it.client_hazards().await?),
            Command::Space => Reply::Space(it.space().await?),
            Command::Witness => Reply::Witness(it.witness().await?),
            Command::Fencing => Reply::Fencing(it.fencing().await?),
            Command::BootSettings => Reply::BootSettings(it.boot_settings().await?),
            Command::PartnerSp => Reply::PartnerSp(it.partner_sp().await?),
            Command::Ports => Reply::Ports(it.ports().await?),
            Command::UnownedDisks => Reply::UnownedDisks(it.unowned_disks().await?),
            Command::Shelves => Reply::Shelves(it.shelves().await?),
            Command::ClientRisks => Reply::ClientRisks(it.client_risks().await?),
            Command::Machine => Reply::Machine(it.machine().await?),
            Command::Device(call) => Reply::Device(self.device(call).await?),
        })
    }

    async fn device(&self, call: DeviceCall) -> Result<DeviceReply, PlatformError> {
        let it: &SharedDevices = &self.devices;
        let done = |act: Result<(), PlatformError>| act.map(|()| DeviceReply::Done);
        Ok(match call {
            DeviceCall::Drives => DeviceReply::Drives(it.drives().await?),
            DeviceCall::Groups => DeviceReply::Groups(it.groups().await?),
            DeviceCall::Modules => DeviceReply::Modules(it.modules().await?),
            DeviceCall::Processor => DeviceReply::Processor(it.processor().await?),
            DeviceCall::TakeOffline(request) => done(it.take_offline(&request).await)?,
            DeviceCall::BringOnline(request) => done(it.bring_online(&request).await)?,
            DeviceCall::ReadTest { drive } => done(it.read_test(&drive).await)?,
            DeviceCall::Scsi { target, command } => {
                DeviceReply::Scsi(it.scsi(&target).execute(&command).await?)
            }
            DeviceCall::Nvme { drive, command } => {
                DeviceReply::Nvme(it.nvme(&drive).submit(&command).await?)
            }
            DeviceCall::NvmeReset { drive, reset } => done(it.nvme(&drive).reset(reset).await)?,
            DeviceCall::Redfish(request) => {
                DeviceReply::Redfish(it.redfish().send(&request).await?)
            }
        })
    }
}

fn done(act: Result<(), PlatformError>) -> Result<Reply, PlatformError> {
    act.map(|()| Reply::Done)
}

/// A shared machine, through whatever carries its calls.
pub fn shared<T: Transport>(port: Port<T>) -> (SharedPlatform, SharedDevices) {
    let port = Arc::new(port);
    (Arc::clone(&port) as SharedPlatform, port)
}
