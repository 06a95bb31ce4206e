//! Routes that can be counted: what is served is held against what is documented.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};

use crate::app::App;

/// A router, and what is in it.
#[derive(Default)]
pub(crate) struct Routes {
    router: Router<Arc<App>>,
    #[cfg(test)]
    served: Vec<(Method, String)>,
}

impl Routes {
    /// Answers a method of an address.
    pub(crate) fn on<H, T>(mut self, method: Method, path: &str, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("one of the usual methods");
        self.router = self.router.route(path, on(filter, handler));
        #[cfg(test)]
        self.served.push((method, path.to_owned()));
        self
    }

    pub(crate) fn into_router(self) -> Router<Arc<App>> {
        self.router
    }

    #[cfg(test)]
    pub(crate) fn served(self) -> Vec<(Method, String)> {
        self.served
    }
}
