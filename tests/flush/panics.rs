//! A panic of the user's code does no harm elsewhere, with any payload.

use std::panic::panic_any;

use super::*;

/// Panics once more where it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_panic_whose_payload_panics_when_dropped_harms_no_other_callback() {
    let disk = Disk::default();
    let mut wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    let gate = sync_gate(&disk);
    let (told, done) = channel();
    for i in 0..6 {
        wal.append(&spell("word")).unwrap();
        let told = told.clone();
        let each = callback(move |result| {
            told.send(result).unwrap();
            if i == 0 {
                panic_any(Bomb);
            }
        });
        wal.flush(Flush::Sync, each).unwrap();
    }
    gate.open();
    for _ in 0..6 {
        done.recv_timeout(Duration::from_secs(20)).expect("every callback comes").unwrap();
    }
    wal.wait_idle().unwrap();
    assert_eq!(wal.flush_metrics().callback_panic_count, 1);
    wal.close().unwrap();
}

#[test]
fn a_codec_inside_a_callback_of_another_log_can_not_wait_for_that_log() {
    let outer_disk = Disk::default();
    let mut outer: SpellWal = outer_disk.options().open(&mut Book::default()).unwrap();
    let mut inner: SpellWal = Disk::default().options().open(&mut Book::default()).unwrap();
    let handle = outer.progress_handle();
    let gate = sync_gate(&outer_disk);
    outer.append(&spell("first")).unwrap();
    let (told, done) = channel();
    let append_to_inner = callback(move |_| {
        let encoder = move |w: &mut dyn std::io::Write| {
            told.send(handle.wait_synced(handle.progress().appended)).unwrap();
            w.write_all(b"x").map(|()| 1)
        };
        let word = Spell::encoded_by(encoder);
        inner.append(&WalRecord::Action(word)).unwrap();
    });
    outer.flush(Flush::Sync, append_to_inner).unwrap();
    // Something that is not durable while the callback runs.
    outer.append(&spell("second")).unwrap();
    gate.open();
    let waited = done.recv_timeout(Duration::from_secs(20)).expect("it hangs");
    assert!(matches!(waited, Err(Error::WouldDeadlock { .. })), "{waited:?}");
}

#[test]
fn a_checkpoint_that_outgrew_the_limit_is_named() {
    let disk = Disk::with(|config| config.max_record_size = 100);
    let mut wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    let large = Spell::new(&"x".repeat(101));
    let error = wal.close_open_chunk_with(large).unwrap_err();
    assert!(matches!(error, Error::CheckpointTooLarge { max: 100 }), "{error}");
    assert!(error.to_string().contains("checkpoint"), "{error}");
    let error = wal.append(&spell(&"x".repeat(101))).unwrap_err();
    assert!(matches!(error, Error::RecordTooLarge { max: 100 }), "{error}");
}
