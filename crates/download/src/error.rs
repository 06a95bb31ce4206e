//! Why a source gave no bytes, and what to do about it.

/// Why a source gave nothing, or no more. Hosts and ports are named, nothing else of an address, and
/// nothing that the server said.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The server does not have the file.
    #[error("{host} does not have the file (answer {status})")]
    NotThere {
        /// The server.
        host: String,
        /// What it answered.
        status: u32,
    },
    /// The server wants other credentials, or none will do.
    #[error("{host} does not allow it (answer {status}): {advice}")]
    NotAllowed {
        /// The server.
        host: String,
        /// What it answered.
        status: u32,
        /// What to do.
        advice: &'static str,
    },
    /// The server refuses in a way that will not change.
    #[error("{host} refuses (answer {status})")]
    Refused {
        /// The server.
        host: String,
        /// What it answered.
        status: u32,
    },
    /// The server cannot serve just now.
    #[error("{host} cannot serve now (answer {status})")]
    Unavailable {
        /// The server.
        host: String,
        /// What it answered.
        status: u32,
    },
    /// More redirects than are followed.
    #[error("the address was redirected more than {limit} times")]
    TooManyRedirects {
        /// How many are followed.
        limit: usize,
    },
    /// A redirect to somewhere that is not followed.
    #[error("{host} redirects {why}")]
    BadRedirect {
        /// The server.
        host: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// The server packed the file in a way that was not asked for.
    #[error("{host} sends the file packed as \"{encoding}\", which was not asked for")]
    Encoded {
        /// The server.
        host: String,
        /// How.
        encoding: String,
    },
    /// The server's certificate is not believed.
    #[error(
        "the certificate of {host} is not trusted ({why}); a CA of your own is named in [download] ca"
    )]
    Untrusted {
        /// The server.
        host: String,
        /// Why not.
        why: String,
    },
    /// The certificates to trust cannot be read.
    #[error("the certificates to trust cannot be read")]
    Trust(#[from] crate::TrustError),
    /// No connection.
    #[error("{host} cannot be reached")]
    Connect {
        /// The server.
        host: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The connection ended, or what came over it made no sense.
    #[error("the connection to {host} broke off: {why}")]
    Broke {
        /// The server.
        host: String,
        /// How.
        why: &'static str,
    },
    /// Fewer bytes than announced.
    #[error("{host} sent {received} of {total} bytes")]
    Short {
        /// The server.
        host: String,
        /// Bytes that came.
        received: u64,
        /// Bytes announced.
        total: u64,
    },
    /// No byte for too long, or too few.
    #[error("{host} is too slow: {slow}")]
    TooSlow {
        /// The server.
        host: String,
        /// How slow.
        slow: crate::TooSlow,
    },
}

impl SourceError {
    /// Whether another try may end otherwise.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::Connect { .. }
            | Self::Broke { .. }
            | Self::Short { .. }
            | Self::TooSlow { .. } => true,
            Self::NotThere { .. }
            | Self::NotAllowed { .. }
            | Self::Refused { .. }
            | Self::TooManyRedirects { .. }
            | Self::BadRedirect { .. }
            | Self::Encoded { .. }
            | Self::Untrusted { .. }
            | Self::Trust(_) => false,
        }
    }
}

/// Why a transfer begins again at the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartsOver {
    /// The file is another one now.
    #[error("the file on the server has changed")]
    Changed,
    /// The server only sends whole files.
    #[error("the server cannot send the rest of a file")]
    NoRanges,
    /// The server says nothing by which the file can be known again.
    #[error("the server does not say whether the file is still the same")]
    NoValidator,
}
