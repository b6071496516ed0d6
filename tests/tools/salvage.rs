//! Sound records after damage: `dump` and `verify` reach them, and report the rest.

use super::*;

/// One chunk with the words 0 to 99, frames of 24 bytes from offset 88 on, and a second chunk.
fn hundred_words() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut list = List::default();
    let mut wal = Wal::open(config(dir.path()), &mut list).unwrap();
    for i in 0..100 {
        wal.append_and_apply(format!("{i:03}"), &mut list).unwrap();
    }
    wal.close_open_chunk_with(String::new()).unwrap();
    wal.append(&action("next")).unwrap();
    wal.close().unwrap();
    dir
}

fn place_of(word: u64) -> u64 {
    88 + word * 24
}

fn words_of(ran: &Ran) -> Vec<String> {
    let words = ran.out.lines().filter(|line| line.contains("action"));
    words.map(|line| line.rsplit_once("\\x00\\x03").map_or("next", |(_, word)| word).to_string()).collect()
}

#[test]
fn dump_continues_at_the_next_sound_record_and_names_the_skipped_bytes() {
    let dir = hundred_words();
    // In the payload, in a length, in two frames in a row, and in the last one.
    for at in [place_of(10) + 21, place_of(20) + 5, place_of(30) + 9, place_of(31), place_of(99) + 18] {
        damage(&chunk_path(dir.path(), 0), at);
    }
    let ran = run(&["dump", "--salvage", "--format", "utf8", "."], dir.path());
    let lost = [10, 20, 30, 31, 99];
    let mut expected: Vec<_> = (0..100).filter(|i| !lost.contains(i)).map(|i| format!("{i:03}")).collect();
    expected.push("next".to_string());
    assert_eq!(words_of(&ran), expected, "{ran:?}");
    assert!(ran.out.contains(&format!("{:>14} action", place_of(32))), "offsets stay: {}", ran.out);
    assert_eq!(ran.code, 2);
    let told: Vec<_> = ran.err.lines().skip(1).collect();
    let skip = |word, n: u64| {
        let (from, to) = (place_of(word), place_of(word) + n);
        format!("chunked-wal: skipped {n} bytes from offset {from} to {to}")
    };
    assert_eq!(told, [skip(10, 24), skip(20, 24), skip(30, 48), skip(99, 24)]);
    assert!(ran.err.contains("is damaged at offset 328"), "{}", ran.err);

    let ran = run(&["dump", "--format", "utf8", "."], dir.path());
    assert_eq!((words_of(&ran).len(), ran.err.lines().count()), (11, 1), "only if asked for");
    let from = place_of(35).to_string();
    let ran = run(&["dump", "--salvage", "--from", &from, "-n", "2", "--format", "utf8", "."], dir.path());
    assert_eq!(words_of(&ran), ["035", "036"]);
}

#[test]
fn verify_says_what_is_lost_and_how_much_follows() {
    let dir = hundred_words();
    damage(&chunk_path(dir.path(), 0), place_of(10));
    damage(&chunk_path(dir.path(), 0), place_of(97) + 17);
    let ran = run(&["verify", "--salvage", "."], dir.path());
    let told: Vec<_> = ran.out.lines().skip(2).collect();
    let name = ChunkId(0).file_name();
    assert_eq!(
        told,
        [
            format!(".: {name}: skipped 24 bytes from offset 328 to 352; 86 sound records after that"),
            format!(".: {name}: skipped 24 bytes from offset 2416 to 2440; 2 sound records after that"),
        ]
    );
    assert_eq!(ran.code, 2);
    assert_eq!(run(&["verify", "."], dir.path()).out.lines().count(), 2);
}

#[test]
fn a_chunk_whose_first_record_is_lost_gives_the_others() {
    let dir = hundred_words();
    damage(&chunk_path(dir.path(), 0), 70);
    let ran = run(&["dump", "--salvage", "--format", "utf8", "."], dir.path());
    assert_eq!((words_of(&ran).len(), ran.code), (101, 2), "{ran:?}");
}

#[test]
fn records_that_repair_cuts_off_are_dumped_from_the_copy() {
    let dir = hundred_words();
    damage(&chunk_path(dir.path(), 0), place_of(10));
    let ran = run(&["repair", "--apply", "--keep", "before", "."], dir.path());
    assert_eq!(ran.code, 0, "{ran:?}");
    let copy = format!("{}.broken", ChunkId(0).file_name());
    let ran = run(&["dump", "--salvage", "--from", "329", "--format", "utf8", &copy], dir.path());
    assert_eq!((words_of(&ran).len(), ran.code), (89, 2), "{ran:?}");
    assert_eq!(words_of(&ran)[0], "011");
}

#[test]
fn salvage_says_so_and_continues_after_a_torn_write() {
    let dir = three_chunks();
    tear(dir.path());
    let plain = run(&["dump", "."], dir.path());
    let salvaged = run(&["dump", "--salvage", "."], dir.path());
    assert_eq!(plain, salvaged, "nothing is behind it");
    assert_eq!(salvaged.code, 0);
}

#[test]
fn a_spare_that_begins_like_a_chunk_after_the_end_is_put_aside() {
    let dir = hundred_words();
    let (first, second) = (chunk_path(dir.path(), 0), chunk_path(dir.path(), place_of(100)));
    let spare = dir.path().join("spare-0123456789abcdef.tmp");
    fs::rename(second, &spare).unwrap();
    let bytes = fs::read(&first).unwrap();
    // Without its last record and its seal.
    fs::write(&first, &bytes[..place_of(99) as usize]).unwrap();
    for command in ["verify", "repair"] {
        let ran = run(&[command, "."], dir.path());
        assert!(ran.code == 2 && ran.out.contains("the chunk has a successor"), "{ran:?}");
    }
    let ran = run(&["repair", "--apply", "."], dir.path());
    assert!(ran.out.contains("renamed to spare-0123456789abcdef.tmp.broken"), "{ran:?}");
    assert!(ran.code == 0 && ran.out.contains("keeps 100 records"), "{ran:?}");
    let mut list = List::default();
    Wal::open(config(dir.path()), &mut list).unwrap().close().unwrap();
    assert_eq!(list.words.len(), 99);
    assert_eq!(run(&["verify", "."], dir.path()).code, 0);
}
