//! What people do beside updates: users, keys, settings, acknowledgements, packages.

use evenkeel_agent::GateAnswer;
use evenkeel_model::{
    AccountChange, Digest, FirmwareKind, GateCondition, JobId, NodeName, Refusal, Role, UserName,
    Version,
};
use evenkeel_orchestrator::{CopyNote, CopyState, FrontDoor, GatesChange, NewKey, UserChange};
use evenkeel_simulation::{Cluster, Edition, admin, firmware};

/// What passwords of stories are kept as: of the form that daemons record.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$nR2s25/b9PKaXMSuEI4JWA$5DSSXT3sQKDZFk7g7SvF+g8dDZFyjgw6SSzm4mrP2IE";
/// Why warnings of stories may be so.
const REASON: &str = "agreed with the owners of the data";

/// A command that has no part in an update.
#[derive(Clone, Debug)]
pub(crate) enum Errand {
    /// `add user ann stager password certificate`: the last two as wanted.
    AddUser(UserName, AccountChange),
    /// `change user ann readonly`, `change user ann no-password`.
    ChangeUser(UserName, UserChange),
    /// `remove user ann`.
    RemoveUser(UserName),
    /// `trust key 0a956a6e1fb900b1 builder`: the name as wanted.
    TrustKey(String, Option<String>),
    /// `revoke key 0a956a6e1fb900b1`.
    RevokeKey(String),
    /// `keep 3 packages`, `keep all packages`.
    Keep(Option<u32>),
    /// `gates paths_back load_below=50`: what holds for two minutes between nodes, for at most thirty.
    Gates(Vec<GateCondition>),
    /// `gate script opens|waits|fails`.
    GateScript(GateAnswer),
    /// `acknowledge NFS mounts`, `withdraw NFS mounts`.
    Acknowledge(String),
    Withdraw(String),
    /// `upload 9.10.2 to node01`.
    Upload(String, NodeName),
    /// `upload firmware disk to node01`, `upload newer firmware disk to node01`.
    Firmware(FirmwareKind, Edition, NodeName),
    /// `firmware background on|off`.
    BackgroundFirmware(bool),
    /// `withdraw firmware disk`: the first edition of the kind.
    WithdrawFirmware(FirmwareKind),
    /// `unpack firmware shelf of 9.10.1`: the coordinator takes it out of the package.
    Unpack(FirmwareKind, String),
    /// `download 9.10.2 to node01 from https://…`.
    Download(String, NodeName, String),
    /// `copy of 9.10.1 on node02 damaged|restored`: what the node's daemon found when it read the package anew.
    Copy(Version, NodeName, CopyState),
}

/// The errand of these words; none when they name none.
pub(crate) fn parse(words: &[&str]) -> Result<Option<Errand>, String> {
    Ok(Some(match *words {
        ["add", "user", name, role, ref rest @ ..] => {
            let account = AccountChange::Set {
                role: self::role(role)?,
                password_hash: rest.contains(&"password").then(|| HASH.to_owned()),
                certificate: rest.contains(&"certificate"),
            };
            Errand::AddUser(user(name)?, account)
        }
        ["change", "user", name, what] => Errand::ChangeUser(user(name)?, change(what)?),
        ["remove", "user", name] => Errand::RemoveUser(user(name)?),
        ["trust", "key", id, ref rest @ ..] => {
            let name = rest.first().map(|&name| name.to_owned());
            Errand::TrustKey(id.to_owned(), name)
        }
        ["revoke", "key", id] => Errand::RevokeKey(id.to_owned()),
        ["keep", "all", "packages"] => Errand::Keep(None),
        ["keep", count, "packages"] => {
            let count = count.parse().map_err(|_| format!("{count}: a number"))?;
            Errand::Keep(Some(count))
        }
        ["gates", ref conditions @ ..] => {
            let parse = |word: &&str| word.parse::<GateCondition>();
            let parsed: Result<_, _> = conditions.iter().map(parse).collect();
            Errand::Gates(parsed.map_err(|error| error.to_string())?)
        }
        ["gate", "script", answer] => Errand::GateScript(gate_answer(answer)?),
        ["acknowledge", ref check @ ..] => Errand::Acknowledge(check.join(" ")),
        ["firmware", "background", "on"] => Errand::BackgroundFirmware(true),
        ["firmware", "background", "off"] => Errand::BackgroundFirmware(false),
        ["withdraw", "firmware", kind] => Errand::WithdrawFirmware(firmware_kind(kind)?),
        ["withdraw", ref check @ ..] => Errand::Withdraw(check.join(" ")),
        ["upload", "firmware", kind, "to", node] => {
            Errand::Firmware(firmware_kind(kind)?, Edition::First, name(node)?)
        }
        ["upload", "newer", "firmware", kind, "to", node] => {
            Errand::Firmware(firmware_kind(kind)?, Edition::Second, name(node)?)
        }
        ["unpack", "firmware", kind, "of", version] => {
            Errand::Unpack(firmware_kind(kind)?, version.to_owned())
        }
        ["upload", version, "to", node] => Errand::Upload(version.to_owned(), name(node)?),
        ["download", version, "to", node, "from", url] => {
            Errand::Download(version.to_owned(), name(node)?, url.to_owned())
        }
        ["copy", "of", version, "on", node, what] => {
            let version = Version::new(version).map_err(|error| error.to_string())?;
            Errand::Copy(version, name(node)?, copy_state(what)?)
        }
        _ => return Ok(None),
    }))
}

fn firmware_kind(text: &str) -> Result<FirmwareKind, String> {
    Ok(match text {
        "dqp" => FirmwareKind::Qualification,
        "disk" => FirmwareKind::Disk,
        "shelf" => FirmwareKind::Shelf,
        "sp" => FirmwareKind::ServiceProcessor,
        _ => return Err("dqp, disk, shelf or sp".to_owned()),
    })
}

fn user(text: &str) -> Result<UserName, String> {
    UserName::new(text).map_err(|error| error.to_string())
}

fn name(text: &str) -> Result<NodeName, String> {
    NodeName::new(text).map_err(|error| error.to_string())
}

fn role(text: &str) -> Result<Role, String> {
    text.parse()
        .map_err(|error: evenkeel_model::NoSuchRole| error.to_string())
}

fn change(what: &str) -> Result<UserChange, String> {
    let mut change = UserChange::default();
    match what {
        "no-password" => change.password_hash = Some(None),
        role => change.role = Some(self::role(role)?),
    }
    Ok(change)
}

fn gate_answer(text: &str) -> Result<GateAnswer, String> {
    Ok(match text {
        "opens" => GateAnswer::Open,
        "waits" => GateAnswer::NotYet("the backup runs".to_owned()),
        "fails" => GateAnswer::Trouble("exit code 2: no backup was made".to_owned()),
        _ => return Err("opens, waits or fails".to_owned()),
    })
}

fn copy_state(text: &str) -> Result<CopyState, String> {
    Ok(match text {
        "damaged" => CopyState::Damaged {
            why: "chunk 3 has another digest than when it was stored".to_owned(),
        },
        "restored" => CopyState::Restored,
        _ => return Err("damaged or restored".to_owned()),
    })
}

/// Runs the errand; says how it was answered.
pub(crate) async fn run(cluster: &Cluster, errand: &Errand) -> Result<Vec<String>, String> {
    let door = || {
        let names = cluster.names();
        let first = names.iter().find_map(|name| cluster.door(name));
        first.ok_or("no daemon runs")
    };
    let answer = match errand {
        Errand::GateScript(answer) => {
            cluster.script_gate(answer.clone());
            return Ok(Vec::new());
        }
        Errand::Firmware(kind, edition, node) => {
            received(cluster.upload_firmware(node, *kind, *edition).await)?
        }
        Errand::Unpack(kind, version) => {
            let told = cluster.unpack_firmware(version, *kind).await;
            told.ok_or("nobody coordinates")?
        }
        Errand::Upload(version, node) => received(cluster.upload(node, version).await)?,
        Errand::Download(version, node, url) => {
            received(cluster.download(node, version, url).await)?
        }
        Errand::Copy(version, node, what) => {
            let note = CopyNote {
                node: node.clone(),
                digest: digest(cluster, version)?,
                what: what.clone(),
            };
            door()?.note_copy(note).await
        }
        setting => set(&door()?, setting).await,
    };
    Ok(vec![match answer {
        Ok(()) => "accepted".to_owned(),
        Err(refusal) => format!("refused, {}: {}", refusal.code, refusal.message),
    }])
}

/// What is asked of a front door and has no job.
async fn set(door: &FrontDoor, errand: &Errand) -> Result<(), Refusal> {
    match errand {
        Errand::AddUser(user, account) => door.create_user(user, account.clone(), admin()).await,
        Errand::ChangeUser(user, change) => door.change_user(user, change.clone(), admin()).await,
        Errand::RemoveUser(user) => door.delete_user(user, admin()).await,
        Errand::TrustKey(key_id, name) => {
            let key = NewKey {
                public_key: public_key(key_id),
                key_id: key_id.clone(),
                name: name.clone(),
            };
            door.trust_key(key, admin()).await
        }
        Errand::RevokeKey(key_id) => door.revoke_key(key_id, admin()).await,
        Errand::Keep(count) => door.set_retention(*count, admin()).await,
        Errand::Gates(conditions) => {
            let change = GatesChange {
                conditions: Some(conditions.clone()),
                hold_minutes: Some(2),
                longest_minutes: Some(30),
            };
            door.set_gates(change, admin()).await
        }
        Errand::Acknowledge(check) => door.acknowledge(check, REASON, admin()).await,
        Errand::Withdraw(check) => door.withdraw_acknowledgement(check, admin()).await,
        Errand::BackgroundFirmware(on) => door.set_background_firmware(*on, admin()).await,
        Errand::WithdrawFirmware(kind) => {
            let digest = firmware(*kind, Edition::First).digest;
            door.withdraw_firmware(digest, admin()).await
        }
        Errand::GateScript(_)
        | Errand::Upload(..)
        | Errand::Download(..)
        | Errand::Firmware(..)
        | Errand::Unpack(..)
        | Errand::Copy(..) => {
            unreachable!("these are no settings")
        }
    }
}

fn received(answer: Option<Result<JobId, Refusal>>) -> Result<Result<(), Refusal>, String> {
    let answer = answer.ok_or("the node's daemon is gone")?;
    Ok(answer.map(drop))
}

/// The text of a public-key file: no key, but of its form, and another one for every id.
fn public_key(key_id: &str) -> String {
    let body = format!("MCowBQYDK2VwAyEA{key_id:A<43}=");
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

fn digest(cluster: &Cluster, version: &Version) -> Result<Digest, String> {
    let view = cluster.view();
    let found = view.catalogue().by_version(version);
    let found = found.ok_or_else(|| format!("the catalogue has no {version}"))?;
    Ok(found.package.digest)
}
