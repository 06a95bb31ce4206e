//! The machine behind another process of ours: the daemon itself has no devices and no privileges where a unit of systemd's
//! starts it, and [`serve`] runs in a process that has.
//!
//! One connection is one call: a line of JSON each way, in the vocabulary of [`crate::wire`]. A call
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

use crate::devices::{REDFISH_PUSH, RedfishBody, SharedDevices};
use crate::traits::{PlatformError, SharedPlatform};
use crate::wire::{Command, DeviceCall, DeviceReply, MAX_LINE_BYTES, Port, Reply, Transport};

/// What a call may take beside what it says itself, of which the backend that carries it out knows more: only a process that hangs
/// takes longer. A call that ended here before it ended there would be made once more beside itself.
const CALL: Duration = Duration::from_secs(600);
/// How long a process that is told to end waits for calls that are under way: for a pushed image too.
pub const ENDS_WITHIN: Duration = CALL.saturating_add(REDFISH_PUSH);
/// The longest image that a line carries: three bytes are four characters there, and some room is left for the rest.
const IMAGE_MAX: usize = (MAX_LINE_BYTES as usize - (1 << 16)) / 4 * 3;
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
        check_size(&command)?;
        match exchange(&self.socket, &Asked::Call { command }).await? {
            Answered::Reply { reply } => Ok(reply),
            Answered::Failed { error } => Err(error),
            Answered::Slots { .. } => Err(strange(&self.socket)),
        }
    }

    fn slot_path(&self, slot: Slot) -> PathBuf {
        match slot {
            Slot::A => self.a.clone(),
            Slot::B => self.b.clone(),
        }
    }
}

/// What does not fit in a line would be cut there, and look like a process that has died.
fn check_size(command: &Command) -> Result<(), PlatformError> {
    match image(command).map(Vec::len) {
        Some(bytes) if bytes > IMAGE_MAX => Err(PlatformError::Refused(format!(
            "an image of {bytes} bytes is too big for the way to the process that has the machine, which carries {IMAGE_MAX}"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// The image that a service processor is to be sent.
fn image(command: &Command) -> Option<&Vec<u8>> {
    match command {
        Command::Device(DeviceCall::Redfish(request)) => match &request.body {
            RedfishBody::Multipart { image, .. } => Some(image),
            RedfishBody::None | RedfishBody::Json(_) => None,
        },
        _ => None,
    }
}

/// How long an answer may take.
fn bound(asked: &Asked) -> Duration {
    let Asked::Call { command } = asked else {
        return CALL;
    };
    let by_itself = match command {
        Command::Device(DeviceCall::Scsi { command, .. }) => millis(command.timeout_ms),
        Command::Device(DeviceCall::Nvme { command, .. }) => millis(command.timeout_ms),
        pushes if image(pushes).is_some() => REDFISH_PUSH,
        _ => Duration::ZERO,
    };
    CALL + by_itself
}

fn millis(milliseconds: u32) -> Duration {
    Duration::from_millis(milliseconds.into())
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
    let within = bound(asked);
    match timeout(within, exchange_line(socket, asked)).await {
        Ok(Ok(answered)) => Ok(answered),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {within:?}"))),
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

/// Answers for a machine at `listener` until `stop`, and then ends the calls that are under way, within [`ENDS_WITHIN`]: an act is not cut in
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
        biased;
        () = stop => {}
        () = accept(&listener, &machine, &mut calls) => {}
    }
    drop(listener);
    let ended = async { while calls.join_next().await.is_some() {} };
    if timeout(ENDS_WITHIN, ended).await.is_err() {
        tracing::error!("calls to the machine have not ended within {ENDS_WITHIN:?}; they are cut");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{
        NvmeCommand, RedfishMethod, RedfishRequest, ScsiCommand, ScsiData, ScsiTarget,
    };
    use evenkeel_model::DiskSerial;

    fn call(call: DeviceCall) -> Asked {
        let command = Command::Device(call);
        Asked::Call { command }
    }

    #[test]
    fn a_call_is_waited_for_longer_than_whoever_carries_it_out_waits() {
        let push = call(DeviceCall::Redfish(RedfishRequest {
            method: RedfishMethod::Post,
            path: "/redfish/v1/UpdateService/update".to_owned(),
            body: RedfishBody::Multipart {
                parameters: serde_json::json!({}),
                image: Arc::new(vec![1]),
            },
        }));
        assert!(bound(&push) > REDFISH_PUSH);
        let drive = DiskSerial::new("S1").unwrap();
        // A drive that is told to format or to activate may say so.
        let timeout_ms = 3_600_000;
        let scsi = call(DeviceCall::Scsi {
            target: ScsiTarget::Drive(drive.clone()),
            command: ScsiCommand {
                cdb: vec![0; 6],
                data: ScsiData::None,
                timeout_ms,
            },
        });
        let nvme = call(DeviceCall::Nvme {
            drive,
            command: NvmeCommand {
                opcode: 0x10,
                namespace: 0,
                dwords: Default::default(),
                data: ScsiData::None,
                timeout_ms,
            },
        });
        for long in [scsi, nvme] {
            assert!(bound(&long) > millis(timeout_ms));
        }
        assert_eq!(bound(&Asked::Slots), CALL);
        assert_eq!(bound(&call(DeviceCall::Drives)), CALL);
    }
}
