//! The CA that signs the nodes' certificates.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};

use crate::error::IdentityError;
use crate::file::replace;

/// From when until when a certificate is believed, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From.
    pub from: u64,
    /// Until.
    pub until: u64,
}

impl Validity {
    fn give(self, params: &mut CertificateParams) {
        let at = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        (params.not_before, params.not_after) = (at(self.from), at(self.until));
    }
}

/// Signs certificates.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// The CA whose files these are; made when they do not exist. Without a validity its certificate does not run out.
    pub fn open_or_make(
        name: &str,
        certificate: &Path,
        key: &Path,
        validity: Option<Validity>,
    ) -> Result<Self, IdentityError> {
        // The certificate is written last: with it, the key is there.
        if certificate.exists() {
            return Self::open(name, key);
        }
        let mut params = ca_params(name);
        if let Some(validity) = validity {
            validity.give(&mut params);
        }
        let pair = KeyPair::generate()?;
        let signed = params.self_signed(&pair)?;
        replace(key, 0o600, pair.serialize_pem().as_bytes())
            .map_err(IdentityError::file("write", key))?;
        replace(certificate, 0o644, signed.pem().as_bytes())
            .map_err(IdentityError::file("write", certificate))?;
        Ok(Self {
            issuer: Issuer::new(params, pair),
        })
    }

    /// The CA of that name whose key this file holds. Name and key are all that its certificate says of it to those that
    /// it signs.
    pub fn open(name: &str, key: &Path) -> Result<Self, IdentityError> {
        let text = fs::read_to_string(key).map_err(IdentityError::file("read", key))?;
        let pair = KeyPair::from_pem(&text).map_err(|source| IdentityError::Key {
            path: key.to_owned(),
            source,
        })?;
        Ok(Self {
            issuer: Issuer::new(ca_params(name), pair),
        })
    }

    /// A certificate, PEM, for these names and addresses and this key, for servers and clients alike. Without a validity
    /// it does not run out.
    pub fn sign(
        &self,
        common_name: &str,
        names: Vec<String>,
        key: &impl PublicKeyData,
        validity: Option<Validity>,
    ) -> Result<String, IdentityError> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        if let Some(validity) = validity {
            validity.give(&mut params);
        }
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }

    /// Makes a key, and a certificate for it, in these files.
    pub fn issue(
        &self,
        common_name: &str,
        names: Vec<String>,
        (certificate, key): &(impl AsRef<Path>, impl AsRef<Path>),
    ) -> Result<(), IdentityError> {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        let pair = KeyPair::generate()?;
        let signed = self.sign(common_name, names, &pair, None)?;
        replace(key, 0o600, pair.serialize_pem().as_bytes())
            .map_err(IdentityError::file("write", key))?;
        replace(certificate, 0o644, signed.as_bytes())
            .map_err(IdentityError::file("write", certificate))
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
