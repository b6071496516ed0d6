//! The fuzzer's corpus, replayed: each seed ends in a verdict, and together they end in most there are.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn every_input_of_the_corpus_ends_in_a_verdict() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 30, "{} seeds", paths.len());
    let mut kinds = BTreeMap::<String, usize>::new();
    for path in paths {
        // Names the input if it panics.
        println!("{}", path.display());
        *kinds.entry(crate::run::run(&fs::read(&path).unwrap()).kind).or_default() += 1;
    }
    if cfg!(feature = "lz4") {
        assert!(kinds.contains_key("Corrupt Compressed Checksum"), "{kinds:#?}");
    }
    // Steps that no longer do what the seeds want would go unseen without this.
    for kind in [
        "opened",
        "new",
        "Corrupt FrameChecksum LaterFrame",
        "Corrupt FrameChecksum Successor",
        "Corrupt FrameCutShort FinalName",
        "Corrupt FrameHeader SyncMark",
        "Corrupt SealMismatch Seal",
        "Corrupt FirstFrameKind FinalName",
        "Corrupt Header FinalName",
        "Corrupt HeaderBit FinalName",
        "Decode",
        "ForeignChunk",
        "Gap",
        "NotAChunk",
        "TornTail",
        "Unsupported frame flags",
        "Unsupported features",
    ] {
        assert!(kinds.contains_key(kind), "no seed ends in `{kind}`: {kinds:#?}");
    }
}
