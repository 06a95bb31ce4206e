//! The generic reads. A resource is a wire struct, where it comes from (below), and one route.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{
    ApiError, Code, CollectionQuery, Download, History, Identity, Job, Node, Package, ReadQuery,
    Resource, Software,
};
use evenkeel_model::Refusal;

use crate::app::Shared;
use crate::cluster::Cluster;
use crate::list::{page, single};
use crate::request::Asked;
use crate::respond::{Failure, json};

/// A resource there is one of.
pub(crate) trait Single: Resource {
    fn get(cluster: &dyn Cluster) -> impl Future<Output = Result<Self, Refusal>> + Send
    where
        Self: Sized;
}

/// A resource there are many of.
pub(crate) trait Many: Resource + Sync {
    fn all(cluster: &dyn Cluster) -> impl Future<Output = Result<Vec<Self>, Refusal>> + Send
    where
        Self: Sized;

    /// The one with this key.
    fn one(
        cluster: &dyn Cluster,
        key: String,
    ) -> impl Future<Output = Result<Option<Self>, Refusal>> + Send
    where
        Self: Sized,
    {
        async move {
            let Some(name) = key_name::<Self>() else {
                return Ok(None);
            };
            let all = Self::all(cluster).await?;
            let is_it = |record: &Self| json(record).get(name).is_some_and(|v| *v == key);
            Ok(all.into_iter().find(is_it))
        }
    }
}

fn key_name<R: Resource>() -> Option<&'static str> {
    match R::IDENTITY {
        Identity::Key(key, _) => Some(key),
        Identity::Singleton | Identity::Fields(_) => None,
    }
}

impl Single for evenkeel_api::Cluster {
    async fn get(cluster: &dyn Cluster) -> Result<Self, Refusal> {
        cluster.cluster().await
    }
}

impl Single for Software {
    async fn get(cluster: &dyn Cluster) -> Result<Self, Refusal> {
        cluster.software().await
    }
}

impl Single for Download {
    async fn get(cluster: &dyn Cluster) -> Result<Self, Refusal> {
        cluster.download().await
    }
}

impl Many for Node {
    async fn all(cluster: &dyn Cluster) -> Result<Vec<Self>, Refusal> {
        cluster.nodes().await
    }
}

impl Many for Package {
    async fn all(cluster: &dyn Cluster) -> Result<Vec<Self>, Refusal> {
        cluster.packages().await
    }
}

impl Many for History {
    async fn all(cluster: &dyn Cluster) -> Result<Vec<Self>, Refusal> {
        cluster.history().await
    }
}

impl Many for Job {
    async fn all(cluster: &dyn Cluster) -> Result<Vec<Self>, Refusal> {
        cluster.jobs().await
    }

    /// Asked for by id: there may be many.
    async fn one(cluster: &dyn Cluster, key: String) -> Result<Option<Self>, Refusal> {
        match key.parse() {
            Ok(id) => cluster.job(id).await,
            Err(_) => Ok(None),
        }
    }
}

/// `GET` of a singleton.
pub(crate) async fn singleton<R: Single>(
    State(app): Shared,
    asked: Asked,
) -> Result<Response, Failure> {
    let answer = async {
        let query = ReadQuery::parse::<R>(asked.params()?)?;
        let record = R::get(app.cluster.as_ref()).await?;
        Ok(single(&query.selection, &record))
    };
    let body = answer.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `GET` of a collection.
pub(crate) async fn collection<R: Many>(
    State(app): Shared,
    asked: Asked,
) -> Result<Response, Failure> {
    let answer = async {
        let query = CollectionQuery::parse::<R>(asked.params()?)?;
        let records = R::all(app.cluster.as_ref()).await?;
        Ok(page(&query, &records))
    };
    let body = answer.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `GET` of one of many.
pub(crate) async fn member<R: Many>(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let answer = async {
        let query = ReadQuery::parse::<R>(asked.params()?)?;
        let record = R::one(app.cluster.as_ref(), asked.key()).await?;
        let record = match record {
            Some(record) => record,
            // The mirror may be behind: only the record can say that there is none.
            None => {
                app.cluster.refresh().await?;
                let record = R::one(app.cluster.as_ref(), asked.key()).await?;
                record.ok_or_else(no_entry::<R>)?
            }
        };
        Ok(single(&query.selection, &record))
    };
    let body = answer.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// The real product's answer for a key that is not there.
fn no_entry<R: Resource>() -> ApiError {
    ApiError::new(Code::NoEntry).target(key_name::<R>().unwrap_or("uuid"))
}
