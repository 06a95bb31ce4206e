//! Who may use the API: `/evenkeel/v1/users`.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{ApiError, Code, NewUser, Secret, User, UserChange, Users};
use evenkeel_model::{AccountChange, Role, UserName};
use evenkeel_orchestrator::SELF;

use crate::app::{App, Shared};
use crate::caller::LOCAL_ROOT;
use crate::request::{Asked, object};
use crate::respond::{Failure, json};

/// Names that no user can have, and who has them.
const RESERVED: [(&str, &str); 2] = [
    (LOCAL_ROOT, "root on a controller"),
    (SELF, "what the cluster does by itself"),
];

/// The name of a user who is to be made, or why nobody can have it.
pub fn new_user_name(name: &str) -> Result<UserName, ApiError> {
    let invalid = |error: &dyn ToString| {
        ApiError::with(Code::InvalidField, format!("{}.", error.to_string())).target("name")
    };
    let name = UserName::new(name).map_err(|error| invalid(&error))?;
    let reserved = RESERVED
        .iter()
        .find(|(reserved, _)| name.as_str() == *reserved);
    match reserved {
        Some((name, who)) => Err(invalid(&format!("the name \"{name}\" stands for {who}"))),
        None => Ok(name),
    }
}

/// `GET /evenkeel/v1/users`.
pub(crate) async fn users(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let records = app.cluster.users().await?;
        let num_records = records.len();
        Ok(json(&Users {
            records,
            num_records,
        }))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `GET /evenkeel/v1/users/{name}`.
pub(crate) async fn user(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let name = asked.key();
        if name != asked.caller.user.as_str() {
            asked.caller.require(Role::Admin)?;
        }
        Ok(json(&user_of(&app, &name).await?))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `POST /evenkeel/v1/users`.
pub(crate) async fn create(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let new: NewUser = object(body).await?;
        let name = new_user_name(&new.name)?;
        let account = AccountChange::Set {
            role: role(&new.role)?,
            password_hash: hash(&app, new.password).await?,
            certificate: new.certificate,
        };
        app.door
            .create_user(&name, account, asked.caller.user.clone())
            .await?;
        Ok(json(&as_set(&app, &name).await?))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::CREATED, body))
}

/// `PATCH /evenkeel/v1/users/{name}`. Everybody may change their own password.
pub(crate) async fn change(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let name = named(&asked.key())?;
        let change: UserChange = object(body).await?;
        let is_own_password =
            name == asked.caller.user && change.role.is_none() && change.certificate.is_none();
        if !is_own_password {
            asked.caller.require(Role::Admin)?;
        }
        let role = change.role.as_deref().map(role).transpose()?;
        let change = evenkeel_orchestrator::UserChange {
            role,
            password_hash: hash(&app, change.password).await?.map(Some),
            certificate: change.certificate,
        };
        app.door
            .change_user(&name, change, asked.caller.user.clone())
            .await?;
        Ok(json(&as_set(&app, &name).await?))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `DELETE /evenkeel/v1/users/{name}`.
pub(crate) async fn delete(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let name = named(&asked.key())?;
        app.door
            .delete_user(&name, asked.caller.user.clone())
            .await?;
        Ok(serde_json::json!({}))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// The user of that name. The mirror may be behind: only the record of the cluster can say that there is none.
async fn user_of(app: &App, name: &str) -> Result<User, ApiError> {
    if let Some(user) = known(app, name).await? {
        return Ok(user);
    }
    app.cluster.refresh().await?;
    let user = known(app, name).await?;
    user.ok_or_else(|| ApiError::new(Code::NoEntry).target("name"))
}

/// The user after a change that was accepted: that it cannot be shown does not take the change back, and must not
/// make anybody ask for it again.
async fn as_set(app: &App, name: &UserName) -> Result<User, ApiError> {
    let shown = user_of(app, name.as_str()).await;
    shown.map_err(|error| match error.status {
        503 => {
            let text = format!(
                "User \"{name}\" was set, but cannot be shown just now: {}",
                error.message
            );
            ApiError::with(Code::InternalError, text)
        }
        _ => error,
    })
}

async fn known(app: &App, name: &str) -> Result<Option<User>, ApiError> {
    let users = app.cluster.users().await?;
    Ok(users.into_iter().find(|user| user.name == name))
}

/// What is no name names nobody.
fn named(name: &str) -> Result<UserName, ApiError> {
    UserName::new(name).map_err(|_| ApiError::new(Code::NoEntry).target("name"))
}

fn role(word: &str) -> Result<Role, ApiError> {
    word.parse()
        .map_err(|_| ApiError::invalid("role", word, "admin|stager|readonly"))
}

async fn hash(app: &App, password: Option<Secret>) -> Result<Option<String>, ApiError> {
    match password {
        Some(Secret(password)) => app.auth.hash_new(password).await.map(Some),
        None => Ok(None),
    }
}
