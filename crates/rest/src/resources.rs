//! The generic reads, and the table of the resources that have them.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use evenkeel_api::{
    ApiError, Code, CollectionQuery, Download, FirmwareHistory, History, Identity, Job, Node,
    Package, ReadQuery, Resource, Software,
};
use evenkeel_model::Refusal;

use crate::app::{App, Shared};
use crate::cluster::Cluster;
use crate::list::{page, single};
use crate::openapi::{self, Operation, Schemas};
use crate::request::Asked;
use crate::respond::{Failure, json};
use crate::routes::Routes;

/// A resource there is one of.
trait Single: Resource {
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

/// Writes, from a table, where each resource comes from and the routes of all of them. `by` names what finds
/// one of many without making all of them.
macro_rules! served {
    ($($how:ident $resource:ty: $projection:ident $(by $one:ident)?;)*) => {
        $(served!(@from $how $resource: $projection $(by $one)?);)*

        /// The routes of everything that is read.
        pub(crate) fn reads(routes: Routes) -> Routes {
            $(let routes = $how::<$resource>(routes);)*
            routes
        }

        /// The same for the document.
        pub(crate) fn described(schemas: &mut Schemas) -> Vec<Operation> {
            let mut operations = Vec::new();
            $(operations.extend(openapi::$how::<$resource>(schemas));)*
            operations
        }
    };
    (@from one $resource:ty: $projection:ident) => {
        impl Single for $resource {
            async fn get(cluster: &dyn Cluster) -> Result<Self, Refusal> {
                cluster.$projection().await
            }
        }
    };
    (@from many $resource:ty: $projection:ident $(by $one:ident)?) => {
        impl Many for $resource {
            async fn all(cluster: &dyn Cluster) -> Result<Vec<Self>, Refusal> {
                cluster.$projection().await
            }

            $(async fn one(cluster: &dyn Cluster, key: String) -> Result<Option<Self>, Refusal> {
                match key.parse() {
                    Ok(key) => cluster.$one(key).await,
                    Err(_) => Ok(None),
                }
            })?
        }
    };
}

// A new resource is its wire struct, its projection in `Cluster`, and a line here.
served! {
    one evenkeel_api::Cluster: cluster;
    many Node: nodes;
    one Software: software;
    one Download: download;
    many Package: packages;
    many History: history;
    many FirmwareHistory: firmware_history;
    many Job: jobs by job;
}

fn one<R: Single>(routes: Routes) -> Routes {
    routes.on(Method::GET, R::PATH, singleton::<R>)
}

fn many<R: Many>(routes: Routes) -> Routes {
    let all = routes.on(Method::GET, R::PATH, collection::<R>);
    match R::IDENTITY {
        Identity::Key(..) => all.on(Method::GET, &member_path::<R>(), member::<R>),
        Identity::Fields(_) | Identity::Singleton => all,
    }
}

/// The pattern of the addresses of single records.
pub(crate) fn member_path<R: Resource>() -> String {
    format!("{}/{{{}}}", R::PATH, key_name::<R>().unwrap_or("key"))
}

/// `GET` of a singleton.
async fn singleton<R: Single>(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let answer = async {
        let query = ReadQuery::parse::<R>(asked.params()?)?;
        let record = R::get(app.cluster.as_ref()).await?;
        Ok(single(&query.selection, &record))
    };
    let body = answer.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `GET` of a collection.
async fn collection<R: Many>(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let answer = async {
        let query = CollectionQuery::parse::<R>(asked.params()?)?;
        let records = R::all(app.cluster.as_ref()).await?;
        Ok(page(&query, &records))
    };
    let body = answer.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// `GET` of one of many.
async fn member<R: Many>(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let answer = async {
        let query = ReadQuery::parse::<R>(asked.params()?)?;
        let record = existing::<R>(&app, asked.key()).await?;
        Ok(single(&query.selection, &record))
    };
    let body = answer.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, body))
}

/// The record with this key. The mirror may be behind: only the record of the cluster can say that there is
/// none.
pub(crate) async fn existing<R: Many>(app: &App, key: String) -> Result<R, ApiError> {
    if let Some(record) = R::one(app.cluster.as_ref(), key.clone()).await? {
        return Ok(record);
    }
    app.cluster.refresh().await?;
    let record = R::one(app.cluster.as_ref(), key).await?;
    record.ok_or_else(no_entry::<R>)
}

/// The real product's answer for a key that is not there.
fn no_entry<R: Resource>() -> ApiError {
    ApiError::new(Code::NoEntry).target(key_name::<R>().unwrap_or("uuid"))
}
