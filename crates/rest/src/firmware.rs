//! Firmware updates, those that wait too, and what nodes say of their devices, in the API's words.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{
    ApiError, BegunFirmware, Code, Device, Devices, DiskFirmware, Dqp, DqpRecords, FirmwareChange,
    FirmwareHistory, FirmwareProgress, FirmwareUpdateState, FirmwareWorker, FirmwareWorkerError,
    FirmwareWorkerProgress, FirmwareWorkerStatus, JobLink, JobRef, LastUpdateState, NodeDevices,
    NodeFirmware, NodeRef, ProcessorImage, ProcessorImageState, ProcessorType, RefusedFirmware,
    ShelfFirmware, Software, SpBmc, UpdateStatus, WaitingFirmware, WorkerState,
};
use evenkeel_model::{
    CatalogueEntry, DeviceFirmware, Digest, FirmwareAsked, FirmwareEntry, FirmwareKind,
    FirmwareStatus, NodeId, NodeName, ProcessorFirmware, QualificationInPlace, WallTime,
};
use evenkeel_record::projections::{FirmwareRow, FirmwareState, WorkerRow, WorkerRowState};

use crate::app::Shared;
use crate::request::{Asked, object};
use crate::respond::{Failure, json};

/// Updates that are shown beside the nodes: older ones are in the history.
const SHOWN: usize = 4;
/// What a disk takes as long as none was measured, in seconds: the average of the real product.
const SECONDS_PER_DISK: u32 = 120;

/// Adds what is known of firmware to every node. Every node shows all of the cluster's updates, as the real product's
/// do.
pub(crate) fn add_to(
    software: &mut Software,
    updates: Vec<FirmwareRow>,
    devices: &BTreeMap<NodeName, FirmwareStatus>,
) {
    let newest = updates.into_iter().rev().take(SHOWN);
    let progress: Vec<FirmwareProgress> = newest.map(progress).collect();
    for node in &mut software.nodes {
        let name = NodeName::new(&node.name).ok();
        let status = name.and_then(|name| devices.get(&name));
        if progress.is_empty() && status.is_none() {
            continue;
        }
        let mut firmware = status.map(of_devices).unwrap_or_default();
        firmware.cluster_fw_progress.clone_from(&progress);
        node.firmware = Some(firmware);
    }
}

fn of_devices(status: &FirmwareStatus) -> NodeFirmware {
    let works = |kind: &str| match status.work.iter().any(|line| line.starts_with(kind)) {
        true => UpdateStatus::Running,
        false => UpdateStatus::Idle,
    };
    let each = status.seconds_per_disk.unwrap_or(SECONDS_PER_DISK);
    NodeFirmware {
        cluster_fw_progress: Vec::new(),
        disk: Some(DiskFirmware {
            average_duration_per_disk: each,
            num_waiting_download: status.disks_waiting,
            total_completion_estimate: (status.disks_waiting * each).div_ceil(60),
            update_status: works("disk"),
        }),
        dqp: status.qualification.as_ref().map(dqp),
        shelf: Some(ShelfFirmware {
            in_progress_count: status.shelves_in_progress,
            update_status: match status.shelves_in_progress {
                0 => UpdateStatus::Idle,
                _ => UpdateStatus::Running,
            },
        }),
        sp_bmc: status.processor.as_ref().map(sp_bmc),
    }
}

fn dqp(package: &QualificationInPlace) -> Dqp {
    let number = |records: usize| u32::try_from(records).unwrap_or(u32::MAX);
    Dqp {
        file_name: package.file.clone(),
        record_count: DqpRecords {
            alias: number(package.records.alias),
            device: number(package.records.device),
            drive: number(package.records.drive),
            system: number(package.records.system),
        },
        revision: package.revision.to_string(),
        version: package.version.clone(),
    }
}

fn sp_bmc(processor: &ProcessorFirmware) -> SpBmc {
    let in_progress = processor.percent.is_some();
    let last = processor.ended.as_ref().map(|(_, passed)| match passed {
        true => LastUpdateState::Passed,
        false => LastUpdateState::Failed,
    });
    SpBmc {
        autoupdte: true,
        fw_type: match processor.is_bmc {
            true => ProcessorType::BMC,
            false => ProcessorType::SP,
        },
        image: ProcessorImage::Primary,
        in_progress,
        is_current: processor.running.is_some() && !in_progress,
        last_update_state: last,
        percent_done: processor.percent.unwrap_or(100),
        running_version: processor.running.as_ref().map(ToString::to_string),
        start_time: processor.started.map(WallTime::to_api),
        end_time: processor.ended.as_ref().map(|(at, _)| at.to_api()),
        state: match (in_progress, &processor.running) {
            (true, _) => ProcessorImageState::Updating,
            (false, Some(_)) => ProcessorImageState::Installed,
            (false, None) => ProcessorImageState::None,
        },
    }
}

fn node(name: NodeName, id: Option<NodeId>) -> NodeRef {
    match id {
        Some(id) => NodeRef::new(name, id.to_string()),
        None => NodeRef::departed(name),
    }
}

fn state(state: WorkerRowState) -> WorkerState {
    match state {
        WorkerRowState::Idle => WorkerState::Idle,
        WorkerRowState::Working => WorkerState::Working,
        WorkerRowState::Complete => WorkerState::Complete,
        WorkerRowState::Failed => WorkerState::Failed,
        WorkerRowState::WaitingToRetry => WorkerState::WaitingToRetry,
    }
}

fn progress(row: FirmwareRow) -> FirmwareProgress {
    let worker = |worker: WorkerRow| FirmwareWorkerProgress {
        attempts: worker.attempts,
        code: worker.code,
        message: worker.message,
        status: state(worker.state),
        worker_node: node(worker.node, worker.node_id),
    };
    let workers: Vec<_> = row.workers.into_iter().map(worker).collect();
    FirmwareProgress {
        job: row.job.map(|job| JobLink::new(job.to_string()).job),
        zip_file_name: row.file,
        update_state: workers.clone(),
        update_states: workers,
    }
}

/// A row of `/cluster/firmware/history`.
pub(crate) fn history(row: FirmwareRow) -> FirmwareHistory {
    let worker = |worker: WorkerRow| FirmwareWorkerStatus {
        worker: FirmwareWorker {
            node: node(worker.node, worker.node_id),
            state: state(worker.state),
            error: FirmwareWorkerError {
                code: worker.code,
                message: worker.message,
            },
        },
    };
    let origin = row.origin.map(|(name, id)| node(name, id));
    let job: JobRef = match row.job {
        Some(job) => JobLink::new(job.to_string()).job,
        None => JobLink::new(row.operation.to_string()).job,
    };
    FirmwareHistory {
        job,
        node: origin.unwrap_or_else(|| NodeRef::departed("-")),
        fw_file_name: row.file,
        fw_update_state: match row.state {
            FirmwareState::Moving => FirmwareUpdateState::MovingFirmware,
            FirmwareState::Starting => FirmwareUpdateState::StartingWorkers,
            FirmwareState::Waiting => FirmwareUpdateState::WaitingOnWorkers,
            FirmwareState::Completed => FirmwareUpdateState::Completed,
            FirmwareState::Failed => FirmwareUpdateState::Failed,
        },
        start_time: row.start.to_api(),
        end_time: row.end.map(WallTime::to_api),
        update_status: row.workers.into_iter().map(worker).collect(),
    }
}

/// `GET /evenkeel/v1/devices`.
pub(crate) async fn devices(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let nodes = app.cluster.nodes().await?;
        let mut said = app.cluster.devices().await;
        let of_node = |node: evenkeel_api::Node| {
            let name = NodeName::new(&node.name).ok();
            let status = name.and_then(|name| said.remove(&name));
            let answers = status.is_some();
            let status = status.unwrap_or_default();
            NodeDevices {
                node: node.name,
                answers,
                devices: status.devices.into_iter().map(device).collect(),
                work: status.work,
            }
        };
        let nodes = nodes.into_iter().map(of_node).collect();
        Ok(Devices { nodes })
    };
    let devices = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, json(&devices)))
}

fn device(device: DeviceFirmware) -> Device {
    Device {
        device: device.device,
        kind: word(device.kind).to_owned(),
        model: device.model.map(|model| model.to_string()),
        revision: device.revision.map(|revision| revision.to_string()),
    }
}

fn word(kind: FirmwareKind) -> &'static str {
    match kind {
        FirmwareKind::Qualification => "qualification",
        FirmwareKind::Disk => "disk",
        FirmwareKind::Shelf => "shelf",
        FirmwareKind::ServiceProcessor => "service_processor",
    }
}

/// A row of `waiting` of `/evenkeel/v1/firmware`.
pub(crate) fn waiting((entry, asked): (&FirmwareEntry, &FirmwareAsked)) -> WaitingFirmware {
    let summary = &entry.firmware.summary;
    WaitingFirmware {
        digest: entry.firmware.digest.to_string(),
        kind: word(summary.kind).to_owned(),
        name: summary.name.clone(),
        file: asked.file.clone(),
        by: asked.by.to_string(),
        at: asked.at.to_api(),
    }
}

/// The newest updates that have begun, and their packages.
pub(crate) fn begun(rows: Vec<FirmwareRow>) -> Vec<BegunFirmware> {
    let skipped = rows.len().saturating_sub(SHOWN);
    let newest = rows.into_iter().skip(skipped);
    let begun = newest.filter_map(|row| {
        Some(BegunFirmware {
            digest: row.package.to_string(),
            job: row.job?.to_string(),
        })
    });
    begun.collect()
}

/// What of a software package's firmware was not taken in.
pub(crate) fn refused(entry: &CatalogueEntry) -> impl Iterator<Item = RefusedFirmware> {
    let version = entry.package.summary.version.to_string();
    entry
        .firmware_refused
        .iter()
        .map(move |why| RefusedFirmware {
            version: version.clone(),
            why: why.clone(),
        })
}

/// `GET /evenkeel/v1/firmware`.
pub(crate) async fn firmware(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        Ok(json(&app.cluster.firmware().await?))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `PATCH /evenkeel/v1/firmware`.
pub(crate) async fn set_background(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let change: FirmwareChange = object(body).await?;
        let by = asked.caller.user.clone();
        app.door
            .set_background_firmware(change.background, by)
            .await?;
        Ok(json(&app.cluster.firmware().await?))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `DELETE /evenkeel/v1/firmware/{digest}`: the firmware update does not begin; its package stays.
pub(crate) async fn withdraw(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let digest = digest_of(&asked.key())?;
        let by = asked.caller.user.clone();
        app.door.withdraw_firmware(digest, by).await?;
        Ok(serde_json::json!({}))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// What is no digest names nothing, as any other key that is not there.
fn digest_of(key: &str) -> Result<Digest, ApiError> {
    key.parse::<Digest>().map_err(|error| {
        let message = format!(
            "No firmware update waits under that name: {error}. `GET /evenkeel/v1/firmware` lists those that wait."
        );
        ApiError::with(Code::NoEntry, message).target("digest")
    })
}
