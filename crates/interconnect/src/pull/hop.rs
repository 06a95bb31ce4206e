//! Bytes from one source.

use bytes::Bytes;
use evenkeel_model::NodeName;
use evenkeel_package_store::{CHUNK_BYTES, chunk_digest};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use super::PullError;
use super::judge::Meter;
use super::run::Pull;
use crate::chain::{Place, Source};
use crate::package::{FetchError, PackageBody, Wanted};

/// How it went with a source.
pub(super) enum Took {
    /// Everything is here.
    All,
    /// Another source may do better.
    Left(String),
    /// It sent what is not the catalogue's.
    Bad(String),
}

impl Pull<'_> {
    /// Takes from a source until everything is here or the source has to be left.
    pub(super) async fn take(&mut self, source: &Source) -> Result<Took, PullError> {
        let mut body = match self.open(source).await {
            Ok(body) => body,
            Err(why) => return Ok(Took::Left(why)),
        };
        if let Some(current) = &mut *self.puller.current() {
            current.from = Some(source.node.clone());
        }
        self.chunk.clear();
        let mut meter = Meter::new();
        let took = self.drain(&source.node, &mut body, &mut meter).await;
        if let Some(current) = &mut *self.puller.current() {
            current.from = None;
        }
        took
    }

    async fn drain(
        &mut self,
        node: &NodeName,
        body: &mut PackageBody,
        meter: &mut Meter,
    ) -> Result<Took, PullError> {
        let look = self.puller.bounds.look;
        while self.next < self.archive.bytes {
            let before = Instant::now();
            let left = meter.until_judged(look);
            let came = timeout(left, body.bytes.next()).await;
            meter.waited_for(before.elapsed());
            match came {
                Ok(Some(Ok(bytes))) => {
                    meter.got(bytes.len());
                    if let Some(bad) = self.feed(node, bytes).await? {
                        return Ok(Took::Bad(bad));
                    }
                }
                Ok(Some(Err(error))) => return Ok(Took::Left(format!("{node}: {error}"))),
                Ok(None) => return Ok(Took::Left(format!("{node} broke off"))),
                Err(_) => {}
            }
            if meter.until_judged(look).is_zero()
                && let Some(why) = self.judge(node, meter).await
            {
                return Ok(Took::Left(why));
            }
        }
        Ok(Took::All)
    }

    /// Gathers chunks and hands over each that is the catalogue's; says what was wrong with one that is not.
    async fn feed(
        &mut self,
        node: &NodeName,
        mut bytes: Bytes,
    ) -> Result<Option<String>, PullError> {
        while !bytes.is_empty() {
            let length = CHUNK_BYTES.min(self.archive.bytes - self.next);
            let length = usize::try_from(length).expect("a chunk fits in memory");
            if length == 0 {
                return Ok(Some(format!("{node} sent more than the archive has")));
            }
            if self.chunk.capacity() == 0 {
                self.chunk.reserve(length);
            }
            let part = bytes.split_to(bytes.len().min(length - self.chunk.len()));
            self.chunk.extend_from_slice(&part);
            if self.chunk.len() < length {
                continue;
            }
            let chunk = self.chunk.split().freeze();
            let digest = chunk_digest(&chunk);
            let index = usize::try_from(self.next / CHUNK_BYTES).expect("a list fits in memory");
            if self.archive.list.get(index) != Some(digest) {
                return Ok(Some(format!(
                    "{node}: chunk {index} is not the catalogue's"
                )));
            }
            self.staging.write_chunk(chunk, digest).await?;
            self.next += length as u64;
        }
        Ok(None)
    }

    async fn open(&self, source: &Source) -> Result<PackageBody, String> {
        let node = &source.node;
        if source.place == Place::Behind {
            let status = self.puller.ask(node).await?;
            if !status.held.contains(&self.order.package) {
                return Err(format!("{node} does not hold it"));
            }
        }
        let may_wait = source.place == Place::Before;
        loop {
            match self.fetch(node).await {
                Err(FetchError::NotHeld { .. }) if may_wait && Instant::now() < self.may_begin => {
                    tokio::time::sleep(self.puller.bounds.poll).await;
                }
                Ok(body) if body.total == self.archive.bytes => return Ok(body),
                Ok(_) => return Err(format!("{node} has an archive of another size")),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn fetch(&self, node: &NodeName) -> Result<PackageBody, FetchError> {
        let wanted = Wanted {
            package: self.order.package,
            archive: Some(self.archive.digest),
            offset: self.next,
        };
        let bound = self.puller.bounds.look;
        let fetched = timeout(bound, self.puller.peers.fetch(node, wanted)).await;
        fetched.unwrap_or_else(|_| {
            Err(FetchError::Unreachable {
                node: node.clone(),
                why: format!("no answer within {bound:?}"),
            })
        })
    }
}
