//! The programs of Pacemaker and Corosync that are run, and how their answers are judged.

use std::time::Duration;

use super::cib::Cib;
use super::edit::{self, Edit};
use super::foresee::{self, Expect};
use super::layout::Members;
use super::monitor::Monitor;
use super::seen::Seen;
use super::xml;
use crate::{Call, Host};
use evenkeel_platform::PlatformError;

/// How long one run may take: they take some tens of milliseconds, and two make a look, which the agent bounds with 5 s.
const WITHIN: Duration = Duration::from_secs(2);
/// How long a change may take: the cluster's controller has to be asked.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);
/// `cibadmin`: the change starts from another state than the present one (`CRM_EX_OLD`).
const EXIT_OLD: i32 = 103;

/// Looks at the cluster: the configuration first. So what the state was computed from is that or newer, and a change that
/// starts from that version happens only if nothing was newer.
pub(super) async fn look(host: &Host, members: &Members) -> Result<Seen, PlatformError> {
    let call = Call::new("cibadmin", ["--query"], WITHIN);
    let output = host.output(&call).await?;
    let cib = xml::parse("cibadmin", &output, Cib::read)?;
    let text = String::from_utf8_lossy(&output).into_owned();
    let args = ["--one-shot", "--output-as=xml", "--include=all"];
    let output = host.output(&Call::new("crm_mon", args, WITHIN)).await?;
    let monitor = xml::parse("crm_mon", &output, Monitor::read)?;
    Seen::new(members.clone(), (cib, text), monitor)
        .map_err(|why| PlatformError::Unavailable(format!("what Pacemaker tells: {why}")))
}

/// Asks the cluster's scheduler whether a change leads to what is wanted. The sentence says what it leads to instead.
pub(super) async fn foresee(
    host: &Host,
    seen: &Seen,
    (edits, expect): (&[Edit], &Expect),
) -> Result<Result<(), String>, PlatformError> {
    let cib = foresee::applied(&seen.text, edits).map_err(PlatformError::Unavailable)?;
    let args = ["--xml-pipe", "--simulate", "--output-as=xml"];
    let mut call = Call::new("crm_simulate", args, CHANGE_WITHIN);
    call.input = cib.into_bytes();
    let output = host.output(&call).await?;
    let later = xml::parse("crm_simulate", &output, |root| seen.monitor.foreseen(root))?;
    Ok(expect.judge(seen, later))
}

/// Makes a change to the state that was seen, and only to that. Whether it was made is seen by the next look: it was not if
/// anything else had changed.
pub(super) async fn change(host: &Host, seen: &Seen, edits: &[Edit]) -> Result<(), PlatformError> {
    let patch = edit::patch(&seen.cib, edits).map_err(PlatformError::Unavailable)?;
    let mut call = Call::new("cibadmin", ["--patch", "--xml-pipe"], CHANGE_WITHIN);
    call.input = patch.into_bytes();
    let finished = host.run(&call).await?;
    match finished.code {
        Some(0 | EXIT_OLD) => Ok(()),
        Some(code) => Err(PlatformError::Unavailable(format!(
            "cibadmin --patch ended with {code}: {}",
            finished.errors
        ))),
        None => Err(PlatformError::Unavailable(
            "cibadmin --patch was ended by a signal".to_owned(),
        )),
    }
}

/// Sets an attribute of this node that ends with its membership.
pub(super) async fn tell(host: &Host, name: &str, value: &str) -> Result<(), PlatformError> {
    let args = ["--name", name, "--update", value];
    host.output(&Call::new("attrd_updater", args, WITHIN))
        .await?;
    Ok(())
}

/// Corosync's configuration and state, as pairs of key and value.
pub(super) async fn corosync(host: &Host) -> Result<Vec<(String, String)>, PlatformError> {
    let call = Call::new("corosync-cmapctl", Vec::<String>::new(), WITHIN);
    let output = host.output(&call).await?;
    Ok(pairs(&String::from_utf8_lossy(&output)))
}

/// Lines of the form `key (type) = value`. A value that was never set has no type and is left out.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(" = ")?;
        let (key, _) = key.rsplit_once(" (")?;
        Some((key.to_owned(), value.trim().to_owned()))
    });
    pairs.collect()
}
