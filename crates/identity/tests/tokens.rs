//! Tokens are whole or refused, and prove what they should on one connection alone.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use evenkeel_identity::{NodeKey, ProofError, PublicKey, Sealed, Token, TokenError, pin};
use evenkeel_model::Digest;
use proptest::prelude::*;

fn token() -> Token {
    Token::make("192.0.2.7:4430".to_owned(), pin(b"ca", b"member")).unwrap()
}

fn key(dir: &std::path::Path, name: &str) -> NodeKey {
    NodeKey::open_or_make(&dir.join(name)).unwrap()
}

#[test]
fn a_token_survives_being_written_down_and_says_nothing_in_a_log() {
    let token = token();
    let text = token.to_string();
    assert_eq!(format!(" {text}\n").parse::<Token>().unwrap(), token);
    assert!(!format!("{token:?}").contains(&text[40..60]));
    assert_eq!("hunter2".parse::<Token>(), Err(TokenError::Foreign));
    assert_ne!(pin(b"ca", b"member"), pin(b"ca", b"other"));
    assert_ne!(pin(b"ca", b"member"), pin(b"cb", b"member"));
}

proptest! {
    #[test]
    fn a_token_that_was_cut_or_mistyped_is_refused(at in 5usize..120, cut in any::<bool>()) {
        let text = token().to_string();
        let at = at.min(text.len() - 1);
        let wrong = match cut {
            true => text[..at].to_owned(),
            false => {
                let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
                format!("{}{other}{}", &text[..at], &text[at + 1..])
            }
        };
        prop_assert_eq!(wrong.parse::<Token>(), Err(TokenError::Damaged));
    }
}

#[test]
fn a_proof_counts_on_its_own_connection_for_its_own_statement() {
    let dir = tempfile::tempdir().unwrap();
    let (token, key) = (token(), key(dir.path(), "key"));
    let here = [1; 32];
    let sealed = Sealed::seal("I am n2".to_owned(), &here, &token, &key).unwrap();
    assert_eq!(sealed.token(&here), Ok(token.digest()));
    assert_eq!(sealed.possesses(&here, &key.public()), Ok(()));
    // Whoever relays it has another connection to the other side.
    let there = [2; 32];
    assert_eq!(sealed.token(&there), Err(ProofError::Token));
    assert_eq!(
        sealed.possesses(&there, &key.public()),
        Err(ProofError::Possession)
    );
    let mut changed = sealed.clone();
    changed.statement = "I am n3".to_owned();
    assert_eq!(changed.token(&here), Err(ProofError::Token));
    assert!(!serde_text(&sealed).contains(&token.to_string()[50..80]));
}

fn serde_text(sealed: &Sealed) -> String {
    format!("{sealed:?}")
}

#[test]
fn a_key_stays_and_its_digest_is_that_of_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let first = key(dir.path(), "key").public();
    assert_eq!(key(dir.path(), "key").public(), first);
    assert_ne!(key(dir.path(), "other").public(), first);
    assert_eq!(PublicKey::from_hex(&first.to_hex()).unwrap(), first);
    assert!(PublicKey::from_hex("04ff").is_err());
    assert!(PublicKey::from_hex(&"02".repeat(65)).is_err());
    assert_ne!(first.digest(), Digest([0; 32]));
}
