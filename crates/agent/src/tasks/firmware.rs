//! Firmware: the node's devices of one kind, with a package that it holds.
//!
//! A node that has booted since the order was decided goes on all the same: it may have a disk out of its group.

use evenkeel_firmware::{FirmwareOrder, IMAGE_OPEN_FAILED, WorkError};
use evenkeel_model::{How, TaskError};

use super::package::{Advice, have_package};
use super::run::{Run, permanent, transient};

/// What to do when the package is not had.
const ADVICE: Advice = Advice {
    passing: "then bring the firmware in again.",
    refused: "Bring the firmware in again.",
    code: Some(IMAGE_OPEN_FAILED),
};

pub(super) async fn run(run: &Run, order: &FirmwareOrder) -> Result<How, TaskError> {
    have_package(run, order.package, &ADVICE).await?;
    run.begin()?;
    let parts = run.parts();
    let renewed = parts.firmware.renew(order, &parts.db, run.progress()).await;
    match renewed {
        Ok(How::AlreadyDone) => Ok(run.found()),
        Ok(_) => Ok(run.reached()),
        Err(error) => Err(failed(run, &error)),
    }
}

fn failed(run: &Run, error: &WorkError) -> TaskError {
    let message = format!("firmware on {}: {error}", run.parts().node);
    let failed = match error.is_transient() {
        true => transient(message, error.action()),
        false => permanent(message, error.action()),
    };
    TaskError {
        code: Some(error.code()),
        ..failed
    }
}
