//! The generic reads, and the table of the resources that have them.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use evenkeel_api::{
    ApiError, Code, CollectionQuery, Download, FirmwareHistory, History, Identity, Job, Node,
    Package, ReadQuery, Resource, Software,
};
use evenkeel_model::Refusal;
use serde_json::Value;

use crate::app::{App, Shared};
use crate::cluster::Cluster;
use crate::kept::{Lasts, Question};
use crate::list::{page, single};
use crate::openapi::{self, Operation, Schemas};
use crate::request::Asked;
use crate::respond::{Failure, json};
use crate::routes::Routes;

/// A resource that is read.
pub(crate) trait Read: Resource {
    /// For how long what is answered of it is true.
    const LASTS: Lasts;
}

/// A resource there is one of.
trait Single: Read {
    fn get(cluster: &dyn Cluster) -> impl Future<Output = Result<Self, Refusal>> + Send
    where
        Self: Sized;
}

/// A resource there are many of.
pub(crate) trait Many: Read + Sync {
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

/// Writes, from a table, where each resource comes from, for how long an answer of it is true, and the routes of
/// all of them. `by` names what finds one of many without making all of them.
macro_rules! served {
    ($($how:ident $resource:ty: $projection:ident $(by $one:ident)?, $lasts:expr;)*) => {
        $(served!(@from $how $resource: $projection $(by $one)?);)*
        $(impl Read for $resource {
            const LASTS: Lasts = $lasts;
        })*

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

// A new resource is its wire struct, its projection in `Cluster`, and a line here. What a picture does not say of
// it lasts for an unknown time.
served! {
    one evenkeel_api::Cluster: cluster, Lasts::View;
    many Node: nodes, Lasts::View;
    one Software: software, Lasts::Picture;
    one Download: download, Lasts::Unknown;
    many Package: packages, Lasts::View;
    many History: history, Lasts::View;
    many FirmwareHistory: firmware_history, Lasts::View;
    many Job: jobs by job, Lasts::View;
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
    let render = async {
        let query = ReadQuery::parse::<R>(asked.params()?)?;
        let record = R::get(app.cluster.as_ref()).await?;
        Ok(single(&query.selection, &record))
    };
    answer::<R>(&app, &asked, render).await
}

/// `GET` of a collection.
async fn collection<R: Many>(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let render = async {
        let query = CollectionQuery::parse::<R>(asked.params()?)?;
        let records = R::all(app.cluster.as_ref()).await?;
        Ok(page(&query, &records))
    };
    answer::<R>(&app, &asked, render).await
}

/// `GET` of one of many.
async fn member<R: Many>(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let render = async {
        let query = ReadQuery::parse::<R>(asked.params()?)?;
        let record = existing::<R>(&app, asked.key()).await?;
        Ok(single(&query.selection, &record))
    };
    answer::<R>(&app, &asked, render).await
}

/// The answer that was given to the same a moment ago, where it is still true; or else what `render` makes.
async fn answer<R: Read>(
    app: &App,
    asked: &Asked,
    render: impl Future<Output = Result<Value, ApiError>>,
) -> Result<Response, Failure> {
    // Before anything is read: what is read may be newer, but never older.
    let picture = match R::LASTS {
        Lasts::View | Lasts::Picture => app.cluster.picture(),
        Lasts::Unknown => None,
    };
    let question = Question {
        target: asked.target().to_owned(),
        form: asked.form,
        role: asked.caller.role,
    };
    let kept = picture.as_ref().and_then(|it| app.kept.find(&question, it));
    let body = match kept {
        Some(body) => body,
        None => {
            let body = render.await.map_err(|error| asked.failure(error))?;
            let body = asked.form.write(body);
            if let Some(picture) = picture {
                app.kept.keep(question, R::LASTS, picture, body.clone());
            }
            body
        }
    };
    Ok(asked.form.written(StatusCode::OK, body))
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
