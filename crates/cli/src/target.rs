//! Which cluster to speak to, and as whom.

use std::fs;
use std::path::Path;

use evenkeel_lab::LabFile;

use crate::args::ClusterArgs;
use crate::outcome::Stop;

/// Where a cluster is and how to be let in.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Addresses that reach it, the best first. Every node answers; the first follows the coordinator.
    pub(crate) urls: Vec<String>,
    pub(crate) user: String,
    pub(crate) password: String,
    /// PEM certificates to trust.
    pub(crate) ca: Vec<u8>,
}

impl Target {
    pub(crate) fn find(args: &ClusterArgs) -> Result<Self, Stop> {
        match (&args.url, &args.lab) {
            // One node of a lab is asked as the lab's user.
            (Some(url), Some(dir)) if args.names_nobody() => Self::of_lab(dir)?.only(url),
            (Some(url), _) => Self::from_args(url, args),
            (None, Some(dir)) => Self::of_lab(dir),
            (None, None) => {
                let text =
                    "which cluster? Give --url (or EVENKEEL_URL), or --lab (or EVENKEEL_LAB)";
                Err(Stop::Usage(text.to_owned()))
            }
        }
    }

    /// The lab in that folder.
    pub(crate) fn of_lab(dir: &Path) -> Result<Self, Stop> {
        let lab = LabFile::read(dir).map_err(|error| Stop::Failed(format!("{error:#}")))?;
        let mut urls = vec![lab.url];
        urls.extend(lab.nodes.into_iter().map(|node| node.url));
        let ca = read(&dir.join(lab.ca))?;
        Ok(Self {
            urls,
            user: lab.user,
            password: lab.password,
            ca,
        })
    }

    fn only(self, url: &str) -> Result<Self, Stop> {
        let urls = vec![address(url)?];
        Ok(Self { urls, ..self })
    }

    fn from_args(url: &str, args: &ClusterArgs) -> Result<Self, Stop> {
        let urls = vec![address(url)?];
        let missing = |what: &str| Stop::Usage(format!("--url needs {what} too"));
        let user = args.user.clone().ok_or_else(|| missing("--user"))?;
        let file = args
            .password_file
            .as_ref()
            .ok_or_else(|| missing("--password-file"))?;
        let ca = args.ca.as_ref().ok_or_else(|| missing("--ca"))?;
        let password = String::from_utf8(read(file)?)
            .map_err(|_| Stop::Failed(format!("{} is not UTF-8", file.display())))?;
        let password = password.lines().next().unwrap_or_default().to_owned();
        Ok(Self {
            urls,
            user,
            password,
            ca: read(ca)?,
        })
    }
}

fn address(url: &str) -> Result<String, Stop> {
    if !url.starts_with("https://") {
        return Err(Stop::Usage(format!("{url} does not begin with https://")));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, Stop> {
    fs::read(path).map_err(|error| Stop::Failed(format!("cannot read {}: {error}", path.display())))
}
