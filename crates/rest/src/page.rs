//! The page at `/docs/api` on which people read the API and try it: Swagger UI, without any network but this
//! server's.
//!
//! Whoever is let in may see it. A browser that has asked for name and password adds them to what is tried on the
//! page.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use crate::app::App;

/// Nothing from elsewhere, nothing inline, and in no frame. Pictures within the style sheet are `data:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file that the page is made of.
struct File {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    encoding: Option<&'static str>,
    tag: OnceLock<HeaderValue>,
}

impl File {
    const fn plain(path: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        Self {
            path,
            content_type,
            bytes,
            encoding: None,
            tag: OnceLock::new(),
        }
    }

    /// One that is kept compressed, and sent so whatever the client says: every browser takes it.
    const fn gzip(path: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        Self {
            path,
            content_type,
            bytes,
            encoding: Some("gzip"),
            tag: OnceLock::new(),
        }
    }

    /// Known by its content: another release has other files at the same addresses.
    fn tag(&self) -> &HeaderValue {
        self.tag.get_or_init(|| {
            let digest = Sha256::digest(self.bytes);
            let digits: String = digest[..16]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            HeaderValue::try_from(format!("\"{digits}\"")).expect("hex digits in quotes")
        })
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let tag = self.tag();
        let is_known = asked.get(header::IF_NONE_MATCH) == Some(tag);
        let mut response = match is_known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => self.bytes.into_response(),
        };
        let encoding = self.encoding.filter(|_| !is_known);
        let said = [
            (header::CONTENT_TYPE, Some(self.content_type)),
            (header::CONTENT_ENCODING, encoding),
            // Asked again each time, and mostly answered without a body.
            (header::CACHE_CONTROL, Some("private, no-cache")),
            (header::CONTENT_SECURITY_POLICY, Some(POLICY)),
            (header::X_CONTENT_TYPE_OPTIONS, Some("nosniff")),
            (header::REFERRER_POLICY, Some("no-referrer")),
        ];
        let headers = response.headers_mut();
        headers.insert(header::ETAG, tag.clone());
        for (name, value) in said {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        response
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static FILES: [File; 6] = [
    File::plain(
        "/docs/api",
        "text/html; charset=utf-8",
        include_bytes!("../assets/page.html"),
    ),
    File::plain(
        "/docs/api/page.js",
        SCRIPT,
        include_bytes!("../assets/page.js"),
    ),
    File::plain(
        "/docs/api/openapi.json",
        "application/json",
        include_bytes!("../../../docs/openapi.json"),
    ),
    File::gzip(
        "/docs/api/swagger-ui-bundle.js",
        SCRIPT,
        include_bytes!("../assets/swagger-ui/swagger-ui-bundle.js.gz"),
    ),
    File::gzip(
        "/docs/api/swagger-ui.css",
        "text/css; charset=utf-8",
        include_bytes!("../assets/swagger-ui/swagger-ui.css.gz"),
    ),
    File::plain(
        "/docs/api/swagger-ui.txt",
        "text/plain; charset=utf-8",
        include_bytes!("../assets/swagger-ui/LICENCE.txt"),
    ),
];

/// They are read like anything else, but are no calls of the API.
pub(crate) fn routes() -> Router<Arc<App>> {
    let route = |router: Router<Arc<App>>, file: &'static File| {
        router.route(
            file.path,
            get(move |asked: HeaderMap| async move { file.answer(&asked) }),
        )
    };
    FILES.iter().fold(Router::new(), route)
}
