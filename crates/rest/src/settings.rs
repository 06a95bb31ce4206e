//! What the cluster believes and keeps: trusted keys and retention, under `/evenkeel/v1`.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{
    Acknowledgements, ApiError, Code, GateChange, Key, Keys, NewAcknowledgement, NewKey, Retention,
};
use evenkeel_model::{GateCondition, NoSuchCondition};
use evenkeel_orchestrator::GatesChange;

use crate::app::Shared;
use crate::audit::Told;
use crate::request::{Asked, object};
use crate::respond::{Failure, json};

/// `GET /evenkeel/v1/keys`.
pub(crate) async fn keys(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let records = app.cluster.keys().await?;
        let num_records = records.len();
        Ok(json(&Keys {
            records,
            num_records,
        }))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `POST /evenkeel/v1/keys`: packages signed with the key are accepted from now on.
pub(crate) async fn trust(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let key: NewKey = object(body).await?;
        let id = app.door.trust_key(key, asked.caller.user.clone()).await?;
        let body = json(&key_of(&app, &id).await?);
        Ok((body, Told::of("key", &id)))
    };
    let (body, told) = result.await.map_err(|error| asked.failure(error))?;
    Ok(told.on(asked.form.answer(StatusCode::CREATED, body)))
}

/// `DELETE /evenkeel/v1/keys/{id}`: packages signed with the key are refused from now on.
pub(crate) async fn revoke(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let id = asked.key();
        app.door.revoke_key(&id, asked.caller.user.clone()).await?;
        Ok(json(&key_of(&app, &id).await?))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

async fn key_of(app: &crate::app::App, id: &str) -> Result<Key, ApiError> {
    let keys = app.cluster.keys().await?;
    let known = keys.into_iter().find(|key| key.id == id);
    known.ok_or_else(|| ApiError::new(Code::NoEntry).target("id"))
}

/// `GET /evenkeel/v1/acknowledgements`.
pub(crate) async fn acknowledgements(
    State(app): Shared,
    asked: Asked,
) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let records = app.cluster.acknowledgements().await?;
        let num_records = records.len();
        Ok(json(&Acknowledgements {
            records,
            num_records,
        }))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `POST /evenkeel/v1/acknowledgements`: the warning does not block while it is about nothing more.
pub(crate) async fn acknowledge(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let new: NewAcknowledgement = object(body).await?;
        let check = new.check.clone();
        app.door.acknowledge(new, asked.caller.user.clone()).await?;
        let all = app.cluster.acknowledgements().await?;
        let known = all.into_iter().find(|known| known.check == check);
        // Another user may have taken it back meanwhile.
        let known = known.ok_or_else(|| ApiError::new(Code::NoEntry).target("check"))?;
        Ok(json(&known))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::CREATED, body))
}

/// `DELETE /evenkeel/v1/acknowledgements/{check}`: the warning blocks again.
pub(crate) async fn withdraw(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let check = asked.key();
        let by = asked.caller.user.clone();
        app.door.withdraw_acknowledgement(&check, by).await?;
        Ok(serde_json::json!({}))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `GET /evenkeel/v1/retention`.
pub(crate) async fn retention(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        Ok(json(&app.cluster.retention().await?))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `PUT /evenkeel/v1/retention`.
pub(crate) async fn set_retention(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let retention: Retention = object(body).await?;
        app.door
            .set_retention(retention.keep, asked.caller.user.clone())
            .await?;
        Ok(json(&app.cluster.retention().await?))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `GET /evenkeel/v1/gates`.
pub(crate) async fn gates(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        Ok(json(&app.cluster.gates().await?))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `PATCH /evenkeel/v1/gates`.
pub(crate) async fn set_gates(
    State(app): Shared,
    asked: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let change = change_of(object(body).await?)?;
        app.door
            .set_gates(change, asked.caller.user.clone())
            .await?;
        Ok(json(&app.cluster.gates().await?))
    };
    let body = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

fn change_of(change: GateChange) -> Result<GatesChange, ApiError> {
    let parse = |words: Vec<String>| -> Result<Vec<GateCondition>, ApiError> {
        let parsed = words.iter().map(|word| word.parse());
        parsed
            .collect::<Result<_, NoSuchCondition>>()
            .map_err(|error| {
                ApiError::with(Code::BadValue, format!("{error}.")).target("conditions")
            })
    };
    Ok(GatesChange {
        conditions: change.conditions.map(parse).transpose()?,
        hold_minutes: change.hold_minutes,
        longest_minutes: change.longest_minutes,
    })
}
