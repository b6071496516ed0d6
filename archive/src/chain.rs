//! [`Chain`]: the numbered manifests, and who may add the next one.
//!
//! ```text
//! epochs/…1   epochs/…2          claimed by create-if-absent; each archiver has its own
//! manifests/ 1 ─► 2 ─► 3 ─► 4    each made from the one before, by create-if-absent; the highest number counts
//!            └─ epoch 1 ┘   └ epoch 2
//! ```
//!
//! - A manifest has the epoch of the one before, or a later one. An archiver adds one of its own epoch before it adds
//!   objects, so an older archiver finds the number taken, with a later epoch in it, and stops.
//! - Only an archiver deletes manifests, and never the last [`KEPT`] of its own. So a number that a delayed writer
//!   finds free may be below the highest. An archiver then finds that a later epoch was claimed; everybody else looks
//!   for the change in the highest manifest.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::manifest::{EPOCHS, MANIFESTS, Manifest, Object, encode, sha256};
use crate::store::Store;

/// How many of its manifests an archiver keeps.
const KEPT: u64 = 16;

#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) store: Store,
}

#[derive(Serialize)]
struct Claim {
    format: u32,
    epoch: u64,
    nonce: String,
    claimed_ms: u64,
    process: u32,
}

impl Chain {
    /// The manifest with the highest number; `None` if there is none.
    pub(crate) async fn latest(&self) -> Result<Option<Manifest>> {
        loop {
            let names = self.store.list(MANIFESTS).await?;
            let numbers = names.iter().filter_map(|name| Manifest::number_in(name));
            let Some(number) = numbers.max() else { return Ok(None) };
            let name = Manifest::name(number);
            // It may have been deleted since, and then there is a later one.
            if let Some(bytes) = self.store.get(&name).await? {
                return Manifest::decode(&name, &bytes).map(Some);
            }
        }
    }

    /// As [`latest`](Self::latest); there must be one.
    pub(crate) async fn require(&self) -> Result<Manifest> {
        let latest = self.latest().await?;
        latest.ok_or_else(|| Error::NoArchive { store: self.store.to_string() })
    }

    /// Makes the archive this writer's: claims an epoch, and publishes a manifest of it.
    pub(crate) async fn claim(&self) -> Result<Manifest> {
        let epoch = self.claim_epoch().await?;
        loop {
            let latest = self.latest().await?.unwrap_or_else(Manifest::empty);
            if latest.epoch > epoch {
                return Err(Error::Fenced { epoch, by: latest.epoch });
            }
            let next = following(&latest, epoch);
            if self.store.create(&Manifest::name(next.number), &encode(&next)).await? {
                return Ok(next);
            }
        }
    }

    async fn claim_epoch(&self) -> Result<u64> {
        let names = self.store.list(EPOCHS).await?;
        let claimed = names.iter().filter_map(|name| name.rsplit('/').next()?.parse::<u64>().ok()).max();
        let mut epoch = claimed.unwrap_or(0) + 1;
        loop {
            let claim =
                Claim { format: 1, epoch, nonce: nonce(), claimed_ms: now_ms(), process: std::process::id() };
            if self.store.create(&epoch_name(epoch), &encode(&claim)).await? {
                return Ok(epoch);
            }
            epoch += 1;
        }
    }

    /// Publishes `base` with further objects, which are in the store. On return it can't be taken back.
    ///
    /// Returns the manifest published; `uploaded` counts the bytes.
    pub(crate) async fn publish(
        &self,
        mut base: Manifest,
        new: &[Object],
        uploaded: &mut u64,
    ) -> Result<Manifest> {
        let (epoch, log_id) = (base.epoch, base.log_id.clone());
        loop {
            let mut next = Manifest { log_id: log_id.clone(), ..following(&base, epoch) };
            for object in new {
                next.objects.push(object.clone());
                while let Some((name, bytes)) = next.fold(epoch) {
                    *uploaded += bytes.len() as u64;
                    self.store.put(&name, &bytes.into()).await?;
                }
            }
            let bytes = encode(&next);
            if self.store.create(&Manifest::name(next.number), &bytes).await? {
                *uploaded += bytes.len() as u64;
                // The number may have been free only because later archivers have deleted it.
                self.check_claims(epoch).await?;
                return Ok(next);
            }
            // A prune or a pin came between, or another archiver.
            base = self.require().await?;
            if base.epoch != epoch {
                return Err(Error::Fenced { epoch, by: base.epoch });
            }
        }
    }

    /// Checks that no archiver has claimed the epoch after this one.
    pub(crate) async fn check_claims(&self, epoch: u64) -> Result<()> {
        let by = epoch + 1;
        if self.store.exists(&epoch_name(by)).await? { Err(Error::Fenced { epoch, by }) } else { Ok(()) }
    }

    /// Deletes manifests that nothing needs any more, if there may be many: a listing costs as much as a put.
    /// `published` was published by the archiver that calls this, `deleted_at` is the number of the last call that
    /// deleted.
    pub(crate) async fn delete_old(&self, published: &Manifest, deleted_at: &mut u64) -> Result<()> {
        if published.number < *deleted_at + KEPT {
            return Ok(());
        }
        for name in self.store.list(MANIFESTS).await? {
            if Manifest::number_in(&name).is_some_and(|number| number + KEPT <= published.number) {
                self.store.delete(&name).await?;
            }
        }
        *deleted_at = published.number;
        Ok(())
    }

    /// Changes the manifest, without being the archiver. `change` returns `None` if the manifest is as it should be.
    pub(crate) async fn change(
        &self,
        mut change: impl AsyncFnMut(&Manifest) -> Result<Option<Manifest>>,
    ) -> Result<Manifest> {
        loop {
            let latest = self.require().await?;
            let Some(changed) = change(&latest).await? else { return Ok(latest) };
            let mut next = following(&latest, latest.epoch);
            (next.pins, next.objects) = (changed.pins, changed.objects);
            // Whether it was created or not, the highest manifest says whether the change is in effect.
            self.store.create(&Manifest::name(next.number), &encode(&next)).await?;
        }
    }
}

/// The manifest after another one, with the same objects.
fn following(base: &Manifest, epoch: u64) -> Manifest {
    let mut next = base.clone();
    next.number += 1;
    next.epoch = epoch;
    next.nonce = nonce();
    next.written_ms = now_ms();
    next
}

fn epoch_name(epoch: u64) -> String {
    format!("{EPOCHS}/{epoch:06}")
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Digits that no other attempt has.
fn nonce() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Each `RandomState` has other keys.
    let seed = [RandomState::new().hash_one(now), RandomState::new().hash_one(std::process::id())];
    sha256(format!("{seed:?}{now:?}").as_bytes())[..16].to_string()
}
