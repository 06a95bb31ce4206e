//! Who asks, and from where.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use evenkeel_api::{ApiError, Code};
use evenkeel_model::{Role, UserName};

/// As whom root on a controller acts, through the local socket. No user can have the name.
pub(crate) const LOCAL_ROOT: &str = "local-root";

/// Where a request comes from: said by the listener that took the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The other end.
    pub origin: Origin,
    /// The name in a client certificate that was verified.
    pub certificate: Option<UserName>,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Of the network.
    Address(SocketAddr),
    /// A process of this machine, over the local socket, whose user the kernel vouches for.
    Local {
        /// Its user.
        uid: u32,
    },
    /// Nobody said.
    #[default]
    Unknown,
}

impl Origin {
    /// What counts as one source of tries and of connections: an address, or for IPv6 the network that is
    /// handed out as a whole.
    pub(crate) fn source(self) -> Option<IpAddr> {
        let Self::Address(address) = self else {
            return None;
        };
        Some(match address.ip().to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => {
                let network = u128::from(ip) >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from(network))
            }
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.ip().to_canonical().fmt(f),
            Self::Local { uid } => write!(f, "local socket, uid {uid}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) user: UserName,
    pub(crate) role: Role,
    pub(crate) is_local: bool,
}

impl Caller {
    /// Root on this controller.
    pub(crate) fn local() -> Self {
        Self {
            user: LOCAL_ROOT.parse().expect("a name"),
            role: Role::Admin,
            is_local: true,
        }
    }

    /// Refuses one who may not do what `needed` may.
    pub(crate) fn require(&self, needed: Role) -> Result<(), ApiError> {
        if self.role.covers(needed) {
            return Ok(());
        }
        let message = format!(
            "not authorized for that command: it needs the role \"{needed}\", and user \"{}\" has \"{}\"",
            self.user, self.role
        );
        Err(ApiError::with(Code::Forbidden, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_source() {
        let source = |text: &str| Origin::Address(text.parse().unwrap()).source();
        assert_eq!(source("[2001:db8::1]:1"), source("[2001:db8::2]:7"));
        assert_ne!(source("[2001:db8::1]:1"), source("[2001:db8:0:1::1]:1"));
        assert_eq!(source("[::ffff:192.0.2.1]:1"), source("192.0.2.1:2"));
        assert_ne!(source("192.0.2.1:1"), source("192.0.2.2:1"));
    }
}
