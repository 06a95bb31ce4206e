//! The chunk list, before the first chunk.

use std::collections::BTreeSet;

use evenkeel_model::{Digest, NodeName};
use evenkeel_package_store::ChunkList;

use super::{PullError, PullOrder, Puller};
use crate::package::{FetchError, Wanted};

/// Which bytes are pulled.
pub(super) struct Archive {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    pub(super) list: ChunkList,
}

/// Finds the list of the catalogue's archive; the node that took the package in is asked first, since it
/// has had all of it from the beginning. Where only another archive of the same package is left, that one.
pub(super) async fn find(puller: &Puller, order: &PullOrder) -> Result<Archive, PullError> {
    let candidates = candidates(puller, order);
    let mut why = Vec::new();
    let mut without = BTreeSet::new();
    for round in 0..puller.bounds.rounds {
        if round > 0 {
            tokio::time::sleep(puller.bounds.pause).await;
        }
        why.clear();
        without.clear();
        for node in &candidates {
            match ask(puller, order, node, Some(order.archive)).await {
                Ok(Some(list))
                    if list.digest() == order.archive && list.fits(order.archive_bytes) =>
                {
                    return Ok(Archive {
                        digest: order.archive,
                        bytes: order.archive_bytes,
                        list,
                    });
                }
                Ok(Some(_)) => why.push(format!("{node} has another chunk list")),
                Ok(None) => {
                    without.insert(node.clone());
                }
                Err(error) => why.push(error),
            }
        }
    }
    for node in &without {
        if let Some(archive) = other_archive(puller, order, node).await {
            return Ok(archive);
        }
    }
    let package = order.package;
    if !candidates.is_empty() && without.len() == candidates.len() {
        return Err(PullError::NobodyHolds { package });
    }
    why.extend(
        without
            .iter()
            .map(|node| format!("{node} does not hold it")),
    );
    if why.is_empty() {
        why.push("no other node is known".to_owned());
    }
    Err(PullError::NoSource { package, why })
}

fn candidates(puller: &Puller, order: &PullOrder) -> Vec<NodeName> {
    let others = order.members.iter();
    let others = others.filter(|node| **node != order.origin && **node != puller.node);
    let origin = Some(&order.origin).filter(|origin| **origin != puller.node);
    origin.into_iter().chain(others).cloned().collect()
}

async fn ask(
    puller: &Puller,
    order: &PullOrder,
    node: &NodeName,
    archive: Option<Digest>,
) -> Result<Option<ChunkList>, String> {
    let asked = puller.peers.chunks(node, order.package, archive);
    match tokio::time::timeout(puller.bounds.ask, asked).await {
        Ok(Ok(bytes)) => match ChunkList::parse(&bytes) {
            Ok(list) => Ok(Some(list)),
            Err(error) => Err(format!("{node}: {error}")),
        },
        Ok(Err(FetchError::NotHeld { .. })) => Ok(None),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{node} does not answer")),
    }
}

/// The same package, packed otherwise: proven by its signature alone, which is proof enough.
async fn other_archive(puller: &Puller, order: &PullOrder, node: &NodeName) -> Option<Archive> {
    let list = ask(puller, order, node, None).await.ok()??;
    let digest = list.digest();
    let wanted = Wanted {
        package: order.package,
        archive: Some(digest),
        offset: 0,
    };
    let fetched = puller.peers.fetch(node, wanted);
    let body = tokio::time::timeout(puller.bounds.ask, fetched).await;
    let bytes = body.ok()?.ok()?.total;
    tracing::info!(%node, package = %order.package, archive = %digest, "pulling another archive of it");
    list.fits(bytes).then_some(Archive {
        digest,
        bytes,
        list,
    })
}
