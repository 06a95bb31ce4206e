//! Where a package comes from: an address taken apart, its secrets kept from sight.

use hyper::Uri;
use percent_encoding::percent_decode_str;

use crate::secret::{Credentials, Secret};

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceScheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
    /// FTP, in the clear.
    Ftp,
}

impl SourceScheme {
    fn parse(word: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Ftp]
            .into_iter()
            .find(|scheme| word.eq_ignore_ascii_case(scheme.as_str()))
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ftp => "ftp",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Ftp => 21,
        }
    }
}

/// Why an address is refused. Never quotes it: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not an address at all.
    #[error("it is not of the form scheme://host/path")]
    Syntax,
    /// Longer than any server takes.
    #[error("it is longer than {max} bytes", max = Source::MAX_BYTES)]
    TooLong,
    /// Another scheme.
    #[error("only http, https and ftp are supported")]
    Scheme,
    /// It names no file.
    #[error("it names no file on the server")]
    NoFile,
    /// A password for nobody.
    #[error("a password needs a user name")]
    NoUser,
}

/// Where a package comes from, with what it takes to get it. It cannot be printed; [`shown`](Self::shown)
/// is the part that may be.
#[derive(Clone)]
pub struct Source {
    scheme: SourceScheme,
    /// As a connection names it: an IPv6 address without brackets.
    host: String,
    port: u16,
    path: String,
    query: Option<Secret>,
    credentials: Option<Credentials>,
}

impl Source {
    /// The longest address: above what servers take, and far below what one event of the record holds.
    pub const MAX_BYTES: usize = 8192;

    /// Takes an address apart. User and password given beside it win over those in it.
    pub fn parse(
        url: &str,
        username: Option<String>,
        password: Option<String>,
    ) -> Result<Self, UrlError> {
        if url.len() > Self::MAX_BYTES {
            return Err(UrlError::TooLong);
        }
        let (scheme, _) = url.split_once("://").ok_or(UrlError::Syntax)?;
        let scheme = SourceScheme::parse(scheme).ok_or(UrlError::Scheme)?;
        let uri: Uri = url.parse().map_err(|_| UrlError::Syntax)?;
        let mut source = Self::of_uri(scheme, &uri)?;
        if source.path.ends_with('/') {
            return Err(UrlError::NoFile);
        }
        let inner = user_info(&uri)?;
        source.credentials = match (username, password, inner) {
            (Some(user), password, _) => Some((user, password.unwrap_or_default())),
            (None, Some(password), Some((user, _))) => Some((user, password)),
            (None, Some(_), None) => return Err(UrlError::NoUser),
            (None, None, inner) => inner,
        }
        .map(|(user, password)| Credentials {
            user: Secret::new(user),
            password: Secret::new(password),
        });
        source.check_for_ftp()?;
        Ok(source)
    }

    fn of_uri(scheme: SourceScheme, uri: &Uri) -> Result<Self, UrlError> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // What is not ASCII comes percent-encoded in an address; servers take it in no other form.
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        if host.is_empty() || !target.is_ascii() {
            return Err(UrlError::Syntax);
        }
        let port = match uri.port() {
            Some(port) => port.as_u16(),
            None => scheme.default_port(),
        };
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
            path: uri.path().to_owned(),
            query: uri.query().map(|query| Secret::new(query.to_owned())),
            credentials: None,
        })
    }

    /// A line feed in what goes over FTP's control connection would be another command.
    fn check_for_ftp(&self) -> Result<(), UrlError> {
        let breaks = |text: &str| text.chars().any(char::is_control);
        let login = self.credentials.as_ref();
        let login = login.map(|c| breaks(c.user.expose()) || breaks(c.password.expose()));
        if self.scheme != SourceScheme::Ftp {
            return Ok(());
        }
        match login.unwrap_or(false) || breaks(&self.ftp_path().ok_or(UrlError::Syntax)?) {
            true => Err(UrlError::Syntax),
            false => Ok(()),
        }
    }

    /// The address without user, password, query and fragment: what may be logged, stored and shown.
    pub fn shown(&self) -> String {
        format!(
            "{}://{}{}",
            self.scheme.as_str(),
            self.authority(),
            self.path
        )
    }

    /// Whether [`shown`](Self::shown) alone is not enough to get the package.
    pub fn needs_secret(&self) -> bool {
        let named = self
            .credentials
            .as_ref()
            .is_some_and(|credentials| match self.scheme {
                SourceScheme::Ftp => !is_anonymous(credentials.user.expose()),
                SourceScheme::Http | SourceScheme::Https => true,
            });
        named || self.query.is_some()
    }

    /// The server.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> SourceScheme {
        self.scheme
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Host and port as in a `Host` header: the port only where it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port == self.scheme.default_port() {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }

    /// Path and query, as a request names them.
    pub(crate) fn target(&self) -> zeroize::Zeroizing<String> {
        let query = self.query.as_ref().map(|query| query.expose());
        zeroize::Zeroizing::new(match query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        })
    }

    /// The path as FTP takes it: relative to where the login lands, without the type.
    pub(crate) fn ftp_path(&self) -> Option<String> {
        let target = self.target();
        let path = target.strip_prefix('/').unwrap_or(&target);
        let path = match path.rsplit_once(";type=") {
            Some((path, _)) => path,
            None => path,
        };
        let path = percent_decode_str(path).decode_utf8().ok()?;
        Some(path.into_owned())
    }

    /// Where a redirect leads. Credentials stay with the host they were given for.
    pub(crate) fn redirected(&self, location: &str) -> Result<Self, &'static str> {
        let bad = "to something that is no address";
        let target = self.resolve(location);
        let (scheme, _) = target.split_once("://").ok_or(bad)?;
        let scheme = SourceScheme::parse(scheme);
        let scheme = scheme.filter(|scheme| *scheme != SourceScheme::Ftp);
        let scheme = scheme.ok_or("to something that is neither http nor https")?;
        if (self.scheme, scheme) == (SourceScheme::Https, SourceScheme::Http) {
            return Err("from https to http, which is not followed");
        }
        let uri: Uri = target.parse().map_err(|_| bad)?;
        let mut next = Self::of_uri(scheme, &uri).map_err(|_| bad)?;
        let same_host = self.host == next.host;
        let both_default =
            self.port == self.scheme.default_port() && next.port == next.scheme.default_port();
        if same_host && (self.port == next.port || both_default) {
            next.credentials = self.credentials.clone();
        }
        Ok(next)
    }

    /// A reference against this address, by RFC 3986, 5.2.
    fn resolve(&self, location: &str) -> String {
        let (reference, _fragment) = location.split_once('#').unwrap_or((location, ""));
        let scheme = self.scheme.as_str();
        if has_scheme(reference) {
            return reference.to_owned();
        }
        if reference.starts_with("//") {
            return format!("{scheme}:{reference}");
        }
        let (path, query) = match reference.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (reference, String::new()),
        };
        let path = match (path.is_empty(), path.starts_with('/')) {
            (true, _) => self.path.clone(),
            (false, true) => without_dots(path),
            (false, false) => {
                let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                without_dots(&format!("{folder}/{path}"))
            }
        };
        format!("{scheme}://{}{path}{query}", self.authority())
    }
}

pub(crate) fn is_anonymous(user: &str) -> bool {
    user.eq_ignore_ascii_case("anonymous") || user.eq_ignore_ascii_case("ftp")
}

fn user_info(uri: &Uri) -> Result<Option<(String, String)>, UrlError> {
    let authority = uri.authority().map(|authority| authority.as_str());
    let Some((info, _)) = authority.and_then(|authority| authority.rsplit_once('@')) else {
        return Ok(None);
    };
    let (user, password) = info.split_once(':').unwrap_or((info, ""));
    let decode = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(String::from).map_err(|_| UrlError::Syntax)
    };
    Ok(Some((decode(user)?, decode(password)?)))
}

fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?']);
    end.is_some_and(|end| end > 0 && reference[end..].starts_with(':'))
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(url: &str) -> Source {
        match Source::parse(url, None, None) {
            Ok(source) => source,
            Err(error) => panic!("{url}: {error}"),
        }
    }

    fn refused(url: &str) -> UrlError {
        match Source::parse(url, None, None) {
            Ok(_) => panic!("{url} was taken"),
            Err(error) => error,
        }
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let source = source("HTTPS://me:s3cret@Host.example:8443/a/b.tgz?sig=t0ken#end");
        assert_eq!(source.shown(), "https://host.example:8443/a/b.tgz");
        assert_eq!(*source.target(), "/a/b.tgz?sig=t0ken");
        assert!(source.needs_secret());
        let credentials = source.credentials().unwrap();
        assert_eq!(*credentials.basic(), "Basic bWU6czNjcmV0");
    }

    #[test]
    fn only_what_the_address_alone_can_get_needs_no_secret() {
        for plain in [
            "http://h/f",
            "ftp://anonymous@h/f",
            "ftp://h/f",
            "https://[::1]:1/f",
        ] {
            assert!(!source(plain).needs_secret(), "{plain}");
        }
        for secret in ["http://u@h/f", "ftp://u:p@h/f", "http://h/f?x=1"] {
            assert!(source(secret).needs_secret(), "{secret}");
        }
    }

    #[test]
    fn wrong_addresses_are_told_apart() {
        for syntax in [
            "",
            "h/f",
            "http:/h/f",
            "http:///f",
            "http://h h/f",
            "http://h/\u{e4}",
        ] {
            assert_eq!(refused(syntax), UrlError::Syntax, "{syntax}");
        }
        for scheme in ["tftp://h/f", "file:///f", "ftps://h/f", "://h/f"] {
            assert_eq!(refused(scheme), UrlError::Scheme, "{scheme}");
        }
        for folder in ["http://h", "http://h/", "ftp://h/a/"] {
            assert_eq!(refused(folder), UrlError::NoFile, "{folder}");
        }
        assert_eq!(refused("ftp://h/a%0d%0aDELE%20b"), UrlError::Syntax);
        assert_eq!(refused("ftp://u%0a:p@h/a"), UrlError::Syntax);
        let nobody = Source::parse("http://h/f", None, Some("p".into()));
        assert_eq!(nobody.err(), Some(UrlError::NoUser));
    }

    #[test]
    fn a_user_beside_the_address_wins() {
        let given = Source::parse("http://a:b@h/f", Some("c".into()), Some("d".into()));
        let given = given.ok().unwrap();
        let credentials = given.credentials().unwrap();
        assert_eq!(
            (credentials.user.expose(), credentials.password.expose()),
            ("c", "d")
        );
        let mixed = Source::parse("http://a:b@h/f", None, Some("d".into()))
            .ok()
            .unwrap();
        let credentials = mixed.credentials().unwrap();
        assert_eq!(
            (credentials.user.expose(), credentials.password.expose()),
            ("a", "d")
        );
    }

    #[test]
    fn redirects_are_resolved_and_never_lead_down() {
        let from = source("https://u:p@h/a/b/c.tgz?q");
        for (location, to) in [
            ("/x", "https://h/x"),
            ("x?y", "https://h/a/b/x"),
            ("../x", "https://h/a/x"),
            ("../../../x/./y", "https://h/x/y"),
            ("?z", "https://h/a/b/c.tgz"),
            ("//other/x", "https://other/x"),
            ("https://h:8443/x", "https://h:8443/x"),
        ] {
            let next = from.redirected(location).ok().unwrap();
            assert_eq!(next.shown(), to, "{location}");
            let kept = to.starts_with("https://h/");
            assert_eq!(next.credentials().is_some(), kept, "{location}");
        }
        for down in ["http://h/x", "ftp://h/x", "https://", "javascript:1"] {
            assert!(from.redirected(down).is_err(), "{down}");
        }
        let up = source("http://u:p@h/x")
            .redirected("https://h/x")
            .ok()
            .unwrap();
        assert!(up.credentials().is_some());
        let other = source("http://u:p@h/x")
            .redirected("http://e/x")
            .ok()
            .unwrap();
        assert!(other.credentials().is_none());
    }

    #[test]
    fn ftp_paths_are_relative_to_the_login() {
        assert_eq!(
            source("ftp://h/a/b%20c;type=i").ftp_path().unwrap(),
            "a/b c"
        );
        assert_eq!(source("ftp://h/%2Fa/b").ftp_path().unwrap(), "/a/b");
    }
}
