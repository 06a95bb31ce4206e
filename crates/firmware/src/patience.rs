//! Waiting, bounded by the lack of progress.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::driver::DriverError;

/// Asks until the answer is neither silence nor "not now", or the bound is over.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, DriverError>>>(
    bound: Duration,
    poll: Duration,
    mut ask: impl FnMut() -> F,
) -> Result<T, DriverError> {
    let since = Instant::now();
    loop {
        let error = match ask().await {
            Err(error @ (DriverError::Silent(_) | DriverError::Busy(_))) => error,
            Err(
                error @ (DriverError::Lost(_)
                | DriverError::Refused(_)
                | DriverError::Unknown(_)
                | DriverError::NeedsMore(_)
                | DriverError::Canceled
                | DriverError::NotTaken { .. }
                | DriverError::StoodStill { .. }),
            ) => return Err(error),
            Ok(value) => return Ok(value),
        };
        if since.elapsed() >= bound {
            let source = Box::new(error);
            return Err(DriverError::StoodStill { bound, source });
        }
        sleep(poll).await;
    }
}
