//! The front of a package: manifest and signature, and what a node demands of them.

use std::io::BufRead;

use evenkeel_model::{
    Digest, MANIFEST_PATH, MAX_MANIFEST_BYTES, Manifest, PlatformName, SIGNATURE_PATH,
};
use sha2::{Digest as _, Sha256};

use crate::keys::KeyId;
use crate::signature::{Signature, SignatureError, TrustedKeys};
use crate::tar::{TarEntry, TarKind, TarReader};
use crate::verify_error::VerifyError;

/// What a node demands of a package.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whose packages are believed.
    pub trusted: TrustedKeys,
    /// What the package must be made for; `None` where no node is concerned, as in a command line.
    pub target: Option<Target>,
    /// Most bytes that a package may have unpacked.
    pub max_unpacked_bytes: u64,
    /// Whether a package without a signature is taken; for a lab. A signature that is there must be right
    /// all the same.
    pub allow_unsigned: bool,
}

impl Policy {
    /// Trusts `trusted`, for any hardware, of any size.
    pub fn trusting(trusted: TrustedKeys) -> Self {
        Self {
            trusted,
            target: None,
            max_unpacked_bytes: u64::MAX,
            allow_unsigned: false,
        }
    }
}

/// What a node is and uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The node's platform.
    pub platform: PlatformName,
    /// The node's variant; `None` is the ordinary one.
    pub variant: Option<String>,
    /// Features in use on the node, each of which a package must list.
    pub features: Vec<String>,
}

/// A manifest whose exact bytes were signed, or which came unsigned where that is allowed.
#[derive(Clone, Debug)]
pub struct SignedManifest {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// The signature file as it came; empty for an unsigned package.
    pub signature_text: Vec<u8>,
    /// The signature in it; `None` for an unsigned package.
    pub signature: Option<Signature>,
    /// SHA-256 of `bytes`: the package's identity.
    pub digest: Digest,
    /// What the bytes say.
    pub manifest: Manifest,
}

impl SignedManifest {
    /// The key that signed it; `None` for an unsigned package.
    pub fn signed_by(&self) -> Option<KeyId> {
        self.signature.as_ref().map(|signature| signature.key_id)
    }
}

/// Manifest and signature as they came, believed by no one yet.
pub(crate) struct Unproven {
    bytes: Vec<u8>,
    signature_text: Vec<u8>,
    /// What came in the signature's place; its content is still to be read.
    second: Second,
}

/// The entry after the manifest.
pub(crate) enum Second {
    Signature,
    Other(TarEntry),
    None,
}

impl Unproven {
    fn signature(&self) -> Result<Option<Signature>, SignatureError> {
        match &self.second {
            Second::Signature => Signature::parse(&self.signature_text).map(Some),
            Second::Other(_) | Second::None => Ok(None),
        }
    }

    fn unsigned(&self) -> VerifyError {
        let found = match &self.second {
            Second::Other(entry) => entry.path.clone(),
            Second::Signature | Second::None => String::new(),
        };
        VerifyError::Unsigned { found }
    }

    /// With what came in the signature's place, if it was something else.
    pub(crate) fn parse(self) -> Result<(SignedManifest, Second), VerifyError> {
        let signature = self.signature()?;
        let manifest = Manifest::parse(&self.bytes)?;
        let Self {
            bytes,
            signature_text,
            second,
        } = self;
        let digest = Digest(Sha256::digest(&bytes).into());
        let signed = SignedManifest {
            bytes,
            signature_text,
            signature,
            digest,
            manifest,
        };
        Ok((signed, second))
    }
}

pub(crate) fn read_head<R: BufRead>(tar: &mut TarReader<R>) -> Result<Unproven, VerifyError> {
    let not_a_package = |found| Err(VerifyError::NotAPackage { found });
    let size = match tar.next()? {
        None => return not_a_package(String::new()),
        Some(entry) if entry.path == MANIFEST_PATH && entry.kind == TarKind::File => entry.size,
        Some(other) => return not_a_package(other.path),
    };
    if size > MAX_MANIFEST_BYTES {
        return Err(VerifyError::ManifestTooLarge { size });
    }
    let bytes = tar.content()?;
    let second = match tar.next()? {
        None => Second::None,
        Some(entry) if entry.path == SIGNATURE_PATH && entry.kind == TarKind::File => {
            if entry.size > Signature::MAX_BYTES {
                return Err(SignatureError::Malformed.into());
            }
            Second::Signature
        }
        Some(other) => Second::Other(other),
    };
    let signature_text = match &second {
        Second::Signature => tar.content()?,
        Second::Other(_) | Second::None => Vec::new(),
    };
    Ok(Unproven {
        bytes,
        signature_text,
        second,
    })
}

/// The signature first: nothing of an untrusted manifest is even parsed.
pub(crate) fn prove(
    unproven: Unproven,
    policy: &Policy,
) -> Result<(SignedManifest, Second), VerifyError> {
    match unproven.signature()? {
        Some(signature) => policy.trusted.verify(&unproven.bytes, &signature)?,
        None if policy.allow_unsigned => {}
        None => return Err(unproven.unsigned()),
    }
    let (signed, second) = unproven.parse()?;
    let manifest = &signed.manifest;
    if let Some(target) = &policy.target {
        check_target(manifest, target)?;
    }
    if manifest.unpacked_bytes > policy.max_unpacked_bytes {
        let (unpacked, limit) = (manifest.unpacked_bytes, policy.max_unpacked_bytes);
        return Err(VerifyError::TooLarge { unpacked, limit });
    }
    Ok((signed, second))
}

fn check_target(manifest: &Manifest, target: &Target) -> Result<(), VerifyError> {
    if manifest.platform != target.platform {
        let (package, node) = (manifest.platform.clone(), target.platform.clone());
        return Err(VerifyError::WrongPlatform { package, node });
    }
    if manifest.variant != target.variant {
        let package = manifest.variant.clone().unwrap_or_default();
        let node = target.variant.clone().unwrap_or_default();
        return Err(VerifyError::WrongVariant { package, node });
    }
    let lacks = |feature: &&String| !manifest.features.contains(feature);
    match target.features.iter().find(lacks) {
        Some(feature) => Err(VerifyError::MissingFeature {
            feature: feature.clone(),
        }),
        None => Ok(()),
    }
}
