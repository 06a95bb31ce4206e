//! Shelves: the SCSI devices that are enclosures, and what they say of themselves.
//!
//! They are asked by their own diagnostic pages: the kernel's `/sys/class/enclosure` knows neither their modules nor their sensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use evenkeel_model::{ShelfModule, ShelfState};

use super::ses::{self, Enclosure};
use crate::Host;
use crate::devices::ScsiFile;
use crate::look::{Answer, blocking, entries, unavailable};
use evenkeel_platform::devices::{ScsiCommand, ScsiData, ScsiDevice, opcode, status};

/// The SCSI type of an enclosure.
const ENCLOSURE: &str = "13";
/// A shelf's process answers from memory.
const PAGE_MS: u32 = 4_000;
/// Pages of large shelves have some kilobytes.
const PAGE_BYTES: u16 = 0x8000;

/// Reads a diagnostic page of an enclosure.
#[async_trait]
pub trait SesPages: Send + Sync {
    /// The page, from a SCSI device that is given by its path (`/dev/sg3`).
    async fn page(&self, device: &str, page: u8) -> Answer<Vec<u8>>;
}

/// By SCSI commands: RECEIVE DIAGNOSTIC RESULTS.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScsiPages;

#[async_trait]
impl SesPages for ScsiPages {
    async fn page(&self, device: &str, page: u8) -> Answer<Vec<u8>> {
        let [high, low] = PAGE_BYTES.to_be_bytes();
        let command = ScsiCommand {
            cdb: vec![opcode::RECEIVE_DIAGNOSTIC, 1, page, high, low, 0],
            data: ScsiData::In(u32::from(PAGE_BYTES)),
            timeout_ms: PAGE_MS,
        };
        let file = ScsiFile::new(device);
        let mut reply = file.execute(&command).await?;
        // News of a reset, or of new microcode: the command was not carried out, and is the next time.
        if reply.status == status::CHECK_CONDITION {
            reply = file.execute(&command).await?;
        }
        match reply.status {
            status::GOOD => Ok(reply.data),
            other => Err(unavailable(format!(
                "{device} answers its page {page:02X}h with status {other:02X}h, sense {:02x?}",
                reply.sense
            ))),
        }
    }
}

/// A process of an enclosure: one module of a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// How it is spoken to.
    pub(crate) device: String,
    /// Where it hangs, as the kernel sees it.
    pub(crate) place: PathBuf,
    /// What it calls itself.
    pub(crate) model: Option<String>,
    /// What it says, or why it does not.
    pub(crate) said: Answer<Enclosure>,
}

/// All enclosures' processes that this node sees.
pub(crate) async fn processes(host: &Host, pages: &dyn SesPages) -> Answer<Vec<Process>> {
    let found = blocking(host, "the shelves", find).await?;
    let mut processes = Vec::new();
    for (device, place, model) in found {
        let said = async {
            let configuration = pages.page(&device, ses::CONFIGURATION).await?;
            let status = pages.page(&device, ses::STATUS).await?;
            ses::read(&configuration, &status)
        };
        let said = said.await;
        processes.push(Process {
            device,
            place,
            model,
            said,
        });
    }
    Ok(processes)
}

type Found = (String, PathBuf, Option<String>);

fn find(host: &Host) -> Answer<Vec<Found>> {
    let mut found = Vec::new();
    for address in entries(host, "/sys/bus/scsi/devices")? {
        let at = Path::new("/sys/bus/scsi/devices").join(&address);
        // Hosts and targets stand there too, and have no type.
        if host.read_if_any(at.join("type"))?.as_deref() != Some(ENCLOSURE) {
            continue;
        }
        let generic = entries(host, at.join("scsi_generic"))?.into_iter().next();
        let generic = generic.ok_or_else(|| {
            unavailable(format!(
                "enclosure {address} cannot be spoken to: load the kernel's module sg"
            ))
        })?;
        let place = std::fs::canonicalize(host.path(&at)).unwrap_or(at.clone());
        let model = host.read_if_any(at.join("model"))?;
        found.push((format!("/dev/{generic}"), place, model));
    }
    Ok(found)
}

/// A shelf, by what its modules say together.
pub(crate) struct Shelf<'a> {
    pub(crate) id: String,
    pub(crate) modules: Vec<Module<'a>>,
    sensors: Vec<String>,
}

/// A module of a shelf.
pub(crate) struct Module<'a> {
    pub(crate) name: String,
    /// It has no fault, and answers this node.
    pub(crate) ok: bool,
    /// Its process, if it answers.
    pub(crate) process: Option<&'a Process>,
}

/// The shelves. A module that does not answer is told of by the shelf's other module.
///
/// # Errors
/// Unavailable when more processes are silent than modules are missed: then there is a shelf of which nobody tells.
pub(crate) fn shelves(processes: &[Process]) -> Answer<Vec<Shelf<'_>>> {
    let mut shelves: BTreeMap<&str, Shelf<'_>> = BTreeMap::new();
    let said = |process: &Process| process.said.clone().ok();
    for process in processes {
        if let Ok(said) = &process.said {
            let shelf = shelves.entry(&said.id);
            shelf.or_insert_with(|| shelf_of(said));
        }
    }
    for process in processes {
        let Some(enclosure) = said(process) else {
            continue;
        };
        let shelf = shelves.get_mut(enclosure.id.as_str());
        let modules = shelf.into_iter().flat_map(|shelf| &mut shelf.modules);
        for module in modules.filter(|module| enclosure.through.as_ref() == Some(&module.name)) {
            module.process = Some(process);
        }
    }
    let mut missed = 0;
    for module in shelves.values_mut().flat_map(|shelf| &mut shelf.modules) {
        module.ok &= module.process.is_some();
        missed += usize::from(module.process.is_none());
    }
    let mut silent = processes.iter().filter_map(|process| {
        let why = process.said.as_ref().err()?;
        Some((&process.device, why))
    });
    match silent.nth(missed) {
        Some((device, why)) => Err(unavailable(format!("the enclosure at {device}: {why}"))),
        None => Ok(shelves.into_values().collect()),
    }
}

fn shelf_of<'a>(said: &Enclosure) -> Shelf<'a> {
    let module = |(name, ok): &(String, bool)| Module {
        name: name.clone(),
        ok: *ok,
        process: None,
    };
    Shelf {
        id: said.id.clone(),
        modules: said.modules.iter().map(module).collect(),
        sensors: said.sensors.clone(),
    }
}

/// Shelves as the planner looks at them.
pub(crate) fn states(processes: &[Process]) -> Answer<Vec<ShelfState>> {
    let shelves = shelves(processes)?.into_iter();
    let state = |shelf: Shelf<'_>| ShelfState {
        name: shelf.id,
        modules: shelf.modules.into_iter().map(told).collect(),
        sensors: shelf.sensors,
    };
    Ok(shelves.map(state).collect())
}

fn told(module: Module<'_>) -> ShelfModule {
    ShelfModule {
        name: module.name,
        ok: module.ok,
    }
}
