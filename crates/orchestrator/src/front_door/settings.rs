//! What is set for the whole cluster: trusted keys, retention, gates, firmware in the background.

use evenkeel_model::{ControlEvent, Refusal, UserName, code};

use super::{Attempt, FrontDoor};
use crate::gates::{GatesChange, changed};

/// Longest name of a key, in characters: it is shown in a table.
const KEY_NAME_MAX: usize = 100;

/// A public key to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The text of the public-key file.
    pub public_key: String,
    /// Its id.
    pub key_id: String,
    /// What people call it.
    pub name: Option<String>,
}

impl FrontDoor {
    /// Believes signatures of this key from now on. A key that is trusted already is success without work.
    pub async fn trust_key(&self, key: NewKey, by: UserName) -> Result<(), Refusal> {
        let name = key.name.as_deref().map(well_formed).transpose()?;
        self.admit(|view, at| {
            match view.control().key(&key.key_id) {
                Some(known) if known.revoked.is_some() => {
                    let text = format!(
                        "Key {} was revoked, and stays so. Sign with a new key.",
                        key.key_id
                    );
                    return Err(Refusal::new(code::INVALID_VALUE, text).about("public_key"));
                }
                Some(_) => return Ok(Attempt::Nothing(())),
                None => {}
            }
            let event = ControlEvent::KeyTrusted {
                at,
                public_key: key.public_key.clone(),
                key_id: key.key_id.clone(),
                name: name.clone(),
                by: Some(by.clone()),
            };
            Ok(Attempt::control(event))
        })
        .await
    }

    /// Refuses what this key signed from now on. Final; revoking it again is success without work.
    pub async fn revoke_key(&self, key_id: &str, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| match view.control().key(key_id) {
            None => {
                let text = format!("Key {key_id} is not known.");
                Err(Refusal::new(code::NO_ENTRY, text).about("key_id"))
            }
            Some(key) if key.revoked.is_some() => Ok(Attempt::Nothing(())),
            Some(_) => Ok(Attempt::control(ControlEvent::KeyRevoked {
                at,
                key_id: key_id.to_owned(),
                by: by.clone(),
            })),
        })
        .await
    }

    /// Says how many packages that nothing needs are kept; none turns the collection off.
    pub async fn set_retention(&self, keep: Option<u32>, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| {
            if view.control().retention == keep {
                return Ok(Attempt::Nothing(()));
            }
            let by = by.clone();
            Ok(Attempt::control(ControlEvent::RetentionSet {
                at,
                by,
                keep,
            }))
        })
        .await
    }

    /// Changes what an update waits for between nodes: one that is planned from now on.
    pub async fn set_gates(&self, change: GatesChange, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let control = view.control();
            let gates = changed(&control.gates, &change)?;
            if gates == control.gates {
                return Ok(Attempt::Nothing(()));
            }
            if control.mixed_daemons() {
                let text = "Gates cannot be changed while nodes run daemons of different releases, or one has \
                            not said which: not every one would understand it.";
                return Err(Refusal::new(code::NOT_SUPPORTED, text));
            }
            let by = by.clone();
            Ok(Attempt::control(ControlEvent::GatesSet { at, by, gates }))
        })
        .await
    }

    /// Says whether firmware goes to disks that hold data (`on`), or to spares only: from the next firmware update on.
    pub async fn set_background_firmware(&self, on: bool, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let control = view.control();
            if control.firmware_spares_only != on {
                return Ok(Attempt::Nothing(()));
            }
            if control.mixed_daemons() {
                let text = "This cannot be changed while nodes run daemons of different releases, or one has not \
                            said which: not every one would understand it.";
                return Err(Refusal::new(code::NOT_SUPPORTED, text));
            }
            let by = by.clone();
            Ok(Attempt::control(ControlEvent::BackgroundFirmwareSet {
                at,
                by,
                on,
            }))
        })
        .await
    }
}

/// A name that a terminal can show in one line.
fn well_formed(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > KEY_NAME_MAX || name.chars().any(char::is_control)
    {
        let text = format!(
            "A key's name must be one line of at most {KEY_NAME_MAX} characters, without control characters."
        );
        return Err(Refusal::new(code::INVALID_VALUE, text).about("name"));
    }
    Ok(name.to_owned())
}
