//! `evenkeel profile`: clusters and how to be let in, by name, in a file that only its owner can read.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{ClusterArgs, ProfileCommand};
use crate::client::Client;
use crate::outcome::{Stop, print, print_json};
use crate::secret;
use crate::table::Table;
use crate::target::Target;

/// The profile that counts where no cluster is named.
const DEFAULT: &str = "default";

/// A cluster, and how to be let in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_certificate: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_key: Option<PathBuf>,
}

type Profiles = BTreeMap<String, Profile>;

/// The profile of that name, or the default one if there is one.
pub(crate) fn find(name: Option<&str>) -> Result<Option<Profile>, Stop> {
    let Some(path) = file() else {
        return match name {
            Some(_) => Err(nowhere()),
            None => Ok(None),
        };
    };
    let profiles = read(&path)?;
    match (name, profiles.get(name.unwrap_or(DEFAULT))) {
        (Some(name), None) => Err(Stop::Usage(format!(
            "there is no profile {name} in {}: see `evenkeel profile add`",
            path.display()
        ))),
        (_, found) => Ok(found.cloned()),
    }
}

pub(crate) fn run(command: &ProfileCommand, args: &ClusterArgs, json: bool) -> Result<(), Stop> {
    let path = file().ok_or_else(nowhere)?;
    let mut profiles = read(&path)?;
    match command {
        ProfileCommand::List => list(&profiles, json),
        ProfileCommand::Add { name, unchecked } => {
            let profile = made_of(args)?;
            if !unchecked {
                let client = Client::new(Target::of_profile(&profile, args)?)?;
                let _: serde_json::Value = client.get("/api/cluster")?;
            }
            profiles.insert(name.clone(), profile);
            write(&path, &profiles)?;
            said(&format!("Profile {name} is in {}.", path.display()), json)
        }
        ProfileCommand::Remove { name } => {
            if profiles.remove(name).is_none() {
                return Err(Stop::Failed(format!("there is no profile {name}")));
            }
            write(&path, &profiles)?;
            said(&format!("Profile {name} is gone."), json)
        }
    }
}

fn said(sentence: &str, json: bool) -> Result<(), Stop> {
    match json {
        true => print_json(&json!({})),
        false => print(&format!("{sentence}\n")),
    }
}

/// Passwords are not shown.
fn list(profiles: &Profiles, json: bool) -> Result<(), Stop> {
    if json {
        let shown = profiles
            .iter()
            .map(|(name, profile)| json!({"name": name, "url": profile.url, "user": profile.user}));
        return print_json(&shown.collect());
    }
    let mut table = Table::new(&["Profile", "Address", "User"]);
    for (name, profile) in profiles {
        let user = profile
            .user
            .clone()
            .unwrap_or_else(|| "(certificate)".to_owned());
        table.row([name.clone(), profile.url.clone(), user]);
    }
    print(&table.render("There is no profile."))
}

fn made_of(args: &ClusterArgs) -> Result<Profile, Stop> {
    let url = args.url.clone();
    let url = url.ok_or_else(|| Stop::Usage("a profile needs --url".to_owned()))?;
    let password = match (&args.user, &args.password_file) {
        (None, _) => None,
        (Some(_), Some(file)) => Some(secret::first_line(file)?),
        (Some(user), None) => Some(secret::ask(&format!("Password of {user}"))?),
    };
    Ok(Profile {
        url,
        user: args.user.clone(),
        password,
        ca: args.ca.as_deref().map(absolute).transpose()?,
        client_certificate: args
            .client_certificate
            .as_deref()
            .map(absolute)
            .transpose()?,
        client_key: args.client_key.as_deref().map(absolute).transpose()?,
    })
}

/// The file is used from other folders.
fn absolute(path: &Path) -> Result<PathBuf, Stop> {
    std::path::absolute(path)
        .map_err(|error| Stop::Failed(format!("cannot find {}: {error}", path.display())))
}

/// Below `$XDG_CONFIG_HOME`, or `~/.config`.
fn file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let config = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")))?;
    Some(config.join("evenkeel/profiles.toml"))
}

fn nowhere() -> Stop {
    Stop::Failed("profiles have no place: neither XDG_CONFIG_HOME nor HOME is set".to_owned())
}

fn read(path: &Path) -> Result<Profiles, Stop> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Profiles::new()),
        Err(error) => {
            return Err(Stop::Failed(format!(
                "cannot read {}: {error}",
                path.display()
            )));
        }
    };
    secret::demand_private(path)?;
    // The error shows a line of the file, which may be the one with the password.
    toml::from_str(&text).map_err(|error| {
        let what = error.message().to_owned();
        Stop::Failed(format!("{} holds no profiles: {what}", path.display()))
    })
}

/// Whole, or as it was.
fn write(path: &Path, profiles: &Profiles) -> Result<(), Stop> {
    let failed =
        |error: std::io::Error| Stop::Failed(format!("cannot write {}: {error}", path.display()));
    let text = toml::to_string(profiles)
        .map_err(|error| Stop::Failed(format!("the profile cannot be written: {error}")))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut how = DirBuilder::new();
    how.recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let mut how = OpenOptions::new();
    let file = how.write(true).create_new(true).mode(0o600).open(&partial);
    let mut file = file.map_err(failed)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn profiles_are_kept_for_their_owner_alone_and_refused_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evenkeel/profiles.toml");
        assert_eq!(read(&path).unwrap(), Profiles::new());
        let profile = Profile {
            url: "https://c".to_owned(),
            user: Some("me".to_owned()),
            password: Some("s3cret \"and\" more".to_owned()),
            ..Profile::default()
        };
        let profiles = Profiles::from([("lab".to_owned(), profile)]);
        write(&path, &profiles).unwrap();
        write(&path, &profiles).unwrap();
        assert_eq!(read(&path).unwrap(), profiles);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = read(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "[lab]\nurl = 1\npassword = \"s3cret\n").unwrap();
        let refused = read(&path).unwrap_err().to_string();
        assert!(!refused.contains("s3cret"), "{refused}");
    }
}
