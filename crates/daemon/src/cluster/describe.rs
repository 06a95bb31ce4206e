//! How a node describes itself: what its configuration says, and what was typed.

use std::net::IpAddr;

use evenkeel_api::{ApiError, Code, NewNode};
use evenkeel_model::{LifConfig, NodeConfig, NodeId, NodeName, NodeSettings};

/// Longest name of a cluster, a site and the like, in characters: tables show them.
pub(super) const WORD_MAX: usize = 64;

/// The node as it wants to be known.
pub(super) fn describe(
    settings: &NodeSettings,
    new: &NewNode,
    partner: Option<NodeName>,
    id: NodeId,
) -> Result<NodeConfig, ApiError> {
    let host = new.address.as_deref();
    Ok(NodeConfig {
        id,
        name: settings.node.clone(),
        partner,
        interconnect: reached("interconnect", &settings.interconnect.listen, host)?,
        rest: reached("rest", &settings.rest.listen, host)?,
        platform: new
            .platform
            .parse()
            .map_err(|error| invalid("platform", &error))?,
        variant: word("variant", new.variant.as_deref())?,
        features: new
            .features
            .iter()
            .map(|feature| Ok(word("feature", Some(feature))?.unwrap_or_default()))
            .collect::<Result<_, ApiError>>()?,
        site: word("site", new.site.as_deref())?,
        lifs: named_lifs(&new.lifs)?,
    })
}

fn named_lifs(texts: &[String]) -> Result<Vec<LifConfig>, ApiError> {
    let mut lifs: Vec<LifConfig> = Vec::new();
    for text in texts {
        let lif = named_lif(text)?;
        if lifs.iter().any(|known| known.name == lif.name) {
            return Err(invalid("lif", &format!("there are two named {}", lif.name)));
        }
        lifs.push(lif);
    }
    Ok(lifs)
}

fn invalid(field: &str, error: &dyn std::fmt::Display) -> ApiError {
    ApiError::with(Code::InvalidField, format!("{field}: {error}.")).target(field)
}

/// What is shown in tables and matched by packages.
fn word(field: &str, text: Option<&str>) -> Result<Option<String>, ApiError> {
    match text {
        Some(text) if !is_shown_whole(text) => Err(invalid(
            field,
            &format!("{text:?} is not one line of 1 to {WORD_MAX} characters that can be seen"),
        )),
        text => Ok(text.map(ToOwned::to_owned)),
    }
}

/// Whether a table shows all of it, as what it is: letters and digits of any script, and what else ASCII prints.
pub(super) fn is_shown_whole(text: &str) -> bool {
    let is_shown = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    !text.trim().is_empty() && text.chars().count() <= WORD_MAX && text.chars().all(is_shown)
}

/// Where one node can reach another: an address of one machine, or a host name. Without brackets, and without a port.
fn host(text: &str) -> Option<&str> {
    let bare = text
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .unwrap_or(text);
    let is_one = match bare.parse::<IpAddr>() {
        Ok(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        Err(_) => is_host_name(bare),
    };
    is_one.then_some(bare)
}

fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
    };
    // A last label of digits alone is of an IP address that was mistyped.
    let last = text.rsplit('.').next().unwrap_or(text);
    text.len() <= 253
        && text.split('.').all(is_label)
        && !last.bytes().all(|it| it.is_ascii_digit())
}

/// Where others reach what listens there.
fn reached(section: &str, listen: &str, typed: Option<&str>) -> Result<String, ApiError> {
    let typed = typed.map(|text| {
        host(text).ok_or_else(|| {
            let why = format!(
                "{text:?} is neither an IP address of one machine nor a host name, without a port"
            );
            invalid("address", &why)
        })
    });
    let host = typed.transpose()?;
    let (own, port) = listen.rsplit_once(':').unwrap_or((listen, ""));
    let own = own.trim_matches(['[', ']']);
    let is_everywhere = own.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let host = match host {
        // One that listens on one address alone is reached there and nowhere else.
        Some(host) if is_everywhere => host,
        Some(_) | None if !is_everywhere => own,
        Some(_) | None => {
            let text = format!(
                "{section}.listen is {listen}, all addresses of this machine: say which one the other nodes reach it at, \
                 with --address."
            );
            return Err(ApiError::with(Code::InvalidField, text).target("address"));
        }
    };
    if host.is_empty() || host.contains(['/', ' ']) {
        return Err(invalid("address", &format!("{host:?} is no host")));
    }
    Ok(match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    })
}

fn named_lif(text: &str) -> Result<LifConfig, ApiError> {
    let parts = text.split_once('=').filter(|(_, address)| {
        let parts = address.rsplit_once(':');
        parts.is_some_and(|(at, port)| host(at).is_some() && port.parse::<u16>().is_ok())
    });
    let (name, address) =
        parts.ok_or_else(|| invalid("lif", &format!("{text:?} is not NAME=HOST:PORT")))?;
    Ok(LifConfig {
        name: name.parse().map_err(|error| invalid("lif", &error))?,
        address: address.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_reached_where_it_listens_or_where_it_says() {
        let cases = [
            ("192.0.2.1:4430", None, Some("192.0.2.1:4430")),
            ("192.0.2.1:4430", Some("10.0.0.1"), Some("192.0.2.1:4430")),
            ("0.0.0.0:4430", Some("10.0.0.1"), Some("10.0.0.1:4430")),
            ("[::]:4430", Some("fd00::1"), Some("[fd00::1]:4430")),
            (
                "[::]:4430",
                Some("node1.example"),
                Some("node1.example:4430"),
            ),
            ("0.0.0.0:4430", None, None),
            ("0.0.0.0:4430", Some(""), None),
            ("0.0.0.0:4430", Some("a b"), None),
            ("[::]:4430", Some("[fd00::1]"), Some("[fd00::1]:4430")),
            ("0.0.0.0:4430", Some("0.0.0.0"), None),
            ("0.0.0.0:4430", Some("::"), None),
            ("0.0.0.0:4430", Some("foo:22"), None),
            ("0.0.0.0:4430", Some("192.0.2.1:4430"), None),
            ("0.0.0.0:4430", Some("192.0.2"), None),
            ("0.0.0.0:4430", Some("a\u{7}b"), None),
            ("192.0.2.1:4430", Some("foo:22"), None),
        ];
        for (listen, host, expected) in cases {
            let found = reached("interconnect", listen, host).ok();
            assert_eq!(found.as_deref(), expected, "{listen} {host:?}");
        }
    }

    #[test]
    fn a_word_is_something_on_one_line() {
        assert_eq!(
            word("feature", Some("nvme")).unwrap().as_deref(),
            Some("nvme")
        );
        assert_eq!(word("site", None).unwrap(), None);
        assert_eq!(
            word("site", Some("Zürich 3, Halle ä")).unwrap().as_deref(),
            Some("Zürich 3, Halle ä")
        );
        let long = "x".repeat(65);
        for wrong in [
            "",
            " ",
            "a\nb",
            "\u{1b}[31m",
            "a\u{200b}",
            "\u{202e}a",
            &long,
        ] {
            assert!(word("feature", Some(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_lif_has_a_name_and_an_address() {
        assert_eq!(
            named_lif("data1=10.0.0.9:2049").unwrap().address,
            "10.0.0.9:2049"
        );
        for wrong in ["data1", "data1=10.0.0.9", "=1.2.3.4:5", "data1=x:99999"] {
            assert!(named_lif(wrong).is_err(), "{wrong}");
        }
        let twice = ["data1=10.0.0.9:2049", "data1=10.0.0.8:2049"].map(str::to_owned);
        assert!(named_lifs(&twice[..1]).is_ok() && named_lifs(&twice).is_err());
    }
}
