//! The lab's CA and the certificates it signs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::durable::replace;

/// Signs certificates of one lab: those of its nodes, or those of its users.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// The CA whose files these are; made when they do not exist.
    pub(crate) fn open(name: &str, certificate: &Path, key: &Path) -> Result<Self> {
        let params = ca_params(name);
        // The certificate is written last: with it, the key is there.
        let pair = if certificate.exists() {
            let text = fs::read_to_string(key).with_context(|| format!("{}", key.display()))?;
            KeyPair::from_pem(&text).with_context(|| format!("{}", key.display()))?
        } else {
            let pair = KeyPair::generate()?;
            let signed = params.self_signed(&pair)?;
            replace(key, 0o600, pair.serialize_pem().as_bytes())?;
            replace(certificate, 0o644, signed.pem().as_bytes())?;
            pair
        };
        Ok(Self {
            issuer: Issuer::new(params, pair),
        })
    }

    /// Writes a certificate for these names and addresses, for servers and clients alike.
    pub(crate) fn issue(
        &self,
        common_name: &str,
        names: Vec<String>,
        (certificate, key): &(impl AsRef<Path>, impl AsRef<Path>),
    ) -> Result<()> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let pair = KeyPair::generate()?;
        let signed = params.signed_by(&pair, &self.issuer)?;
        replace(key.as_ref(), 0o600, pair.serialize_pem().as_bytes())?;
        replace(certificate.as_ref(), 0o644, signed.pem().as_bytes())?;
        Ok(())
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
