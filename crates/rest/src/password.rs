//! Passwords and their hashes: argon2id, in memory that goes back to the machine.

use argon2::password_hash::{generate_salt, phc};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// An allocation of this size is the kernel's own and goes back to it whole. Of smaller ones glibc keeps what was
/// freed for the next: the bound follows the largest that was freed, up to 32 MiB. Argon2 takes 19 MiB, and each
/// thread that verified a password would keep as much for good.
const GOES_BACK_BYTES: usize = 33 << 20;

/// A password that could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct HashError(String);

/// The PHC string (argon2id) to put in the record for a user.
pub fn hash_password(password: &str) -> Result<String, HashError> {
    let hash = hash(password.as_bytes(), &generate_salt());
    hash.map(|hash| hash.to_string()).map_err(HashError)
}

fn hash(password: &[u8], salt: &[u8]) -> Result<phc::PasswordHash, String> {
    let (algorithm, version, params) = (Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
    let words = phc::ParamsString::try_from(&params).map_err(|error| error.to_string())?;
    let output = output(
        (algorithm, version, params),
        password,
        (salt, Params::DEFAULT_OUTPUT_LEN),
    );
    Ok(phc::PasswordHash {
        algorithm: algorithm.ident(),
        version: Some(version.into()),
        params: words,
        salt: Some(phc::Salt::new(salt).map_err(|error| error.to_string())?),
        hash: Some(output?),
    })
}

/// Whether a password is the one of this PHC string. What is no such string is no password's.
pub fn is_password_of(password: &str, hash: &str) -> bool {
    let is_its = || {
        let hash = phc::PasswordHash::new(hash).ok()?;
        let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
        let version = hash.version.map(Version::try_from).transpose().ok()?;
        let params = Params::try_from(&hash).ok()?;
        let (salt, expected) = (hash.salt?, hash.hash?);
        let how = (algorithm, version.unwrap_or_default(), params);
        let output = output(how, password.as_bytes(), (&salt, expected.len())).ok()?;
        // Of this type in constant time.
        Some(output == expected)
    };
    is_its().unwrap_or(false)
}

fn output(
    (algorithm, version, params): (Algorithm, Version, Params),
    password: &[u8],
    (salt, length): (&[u8], usize),
) -> Result<phc::Output, String> {
    let mut memory = memory(&params);
    let mut bytes = [0; phc::Output::MAX_LENGTH];
    let bytes = bytes.get_mut(..length).ok_or("its length is odd")?;
    Argon2::new(algorithm, version, params)
        .hash_password_into_with_memory(password, salt, bytes, &mut memory)
        .map_err(|error| error.to_string())?;
    phc::Output::new(bytes).map_err(|error| error.to_string())
}

/// What is not used of it is never touched, so it takes no more than what it is for.
fn memory(params: &Params) -> Vec<Block> {
    let blocks = params.block_count();
    let mut memory = Vec::with_capacity(blocks.max(GOES_BACK_BYTES / Block::SIZE));
    memory.resize(blocks, Block::new());
    memory
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher, PasswordVerifier};

    use super::*;

    #[test]
    fn a_password_is_that_of_its_hash_alone() {
        let hash = hash_password("correct horse").unwrap();
        assert!(is_password_of("correct horse", &hash));
        assert!(!is_password_of("correct horsf", &hash));
        assert!(!is_password_of("", &hash));
        assert_ne!(hash, hash_password("correct horse").unwrap(), "salted");
        for odd in [
            "",
            "correct horse",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ",
            "$md5$x$y",
        ] {
            assert!(!is_password_of("correct horse", odd), "{odd}");
        }
    }

    #[test]
    fn hashes_are_those_of_any_other_argon2() {
        let hash = hash_password("correct horse").unwrap();
        let known = phc::PasswordHash::new(&hash).unwrap();
        let theirs = Argon2::default();
        theirs.verify_password(b"correct horse", &known).unwrap();
        // Other costs and another length: what the record has from elsewhere.
        let params = Params::new(64, 3, 2, Some(24)).unwrap();
        for version in [Version::V0x10, Version::V0x13] {
            for algorithm in [Algorithm::Argon2i, Algorithm::Argon2d, Algorithm::Argon2id] {
                let theirs = Argon2::new(algorithm, version, params.clone());
                let hash: phc::PasswordHash = theirs.hash_password(b"correct horse").unwrap();
                assert!(is_password_of("correct horse", &hash.to_string()), "{hash}");
                assert!(!is_password_of("another", &hash.to_string()), "{hash}");
            }
        }
    }
}
