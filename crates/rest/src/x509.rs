//! What is read from an X.509 certificate: whose it is, for which names, and until when. Trust is decided
//! elsewhere, by rustls, before anything here counts.

use std::net::IpAddr;

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, TagNumber};
use sha2::{Digest, Sha256};

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// A certificate that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct X509Error(#[from] der::Error);

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject's common name, if it has exactly one.
    pub subject: Option<String>,
    /// The issuer's.
    pub issuer: Option<String>,
    /// Names and addresses it stands for.
    pub names: Vec<String>,
    /// From when on it is valid, in seconds since 1970.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
    /// SHA-256 of the whole.
    pub fingerprint: String,
}

impl CertificateFacts {
    /// Reads a certificate.
    pub fn of_der(bytes: &[u8]) -> Result<Self, X509Error> {
        let whole = AnyRef::from_der(bytes)?;
        let fields = children(first(whole.value())?.value())?;
        let mut fields = fields.into_iter().peekable();
        // The version comes first, where there is one; serial number and algorithm follow.
        fields.next_if(|field| context(field) == Some(0));
        let mut fields = fields.skip(2);
        let mut next = || {
            fields
                .next()
                .ok_or_else(|| der::Error::incomplete(der::Length::ZERO))
        };
        let (issuer, validity, subject) = (next()?, next()?, next()?);
        let times = children(validity.value())?;
        let [not_before, not_after] = times.as_slice() else {
            return Err(der::Error::incomplete(der::Length::ZERO).into());
        };
        let mut names = Vec::new();
        for extensions in fields.filter(|field| context(field) == Some(3)) {
            for extension in children(first(extensions.value())?.value())? {
                names.extend(alternative_names(extension)?);
            }
        }
        Ok(Self {
            subject: common_name(subject)?,
            issuer: common_name(issuer)?,
            names,
            not_before: seconds(*not_before)?,
            not_after: seconds(*not_after)?,
            fingerprint: hex(&Sha256::digest(bytes)),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn first(value: &[u8]) -> der::Result<AnyRef<'_>> {
    AnyRef::decode(&mut SliceReader::new(value)?)
}

fn children(value: &[u8]) -> der::Result<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(value)?;
    let mut children = Vec::new();
    while !reader.is_finished() {
        children.push(AnyRef::decode(&mut reader)?);
    }
    Ok(children)
}

fn context(field: &AnyRef<'_>) -> Option<u32> {
    match der::Tagged::tag(field) {
        Tag::ContextSpecific { number, .. } => Some(TagNumber::value(number)),
        _ => None,
    }
}

/// A name is a sequence of sets of pairs of kind and text.
fn common_name(name: AnyRef<'_>) -> der::Result<Option<String>> {
    let mut found = Vec::new();
    for set in children(name.value())? {
        for pair in children(set.value())? {
            if let [kind, text] = children(pair.value())?.as_slice()
                && kind.value() == COMMON_NAME
            {
                found.push(std::str::from_utf8(text.value()).ok().map(str::to_owned));
            }
        }
    }
    Ok(match found.as_slice() {
        [only] => only.clone(),
        _ => None,
    })
}

fn seconds(time: AnyRef<'_>) -> der::Result<u64> {
    let since = match der::Tagged::tag(&time) {
        Tag::UtcTime => time.decode_as::<UtcTime>()?.to_unix_duration(),
        _ => time.decode_as::<GeneralizedTime>()?.to_unix_duration(),
    };
    Ok(since.as_secs())
}

fn alternative_names(extension: AnyRef<'_>) -> der::Result<Vec<String>> {
    let parts = children(extension.value())?;
    let (Some(kind), Some(text)) = (parts.first(), parts.last()) else {
        return Ok(Vec::new());
    };
    if kind.value() != SUBJECT_ALTERNATIVE_NAME {
        return Ok(Vec::new());
    }
    let names = children(first(text.value())?.value())?;
    Ok(names.iter().filter_map(alternative_name).collect())
}

fn alternative_name(name: &AnyRef<'_>) -> Option<String> {
    match (context(name)?, name.value()) {
        (2, text) => std::str::from_utf8(text).ok().map(str::to_owned),
        (7, ip) => {
            let v4 = <[u8; 4]>::try_from(ip).map(IpAddr::from);
            let ip = v4.or_else(|_| <[u8; 16]>::try_from(ip).map(IpAddr::from));
            ip.ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    #[test]
    fn names_and_times_are_read() {
        let names = [
            "a.example".to_owned(),
            "192.0.2.1".to_owned(),
            "::1".to_owned(),
        ];
        let mut parameters = CertificateParams::new(names.clone()).unwrap();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "robot");
        parameters.not_before = rcgen::date_time_ymd(2026, 1, 2);
        parameters.not_after = rcgen::date_time_ymd(2061, 1, 1);
        let made = parameters
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap();
        let facts = CertificateFacts::of_der(made.der()).unwrap();
        assert_eq!(facts.subject.as_deref(), Some("robot"));
        assert_eq!(facts.issuer.as_deref(), Some("robot"));
        assert_eq!(facts.names, names);
        assert_eq!(
            (facts.not_before, facts.not_after),
            (1_767_312_000, 2_871_763_200)
        );
        assert_eq!(facts.fingerprint.len(), 64);
    }

    #[test]
    fn a_certificate_without_a_common_name_names_nobody() {
        let mut parameters = CertificateParams::new(vec![]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        let made = parameters
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap();
        assert_eq!(CertificateFacts::of_der(made.der()).unwrap().subject, None);
    }

    #[test]
    fn no_cut_certificate_makes_it_stumble() {
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let whole = made.cert.der();
        for length in 0..whole.len() {
            assert!(CertificateFacts::of_der(&whole[..length]).is_err());
        }
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0xff;
            // Read or refused, and never a panic.
            let _ = CertificateFacts::of_der(&damaged);
        }
    }
}
