//! Blobs that were read, kept in memory up to a number of bytes; the least recently used blob is
//! dropped first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::reader::StoredFrame;

/// The chunk and offset of a blob.
type Place = (u32, u64);

#[derive(Debug)]
pub(super) struct Cache {
    bytes_max: u64,
    bytes: u64,
    blobs: HashMap<Place, Kept>,
    /// The blobs by the time of their last use.
    used: BTreeMap<u64, Place>,
    now: u64,
}

#[derive(Debug)]
struct Kept {
    frame: Arc<StoredFrame>,
    used: u64,
}

impl Cache {
    pub(super) fn new(bytes_max: u64) -> Self {
        Cache { bytes_max, bytes: 0, blobs: HashMap::new(), used: BTreeMap::new(), now: 0 }
    }

    pub(super) fn get(&mut self, place: Place) -> Option<Arc<StoredFrame>> {
        let kept = self.blobs.get_mut(&place)?;
        self.now += 1;
        self.used.remove(&kept.used);
        self.used.insert(self.now, place);
        kept.used = self.now;
        Some(kept.frame.clone())
    }

    /// Keeps a blob, if it isn't kept already and fits.
    pub(super) fn put(&mut self, place: Place, frame: &Arc<StoredFrame>) {
        let size = size_of(frame);
        if size > self.bytes_max || self.blobs.contains_key(&place) {
            return;
        }
        while self.bytes + size > self.bytes_max
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.forget(oldest);
        }
        self.now += 1;
        self.bytes += size;
        self.used.insert(self.now, place);
        self.blobs.insert(place, Kept { frame: frame.clone(), used: self.now });
    }

    /// Keeps only the blobs of chunks for which `keep` returns true.
    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let gone: Vec<Place> = self.blobs.keys().copied().filter(|(chunk, _)| !keep(*chunk)).collect();
        for place in gone {
            self.forget(place);
        }
    }

    fn forget(&mut self, place: Place) {
        if let Some(Kept { frame, used }) = self.blobs.remove(&place) {
            self.used.remove(&used);
            self.bytes -= size_of(&frame);
        }
    }
}

/// The bytes that a cached blob takes, its share of the maps included, about.
fn size_of(frame: &StoredFrame) -> u64 {
    frame.payload().len() as u64 + 256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Arc<StoredFrame> {
        Arc::new(StoredFrame::of_payload(&vec![1; len]))
    }

    #[test]
    fn the_least_recently_used_blob_is_dropped_and_the_bound_holds() {
        let mut cache = Cache::new(4 * 356);
        for offset in 0..4 {
            cache.put((7, offset), &frame(100));
        }
        assert!(cache.get((7, 0)).is_some());
        cache.put((7, 4), &frame(100));
        assert!(cache.get((7, 1)).is_none() && cache.get((7, 0)).is_some());
        cache.put((7, 9), &frame(2000));
        assert!(cache.get((7, 9)).is_none(), "larger than all");
        cache.put((7, 4), &frame(100));
        assert_eq!((cache.bytes, cache.blobs.len(), cache.used.len()), (4 * 356, 4, 4));
        cache.put((8, 0), &frame(456));
        assert_eq!(cache.bytes, 2 * 356 + 712);
        cache.retain(|chunk| chunk == 8);
        assert_eq!((cache.bytes, cache.blobs.len(), cache.used.len()), (712, 1, 1));
        assert!(Cache::new(0).get((8, 0)).is_none());
    }
}
