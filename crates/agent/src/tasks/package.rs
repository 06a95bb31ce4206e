//! What a task works with must be here first: a package of the catalogue.

use evenkeel_model::{Digest, TaskError};

use super::run::{Run, permanent, transient};
use crate::parts::PackagesError;

/// What is said when a package is not had.
pub(super) struct Advice {
    /// What follows "see that there is room and somebody who holds it, ".
    pub(super) passing: &'static str,
    /// What to do when it is refused.
    pub(super) refused: &'static str,
    /// The API's code, where it has one.
    pub(super) code: Option<u32>,
}

/// Gets the package from another node, unless it is here.
pub(super) async fn have_package(
    run: &Run,
    package: Digest,
    advice: &Advice,
) -> Result<(), TaskError> {
    let packages = &run.parts().packages;
    let failed = |error| lacking(run, &error, advice);
    run.say("looking for the package", 0, 0);
    if packages
        .status()
        .await
        .map_err(failed)?
        .held
        .contains(&package)
    {
        return Ok(());
    }
    let mut pull = packages.pull(package);
    loop {
        let coming = packages.status().await.ok();
        let coming = coming.and_then(|status| {
            let mut transfers = status.transfers.into_iter();
            transfers.find(|transfer| transfer.package == Some(package))
        });
        let (done, total) = coming.map_or((0, 0), |transfer| {
            (
                transfer.received_bytes,
                transfer.total_bytes.unwrap_or_default(),
            )
        });
        run.say("getting the package from another node", done, total);
        match tokio::time::timeout(run.bounds().poll, &mut pull).await {
            Ok(pulled) => return pulled.map_err(failed),
            Err(_still_coming) => {}
        }
    }
}

fn lacking(run: &Run, error: &PackagesError, advice: &Advice) -> TaskError {
    let node = &run.parts().node;
    let message = format!("{node} does not hold the package: {error}");
    let error = match error {
        PackagesError::Unavailable(_) => transient(
            message,
            format!(
                "See that {node} has room for the package and that another node that holds it is up, {}",
                advice.passing
            ),
        ),
        PackagesError::Refused(_) => permanent(message, advice.refused),
    };
    TaskError {
        code: advice.code,
        ..error
    }
}
