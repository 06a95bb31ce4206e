//! Which cluster to speak to, and as whom.

use std::fs;
use std::path::{Path, PathBuf};

use evenkeel_lab::LabFile;

use crate::args::ClusterArgs;
use crate::outcome::Stop;
use crate::profile::{self, Profile};
use crate::secret;

/// Where a cluster is and how to be let in.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Addresses that reach it, the best first. Every node answers; the first follows the coordinator.
    pub(crate) urls: Vec<String>,
    pub(crate) login: Login,
    pub(crate) trust: Trust,
    /// This controller's socket, instead of an address.
    pub(crate) local: Option<PathBuf>,
}

/// How to be let in.
#[derive(Clone)]
pub(crate) enum Login {
    Password {
        user: String,
        password: String,
    },
    /// PEM: a client certificate, and its key.
    Certificate {
        certificate: Vec<u8>,
        key: Vec<u8>,
    },
    /// The kernel tells who asks.
    Local,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Certificate { .. } => "Certificate",
            Self::Local => "Local",
        })
    }
}

/// Which server certificates are believed.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// Those that these PEM certificates vouch for.
    Ca(Vec<u8>),
    /// Those that this machine's own vouch for.
    System,
    /// Any.
    Anyone,
}

impl Target {
    pub(crate) fn find(args: &ClusterArgs) -> Result<Self, Stop> {
        if let Some(socket) = &args.local {
            return Ok(Self::local(socket));
        }
        if let Some(dir) = &args.lab {
            return Self::in_lab(dir, args);
        }
        match (&args.url, &args.profile) {
            (Some(url), None) => Self::from_args(url, args),
            (_, name) => match profile::find(name.as_deref())? {
                Some(profile) => Self::of_profile(&profile, args),
                None => {
                    let text = "which cluster? Give --url (or EVENKEEL_URL), --profile (or EVENKEEL_PROFILE), or \
                                --lab (or EVENKEEL_LAB)";
                    Err(Stop::Usage(text.to_owned()))
                }
            },
        }
    }

    /// A lab, or one node of it, as the lab's user. Whoever gives another one means something else than is done.
    fn in_lab(dir: &Path, args: &ClusterArgs) -> Result<Self, Stop> {
        let given = args.beside_a_lab();
        if !given.is_empty() {
            return Err(Stop::Usage(format!(
                "{} cannot be given beside a lab: --lab (or EVENKEEL_LAB) says the address, the user and the CA, and only \
                 --url of one of its nodes goes with it. To ask as somebody else, give --url, --user and --ca instead",
                given.join(", ")
            )));
        }
        let lab = Self::of_lab(dir)?;
        match &args.url {
            Some(url) => lab.only(url),
            None => Ok(lab),
        }
    }

    /// The daemon of this controller.
    pub(crate) fn local(socket: &Path) -> Self {
        Self {
            urls: vec![format!("the socket {}", socket.display())],
            login: Login::Local,
            trust: Trust::System,
            local: Some(socket.to_owned()),
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
            login: Login::Password {
                user: lab.user,
                password: lab.password,
            },
            trust: Trust::Ca(ca),
            local: None,
        })
    }

    /// A profile's cluster; what is given beside it counts more.
    pub(crate) fn of_profile(profile: &Profile, args: &ClusterArgs) -> Result<Self, Stop> {
        let url = args.url.as_ref().unwrap_or(&profile.url);
        Ok(Self {
            urls: vec![address(url)?],
            login: login_of(profile, args)?,
            trust: trust(args.ca.as_ref().or(profile.ca.as_ref()), args.insecure)?,
            local: None,
        })
    }

    fn only(self, url: &str) -> Result<Self, Stop> {
        let urls = vec![address(url)?];
        Ok(Self { urls, ..self })
    }

    fn from_args(url: &str, args: &ClusterArgs) -> Result<Self, Stop> {
        Ok(Self {
            urls: vec![address(url)?],
            login: login(
                args.user.as_ref(),
                args.password_file.as_deref(),
                args.client_certificate.as_ref(),
                args.client_key.as_ref(),
            )?,
            trust: trust(args.ca.as_ref(), args.insecure)?,
            local: None,
        })
    }
}

/// A certificate, a user or a password that is given counts more than any of the profile's.
fn login_of(profile: &Profile, args: &ClusterArgs) -> Result<Login, Stop> {
    let user = args.user.as_ref().or(profile.user.as_ref());
    let is_own = user == profile.user.as_ref();
    let given = args.client_certificate.as_ref();
    match (given, &args.password_file, user, &profile.password) {
        (None, None, Some(user), Some(password)) if is_own => Ok(Login::Password {
            user: user.clone(),
            password: password.clone(),
        }),
        (None, None, _, _) if args.user.is_none() => {
            let certificate = profile.client_certificate.as_ref();
            login(user, None, certificate, profile.client_key.as_ref())
        }
        (_, file, _, _) => login(user, file.as_deref(), given, args.client_key.as_ref()),
    }
}

fn login(
    user: Option<&String>,
    password_file: Option<&Path>,
    certificate: Option<&PathBuf>,
    key: Option<&PathBuf>,
) -> Result<Login, Stop> {
    match (user, certificate, key) {
        (_, Some(certificate), Some(key)) => {
            secret::demand_private(key)?;
            Ok(Login::Certificate {
                certificate: read(certificate)?,
                key: read(key)?,
            })
        }
        (Some(user), _, _) => {
            let password = match password_file {
                Some(file) => {
                    secret::warn_if_open(file);
                    secret::first_line(file)?
                }
                None => secret::ask(&format!("Password of {user}"))?,
            };
            let user = user.clone();
            Ok(Login::Password { user, password })
        }
        (None, _, _) => Err(Stop::Usage(
            "as whom? Give --user, or --client-certificate and --client-key".to_owned(),
        )),
    }
}

fn trust(ca: Option<&PathBuf>, insecure: bool) -> Result<Trust, Stop> {
    match (insecure, ca) {
        (true, _) => {
            eprintln!(
                "evenkeel: --insecure: nobody verifies who answers; whoever sits in between can read the \
                 password"
            );
            Ok(Trust::Anyone)
        }
        (false, Some(ca)) => Ok(Trust::Ca(read(ca)?)),
        (false, None) => Ok(Trust::System),
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
