//! Values by their digest: in pieces, and then how many there are.

use evenkeel_model::Digest;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::batch::Damaged;
use super::open::Inner;
use super::read::within;
use super::stage::PART;
use super::wire::{self, AnyAnswer};
use crate::blob::digest_of;
use crate::record::Unavailable;

/// What is written last: with it the value is there.
#[derive(Debug, Serialize, Deserialize)]
struct Pieces {
    pieces: usize,
}

impl Inner {
    /// Storing it again, or twice at once, writes the same.
    pub(super) async fn put_value(
        &self,
        digest: Digest,
        bytes: &[u8],
        until: Instant,
    ) -> Result<(), Unavailable> {
        let name = digest.to_string();
        if self.pieces(&name, until).await?.is_some() {
            return Ok(());
        }
        for (number, piece) in bytes.chunks(PART).enumerate() {
            let key = self.keys.piece(&name, number);
            self.put(&key, piece, until).await?;
        }
        let pieces = Pieces {
            pieces: bytes.len().div_ceil(PART),
        };
        let pieces = serde_json::to_vec(&pieces).expect("it is a number");
        self.put(&self.keys.value(&name), &pieces, until).await
    }

    pub(super) async fn get_value(
        &self,
        digest: Digest,
        until: Instant,
    ) -> Result<Option<Vec<u8>>, Unavailable> {
        let name = digest.to_string();
        let Some(Pieces { pieces }) = self.pieces(&name, until).await? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        for number in 0..pieces {
            let piece = self.get(&self.keys.piece(&name, number), until).await?;
            let missing = || Damaged(format!("piece {number} of the value {name} is missing"));
            bytes.extend(piece.ok_or_else(missing)?.value.0);
        }
        match digest_of(&bytes) == digest {
            true => Ok(Some(bytes)),
            false => Err(Damaged(format!("the value stored as {name} is another")).into()),
        }
    }

    async fn pieces(&self, name: &str, until: Instant) -> Result<Option<Pieces>, Unavailable> {
        let Some(kv) = self.get(&self.keys.value(name), until).await? else {
            return Ok(None);
        };
        let pieces = serde_json::from_slice(&kv.value.0);
        Ok(Some(pieces.map_err(|error| {
            Damaged(format!("the value {name}: {error}"))
        })?))
    }

    async fn put(&self, key: &str, value: &[u8], until: Instant) -> Result<(), Unavailable> {
        let (put, until) = (wire::put(key, value), within(until));
        let _: AnyAnswer = self.client.call_until("kv/put", &put, until).await?;
        Ok(())
    }
}
