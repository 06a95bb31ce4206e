//! The platform's programs, run inside a host.

use async_trait::async_trait;
use evenkeel_linux::{Call, Finished, Programs, SystemPrograms};
use evenkeel_platform::PlatformError;

use crate::host::Host;

#[async_trait]
impl Programs for Host {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        let enter = self.enter();
        let enter = enter.map_err(|error| PlatformError::Unavailable(format!("{error:#}")))?;
        let mut args = enter[1..].to_vec();
        args.push(call.program.to_owned());
        args.extend(call.args.iter().cloned());
        let mut inside = Call::new("nsenter", args, call.within);
        inside.input.clone_from(&call.input);
        SystemPrograms.run(&inside).await
    }
}
