//! Who may use the API.

use evenkeel_model::{
    Account, AccountChange, Control, ControlEvent, Refusal, Role, UserName, code,
};

use super::{Attempt, FrontDoor};

/// Users at most: far above any team and its scripts, and small enough to stay in every node's memory.
const MAX_USERS: usize = 1000;

/// What is changed of a user; what is none stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// What it may do.
    pub role: Option<Role>,
    /// PHC string, argon2id; the inner none takes the password away.
    pub password_hash: Option<Option<String>>,
    /// Whether a client certificate in its name lets it in.
    pub certificate: Option<bool>,
}

impl FrontDoor {
    /// Adds a user. One of that name must not be there.
    pub async fn create_user(
        &self,
        user: &UserName,
        account: AccountChange,
        by: UserName,
    ) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let control = view.control();
            if control.users.contains_key(user) {
                let text = format!("User \"{user}\" exists already.");
                return Err(Refusal::new(code::DUPLICATE, text).about("name"));
            }
            if control.users.len() >= MAX_USERS {
                let text = format!("There are {MAX_USERS} users, and no more are kept.");
                return Err(Refusal::new(code::IN_USE, text).about("name"));
            }
            let (account, by) = (account.clone(), Some(by.clone()));
            let event = ControlEvent::account(at, user.clone(), account, by);
            Ok(Attempt::control(event))
        })
        .await
    }

    /// Changes a user. What changes nothing is success without work.
    pub async fn change_user(
        &self,
        user: &UserName,
        change: UserChange,
        by: UserName,
    ) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let known = known(view.control(), user)?;
            let changed = changed(known, &change);
            if changed == as_recorded(known) {
                return Ok(Attempt::Nothing(()));
            }
            leaves_an_admin(view.control(), user, &changed)?;
            let event = ControlEvent::account(at, user.clone(), changed, Some(by.clone()));
            Ok(Attempt::control(event))
        })
        .await
    }

    /// Removes a user.
    pub async fn delete_user(&self, user: &UserName, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| {
            known(view.control(), user)?;
            leaves_an_admin(view.control(), user, &AccountChange::Removed)?;
            let (removed, by) = (AccountChange::Removed, Some(by.clone()));
            let event = ControlEvent::account(at, user.clone(), removed, by);
            Ok(Attempt::control(event))
        })
        .await
    }
}

fn known<'a>(control: &'a Control, user: &UserName) -> Result<&'a Account, Refusal> {
    control.users.get(user).ok_or_else(|| {
        Refusal::new(code::NO_ENTRY, format!("There is no user \"{user}\".")).about("name")
    })
}

fn as_recorded(account: &Account) -> AccountChange {
    changed(account, &UserChange::default())
}

fn changed(account: &Account, change: &UserChange) -> AccountChange {
    let hash = change.password_hash.as_ref();
    AccountChange::Set {
        role: change.role.unwrap_or(account.role),
        password_hash: hash.unwrap_or(&account.password_hash).clone(),
        certificate: change.certificate.unwrap_or(account.certificate),
    }
}

/// The last admin with a password stays one: certificates run out, and then nobody could put it right but
/// root on a controller.
fn leaves_an_admin(
    control: &Control,
    user: &UserName,
    change: &AccountChange,
) -> Result<(), Refusal> {
    let stays = match change {
        AccountChange::Set {
            role: Role::Admin,
            password_hash: Some(_),
            ..
        } => true,
        AccountChange::Set { .. } | AccountChange::Removed => false,
    };
    let is_one = control.users[user].is_working_admin();
    let mut others = control.users.iter().filter(|(name, _)| *name != user);
    if stays || !is_one || others.any(|(_, account)| account.is_working_admin()) {
        return Ok(());
    }
    let text = format!(
        "User \"{user}\" is the last admin with a password. Make another one first, or nobody could \
         administer the cluster."
    );
    Err(Refusal::new(code::IN_USE, text).about("name"))
}
