#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::io::IoSlice;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::storage::Access;
use crate::storage::Storage;
use crate::storage::StorageFile;

const A: &str = "/a";
const SEEDS: u64 = 3000;

fn root() -> &'static Path {
    Path::new("/")
}

fn write(file: &dyn StorageFile, bytes: &[u8], position: u64) {
    assert_eq!(file.write_at(&[IoSlice::new(bytes)], position).unwrap(), bytes.len());
}

/// A disk whose file `/a` holds `bytes` for certain, and that file, open.
fn disk_with(bytes: &[u8]) -> (MemoryStorage, Arc<dyn StorageFile>) {
    let disk = MemoryStorage::default();
    disk.write_file(A, bytes).unwrap();
    let file = disk.open(Path::new(A), Access::ReadWrite).unwrap();
    (disk, file)
}

/// What the crashes of many seeds leave of `/a`.
fn left(disk: &MemoryStorage) -> BTreeSet<Option<Vec<u8>>> {
    (0..SEEDS).map(|seed| disk.crash(seed).read_file(A)).collect()
}

/// What all crashes leave of `/a`.
fn all_left(disk: &MemoryStorage) -> BTreeSet<Option<Vec<u8>>> {
    disk.crash_states(1000).unwrap().iter().map(|disk| disk.read_file(A)).collect()
}

fn set(cases: &[&[u8]]) -> BTreeSet<Option<Vec<u8>>> {
    cases.iter().map(|case| Some(case.to_vec())).collect()
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().unwrap().kind()
}

/// `old` with the sectors in `kept` taken from `new`.
fn sectors(old: &[u8], new: &[u8], kept: &[usize]) -> Vec<u8> {
    let mut bytes = old.to_vec();
    for sector in kept {
        bytes[sector * 512..][..512].copy_from_slice(&new[sector * 512..][..512]);
    }
    bytes
}

// Crashes: bytes -----------------------------------------------------------------------------------

#[test]
fn what_is_synced_is_never_lost() {
    let (disk, file) = disk_with(b"");
    file.allocate(20_000).unwrap();
    write(&*file, &[1; 10_000], 100);
    file.sync().unwrap();
    let all = Some(disk.read_file(A).unwrap());
    assert_eq!(left(&disk), BTreeSet::from([all.clone()]));
    assert_eq!(disk.crash_states(1).unwrap().len(), 1);
    assert_eq!(disk.crash(7).crash(8).read_file(A), all, "what a crash left is durable");
}

#[test]
fn a_rewritten_sector_is_old_or_new() {
    let (old, new) = ([1; 1024], [2; 1024]);
    let (disk, file) = disk_with(&old);
    write(&*file, &new, 0);
    let cases = [&[][..], &[0], &[1], &[0, 1]].map(|kept| Some(sectors(&old, &new, kept)));
    assert_eq!(left(&disk), BTreeSet::from(cases));
    assert_eq!(all_left(&disk), left(&disk));
}

#[test]
fn a_part_of_a_sector_is_rewritten_with_it() {
    let (disk, file) = disk_with(b"0123456789");
    write(&*file, b"abc", 2);
    write(&*file, b"XY", 4);
    let cases = set(&[b"0123456789", b"01abc56789", b"01abXY6789"]);
    assert_eq!((left(&disk), all_left(&disk)), (cases.clone(), cases));
}

#[test]
fn writes_are_reordered() {
    let (disk, file) = disk_with(&[0; 1024]);
    write(&*file, &[1; 8], 0);
    write(&*file, &[2; 8], 512);
    let second_only = Some(sectors(&[0; 1024], &disk.read_file(A).unwrap(), &[1]));
    assert!(left(&disk).contains(&second_only));
    assert!(all_left(&disk).contains(&second_only));
}

#[test]
fn a_sector_in_new_space_is_torn_at_any_byte() {
    let (disk, file) = disk_with(b"");
    file.allocate(4096).unwrap();
    file.sync().unwrap();
    write(&*file, &[7; 100], 10);
    let ends: BTreeSet<usize> = (0..5 * SEEDS)
        .map(|seed| {
            let bytes = disk.crash(seed).read_file(A).unwrap();
            let end = bytes.iter().rposition(|b| *b == 7).map_or(10, |last| last + 1);
            assert!(bytes[10..end].iter().all(|b| *b == 7));
            assert_eq!(bytes.len(), 4096);
            end
        })
        .collect();
    assert_eq!(ends, (10..=110).collect());

    // The second time it is not new.
    file.sync().unwrap();
    write(&*file, &[8; 100], 10);
    assert_eq!(left(&disk).len(), 2);
}

#[test]
fn tears_at_pages_and_leaves_pages_out() {
    let (old, new) = (vec![1; 4096 * 3], vec![2; 4096 * 3]);
    let (disk, file) = disk_with(&old);
    write(&*file, &new, 0);
    let left = left(&disk);
    for pages in [&[0][..], &[1], &[2], &[0, 1], &[0, 2], &[1, 2]] {
        let kept: Vec<usize> = pages.iter().flat_map(|page| page * 8..page * 8 + 8).collect();
        assert!(left.contains(&Some(sectors(&old, &new, &kept))), "only pages {pages:?}");
    }
    assert!(left.len() > 200, "sectors too: {}", left.len());
    assert!(disk.crash_states(1 << 20).is_none(), "2 to the 24 are too many");
}

#[test]
fn size_and_data_go_different_ways() {
    let (disk, file) = disk_with(b"");
    write(&*file, &[5; 600], 0);
    write(&*file, &[6; 600], 600);
    let (left, all) = (left(&disk), all_left(&disk));
    let mut size_only = vec![0; 1200];
    for cases in [&left, &all] {
        assert!(cases.contains(&Some(size_only.clone())), "size without data");
        assert!(cases.contains(&Some(vec![5; 600])), "data without size");
        assert!(cases.contains(&Some(vec![])));
    }
    size_only[1024..].fill(6);
    assert!(all.contains(&Some(size_only)), "only the last sector");
    let lens: BTreeSet<usize> = left.into_iter().flatten().map(|bytes| bytes.len()).collect();
    assert_eq!(lens, BTreeSet::from([0, 600, 1200]), "no other size");
}

#[test]
fn a_lost_cut_brings_back_what_stood_there() {
    let (disk, file) = disk_with(b"0123456789");
    file.set_len(4).unwrap();
    let cases = set(&[b"0123456789", b"0123", b"0123\0\0\0\0\0\0"]);
    assert_eq!((left(&disk), all_left(&disk)), (cases.clone(), cases));
    file.sync().unwrap();
    assert_eq!(left(&disk), set(&[b"0123"]));
}

#[test]
fn a_cut_and_what_follows() {
    let old = [1; 8192];
    let (disk, file) = disk_with(&old);
    file.set_len(0).unwrap();
    file.set_len(8192).unwrap();
    write(&*file, &[2; 512], 4096);
    let new = sectors(&[0; 8192], &[2; 8192], &[8]);

    // Kept, the cut has taken everything; lost, nothing.
    let with_cut = [vec![], vec![0; 8192], new];
    let without = [old.to_vec(), sectors(&old, &[2; 8192], &[8])];
    let cases = with_cut.into_iter().chain(without).map(Some).collect();
    assert_eq!(all_left(&disk), cases);
    assert!(left(&disk).is_superset(&all_left(&disk)));
    file.sync().unwrap();
    assert_eq!(left(&disk).len(), 1);
}

#[test]
fn an_allocation_is_kept_or_lost() {
    let (disk, file) = disk_with(b"abc");
    file.allocate(5).unwrap();
    let cases = set(&[b"abc", b"abc\0\0"]);
    assert_eq!((left(&disk), all_left(&disk)), (cases.clone(), cases));
    assert_eq!(disk.crash(0).used(), 4096);
}

/// The rules again, as plainly as they can be said, against random work on one file.
#[test]
fn every_crash_is_legal() {
    for round in 0..120 {
        let (disk, file) = disk_with(b"");
        let mut dice = round;
        let mut roll = |n: u64| {
            dice = crash::mix(dice + 1);
            dice % n
        };
        // What the file held after each operation since the last sync, the sync's first; and which
        // sectors were written at some time before it.
        let mut history = vec![Vec::new()];
        let mut old_sectors = BTreeSet::new();
        for step in 0..roll(14) {
            match roll(8) {
                0 => {
                    let len = roll(10_000);
                    file.set_len(len).unwrap();
                    // Pages that were cut off come back new.
                    old_sectors.retain(|sector| sector / 8 * 4096 < len as usize);
                }
                1 => file.allocate(roll(12_000)).unwrap(),
                2 => {
                    file.sync().unwrap();
                    let len = disk.read_file(A).unwrap().len() as u64;
                    let state = disk.shared.state.lock();
                    let id = state.disk.resolve_file(Path::new(A)).unwrap();
                    let pages = state.disk.file(id).unwrap().current().pages();
                    old_sectors = pages
                        .flat_map(|(index, page)| (0..8).map(move |s| (index * 8 + s, page.written >> s & 1)))
                        .filter(|(sector, written)| *written == 1 && sector * 512 < len)
                        .map(|(sector, _)| sector as usize)
                        .collect();
                    history.clear();
                }
                _ => write(&*file, &vec![step as u8 + 1; roll(3000) as usize + 1], roll(9000)),
            }
            history.push(disk.read_file(A).unwrap());
        }

        let padded: Vec<Vec<u8>> = history.iter().map(|h| [&h[..], &[0; 16_384]].concat()).collect();
        for seed in 0..60 {
            let bytes = disk.crash(seed).read_file(A).unwrap();
            assert!(history.iter().any(|h| h.len() == bytes.len()), "round {round}, seed {seed}: size");
            for (sector, found) in bytes.chunks(512).enumerate() {
                let start = sector * 512;
                let whole = padded.iter().any(|h| h[start..].starts_with(found));
                let byte = |i: usize| padded.iter().any(|h| h[start + i] == found[i]);
                let torn = !old_sectors.contains(&sector);
                let legal = whole || torn && (0..found.len()).all(byte);
                assert!(legal, "round {round}, seed {seed}: sector {sector}");
            }
        }
        assert_eq!(disk.crash(0).read_file(A).unwrap(), history[0], "round {round}: nothing kept");
        assert_eq!(disk.crash(1).digest(), disk.digest(), "round {round}: everything kept");
        let used = disk.used();
        assert_eq!(disk.crash(1).used(), used);
        if let Some(all) = disk.crash_states(100) {
            let all: BTreeSet<u64> = all.iter().map(MemoryStorage::digest).collect();
            assert!(all.contains(&disk.digest()) && all.contains(&disk.crash(0).digest()));
        }
        file.sync().unwrap();
        assert_eq!(disk.crash(0).digest(), disk.digest());
    }
}

#[test]
fn many_unsynced_writes_to_a_page_stay_legal() {
    let (disk, file) = disk_with(&[0; 1024]);
    for n in 1..=200 {
        write(&*file, &[n], u64::from(n) % 2 * 512);
    }
    for seed in 0..200 {
        let bytes = disk.crash(seed).read_file(A).unwrap();
        assert!(bytes[0] % 2 == 0 && (bytes[512] % 2 == 1 || bytes[512] == 0), "{bytes:?}");
    }
    assert_eq!(disk.crash(1).digest(), disk.digest());
}

// Crashes: names -----------------------------------------------------------------------------------

fn names_left(disk: &MemoryStorage) -> BTreeSet<Vec<String>> {
    let drawn: BTreeSet<_> = (0..SEEDS).map(|seed| disk.crash(seed).files("/")).collect();
    let all: BTreeSet<_> = disk.crash_states(1000).unwrap().iter().map(|disk| disk.files("/")).collect();
    assert_eq!(drawn, all);
    all
}

fn names(cases: &[&[&str]]) -> BTreeSet<Vec<String>> {
    cases.iter().map(|case| case.iter().map(|name| name.to_string()).collect()).collect()
}

#[test]
fn a_name_is_durable_once_its_directory_is_synced() {
    let disk = MemoryStorage::default();
    let file = disk.create(Path::new(A)).unwrap();
    write(&*file, b"x", 0);
    file.sync().unwrap();
    assert_eq!(left(&disk), BTreeSet::from([None, Some(b"x".to_vec())]), "syncing the file isn't enough");
    disk.sync_dir(root()).unwrap();
    assert_eq!(left(&disk), set(&[b"x"]));

    disk.remove(Path::new(A)).unwrap();
    assert_eq!(left(&disk), BTreeSet::from([None, Some(b"x".to_vec())]));
    disk.sync_dir(root()).unwrap();
    assert_eq!(left(&disk), BTreeSet::from([None]));
}

#[test]
fn a_durable_name_may_lead_to_nothing() {
    let disk = MemoryStorage::default();
    let file = disk.create(Path::new(A)).unwrap();
    write(&*file, b"xyz", 0);
    disk.sync_dir(root()).unwrap();
    assert_eq!(all_left(&disk), set(&[b"", b"\0\0\0", b"xyz"]));
}

#[test]
fn a_rename_is_kept_or_lost() {
    let disk = MemoryStorage::default();
    for name in ["/a", "/b"] {
        disk.write_file(name, name.as_bytes()).unwrap();
    }
    disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
    assert_eq!(names_left(&disk), names(&[&["a", "b"], &["b"]]));
    for seed in 0..100 {
        let after = disk.crash(seed);
        let expected = if after.files("/").len() == 2 { "/b" } else { "/a" };
        assert_eq!(after.read_file("/b").unwrap(), expected.as_bytes());
    }
    disk.set_torn_renames(TornRenames::Possible);
    assert!(
        disk.crash_states(10).unwrap().iter().any(|disk| disk.read_file("/b") == Some(b"/a".to_vec())
            && disk.read_file("/a") == Some(b"/a".to_vec()))
    );
    disk.sync_dir(root()).unwrap();
    assert_eq!(names_left(&disk), names(&[&["b"]]));
}

#[test]
fn a_rename_goes_with_an_unsynced_create() {
    let disk = MemoryStorage::default();
    disk.create(Path::new("/a")).unwrap();
    disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
    assert_eq!(names_left(&disk), names(&[&[], &["a"], &["b"]]));
}

#[test]
fn names_come_in_any_order() {
    let disk = MemoryStorage::default();
    for name in ["/a", "/b", "/c"] {
        disk.create(Path::new(name)).unwrap();
    }
    assert_eq!(names_left(&disk).len(), 8);
}

#[test]
fn a_new_directory_may_vanish_with_all_in_it() {
    let disk = MemoryStorage::default();
    disk.crash_after(1); // the root's own sync is none: it stands nowhere
    assert!(disk.create_dir(Path::new("/x/y")).is_err());
    assert_eq!(disk.operations(), 2);
    let seen: BTreeSet<bool> = (0..50).map(|seed| disk.crash(seed).list(Path::new("/x")).is_ok()).collect();
    assert_eq!(seen, BTreeSet::from([false, true]), "made, and its name not synced");

    // A killed process leaves it; the next one makes its name durable all the same.
    let disk = disk.kill();
    disk.create_dir(Path::new("/x")).unwrap();
    assert!((0..50).all(|seed| disk.crash(seed).list(Path::new("/x")).is_ok()));

    disk.create_dir(Path::new("/x/y/z")).unwrap();
    disk.create(Path::new("/x/y/z/file")).unwrap();
    disk.sync_dir(Path::new("/x/y/z")).unwrap();
    assert!((0..50).all(|seed| disk.crash(seed).files("/x/y/z") == ["file"]));
}

// Crashes: the rest --------------------------------------------------------------------------------

fn busy_disk() -> MemoryStorage {
    let disk = MemoryStorage::default();
    for name in ["/a", "/b", "/c"] {
        let file = disk.create(Path::new(name)).unwrap();
        write(&*file, &[1; 5000], 0);
        if name != "/c" {
            file.sync().unwrap();
            disk.sync_dir(root()).unwrap();
        }
        write(&*file, &[2; 5000], 2500);
    }
    disk
}

#[test]
fn a_seed_says_it_all() {
    let digests = |disk: &MemoryStorage| (0..200).map(|seed| disk.crash(seed).digest()).collect::<Vec<_>>();
    let (one, two) = (busy_disk(), busy_disk());
    assert_eq!(digests(&one), digests(&two));
    assert_eq!(digests(&one), digests(&one.kill()), "and nothing that an earlier draw did");
    assert!(digests(&one).iter().collect::<BTreeSet<_>>().len() > 50);
}

#[test]
fn the_original_goes_on() {
    let disk = busy_disk();
    let before = disk.digest();
    let (killed, crashed) = (disk.kill(), disk.crash(0));
    for other in [&killed, &crashed] {
        other.write_file("/a", b"other").unwrap();
        assert_eq!(other.operations(), 0);
    }
    assert_eq!(disk.digest(), before);
}

#[test]
fn a_killed_process_leaves_what_it_wrote() {
    let (disk, file) = disk_with(b"old");
    let _held = disk.lock(Path::new("/LOCK")).unwrap().unwrap();
    write(&*file, b"new", 0);
    let after = disk.kill();
    assert_eq!(after.read_file(A).unwrap(), b"new");
    assert!(after.lock(Path::new("/LOCK")).unwrap().is_some());
    assert_eq!(left(&after), set(&[b"old", b"new"]), "and it may still be lost");
    after.sync_everything();
    assert_eq!(left(&after), set(&[b"new"]));
}

#[test]
fn a_crash_comes_at_any_operation() {
    let work = |disk: &MemoryStorage| -> io::Result<()> {
        let dir = disk.create_dir(Path::new("/d"))?; // 2
        let file = disk.create(&dir.join("a.tmp"))?; // 3
        file.allocate(100)?;
        file.write_at(&[IoSlice::new(b"x")], 0)?;
        file.set_len(1)?;
        file.sync()?; // 7
        disk.rename(&dir.join("a.tmp"), &dir.join("b"))?;
        disk.sync_dir(&dir)?;
        disk.remove(&dir.join("b"))?;
        disk.list(&dir)?;
        Ok(())
    };
    let whole = MemoryStorage::default();
    work(&whole).unwrap();
    assert_eq!(whole.operations(), 10);
    for n in 0..10 {
        let disk = MemoryStorage::default();
        disk.crash_after(n);
        assert_eq!(work(&disk).unwrap_err().to_string(), "the disk has crashed");
        assert!(disk.operations() <= n + 1);
        assert!(disk.list(root()).is_err() && disk.lock(Path::new("/L")).is_err(), "nothing works now");
        assert_eq!(disk.crash(1).files("/d").len(), usize::from(n >= 3));
    }
}

// Faults -------------------------------------------------------------------------------------------

#[test]
fn a_fault_strikes_when_it_should() {
    let (disk, file) = disk_with(b"");
    disk.fail(Fault::new(OpKind::Write, 1, FaultHow::Io));
    write(&*file, b"a", 0);
    file.sync().unwrap();
    assert_eq!(file.write_at(&[IoSlice::new(b"b")], 0).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(disk.read_file(A).unwrap(), b"a");
    write(&*file, b"c", 0);

    disk.fail(Fault::any(1, FaultHow::NoSpace).sticky());
    file.sync().unwrap();
    for _ in 0..3 {
        assert_eq!(kind(disk.create(Path::new("/b"))), ErrorKind::StorageFull);
        assert_eq!(kind(file.allocate(9)), ErrorKind::StorageFull);
        file.read_at(&mut [0], 0).unwrap();
    }
    disk.heal();
    file.allocate(9).unwrap();
}

#[test]
fn a_fault_has_many_ways() {
    let (disk, file) = disk_with(b"0123456789");
    let mut buf = [0; 4];
    disk.fail(Fault::new(OpKind::Write, 0, FaultHow::Short(2)));
    assert_eq!(file.write_at(&[IoSlice::new(b"a"), IoSlice::new(b"bc")], 0).unwrap(), 2);
    assert_eq!(disk.read_file(A).unwrap(), b"ab23456789");

    disk.fail(Fault::new(OpKind::Read, 0, FaultHow::Short(3)));
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 3);
    disk.fail(Fault::new(OpKind::Read, 0, FaultHow::Interrupted));
    assert_eq!(kind(file.read_at(&mut buf, 0)), ErrorKind::Interrupted);
    disk.fail(Fault::new(OpKind::Len, 0, FaultHow::Error(ErrorKind::PermissionDenied)));
    assert_eq!(kind(file.len()), ErrorKind::PermissionDenied);
    disk.fail(Fault::new(OpKind::Lock, 0, FaultHow::Io));
    assert!(disk.lock(Path::new("/LOCK")).is_err());

    for kind in [OpKind::Create, OpKind::Rename, OpKind::SetLen] {
        disk.fail(Fault::new(kind, 0, FaultHow::DoneButIo));
    }
    assert_eq!(disk.create(Path::new("/b")).unwrap_err().raw_os_error(), Some(5));
    assert!(disk.rename(Path::new("/b"), Path::new("/c")).is_err());
    assert!(file.set_len(1).is_err());
    assert_eq!((disk.files("/"), file.len().unwrap()), (vec!["a".into(), "c".into()], 1));
}

#[test]
fn faults_count_side_by_side() {
    let (disk, file) = disk_with(b"");
    disk.fail(Fault::any(2, FaultHow::NoSpace));
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    write(&*file, b"a", 0);
    assert_eq!(kind(file.sync()), ErrorKind::StorageFull);
    file.sync().unwrap();

    // Where two would strike the same operation, the second waits.
    disk.fail(Fault::any(0, FaultHow::NoSpace));
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    assert_eq!(kind(file.sync()), ErrorKind::StorageFull);
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.sync().unwrap();
}

#[test]
fn a_failed_sync_lies() {
    let old = vec![1; 8192];
    let (disk, file) = disk_with(&old);
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::SyncLies));
    write(&*file, &[2; 512], 0);
    write(&*file, &[2; 512], 4096);
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.sync().unwrap();
    file.sync().unwrap();
    let new = sectors(&old, &[2; 8192], &[0, 8]);
    assert_eq!(disk.read_file(A).unwrap(), new, "it is read back");
    assert_eq!(disk.crash(0).read_file(A).unwrap(), old, "and it is not there");
    assert_eq!(left(&disk).len(), 4);
    assert_eq!(disk.kill().crash(0).read_file(A).unwrap(), old, "a new process doesn't help");

    // Writing any byte of the page again does.
    write(&*file, &[2], 5000);
    file.sync().unwrap();
    let mut half = old.clone();
    half[4096..4608].fill(2);
    half[5000] = 2;
    assert_eq!(disk.crash(0).read_file(A).unwrap(), half);
    write(&*file, &[2; 512], 0);
    file.sync().unwrap();
    assert_eq!(disk.crash(0).digest(), disk.digest());
}

#[test]
fn a_failed_sync_lies_about_new_space() {
    let (disk, file) = disk_with(b"");
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::SyncLies));
    write(&*file, &[2; 600], 0);
    assert!(file.sync().is_err());
    assert_eq!(disk.crash(0).read_file(A).unwrap(), b"");
    file.sync().unwrap();
    assert_eq!(disk.crash(0).read_file(A).unwrap(), [0; 600], "the size came, the bytes didn't");

    // What is cut off is no longer lied about.
    file.set_len(0).unwrap();
    write(&*file, &[3; 5], 0);
    file.sync().unwrap();
    assert_eq!(left(&disk), set(&[&[3; 5]]));
}

#[test]
fn a_failed_sync_does_not_lie_about_what_is_cut_off() {
    let (disk, file) = disk_with(&[1; 8192]);
    write(&*file, &[2; 8192], 0);
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::SyncLies));
    assert!(file.sync().is_err());
    file.set_len(4096).unwrap();
    file.set_len(8192).unwrap();
    file.sync().unwrap();
    let left = disk.crash(0).read_file(A).unwrap();
    assert_eq!((&left[..4096], &left[4096..]), (&[1; 4096][..], &[0; 4096][..]));
}

#[test]
fn a_full_disk_is_full() {
    let (disk, file) = disk_with(b"");
    disk.set_capacity(Some(3 * 4096 + 100));
    file.allocate(8192).unwrap();
    assert_eq!(disk.used(), 8192);
    let other = disk.create(Path::new("/b")).unwrap();
    assert_eq!(kind(other.allocate(8192)), ErrorKind::StorageFull);
    assert_eq!(other.len().unwrap(), 0);
    assert_eq!(other.write_at(&[IoSlice::new(&[1; 5000])], 0).unwrap(), 4096, "what there is space for");
    assert_eq!(kind(other.write_at(&[IoSlice::new(&[1; 904])], 4096)), ErrorKind::StorageFull);
    write(&*other, &[2; 4096], 0);
    write(&*file, &[1; 8192], 0);
    other.set_len(10_000).unwrap(); // takes nothing

    file.set_len(4096).unwrap();
    write(&*other, &[3; 4096], 4096);
    assert_eq!(disk.used(), 3 * 4096);
    disk.remove(Path::new("/b")).unwrap();
    assert_eq!(kind(file.allocate(8192)), ErrorKind::StorageFull, "it is still open");
    drop(other);
    file.allocate(3 * 4096).unwrap();
    disk.set_capacity(None);
    file.allocate(1 << 40).unwrap();
}

#[test]
fn no_file_is_endless() {
    let (_, file) = disk_with(b"");
    assert_eq!(kind(file.write_at(&[IoSlice::new(b"x")], u64::MAX)), ErrorKind::FileTooLarge);
    assert_eq!(kind(file.set_len(u64::MAX)), ErrorKind::FileTooLarge);
    assert_eq!(kind(file.allocate(u64::MAX)), ErrorKind::FileTooLarge);
    assert_eq!(file.read_at(&mut [0], u64::MAX).unwrap(), 0);
}

// Watching -----------------------------------------------------------------------------------------

#[test]
fn the_log_tells_what_was_done() {
    let disk = MemoryStorage::default();
    disk.record(true);
    let dir = disk.create_dir(Path::new("/wal/1")).unwrap();
    let spare = dir.join("spare-8f3a-1.tmp");
    let file = disk.create(&spare).unwrap();
    file.allocate(4096).unwrap();
    write(&*file, &[0; 64], 0);
    file.read_at(&mut [0], 0).unwrap();
    disk.rename(&spare, &dir.join("r-0.wal")).unwrap();
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    assert!(file.sync().is_err());
    file.set_len(104).unwrap();
    disk.sync_dir(&dir).unwrap();
    disk.remove(&dir.join("r-0.wal")).unwrap();
    file.sync().unwrap();
    drop(disk.lock(&dir.join("LOCK")).unwrap());
    drop(disk.lock(&dir.join("LOCK")).unwrap());
    assert_eq!(
        disk.take_log(),
        [
            "create dir wal",
            "sync dir /",
            "create dir 1",
            "sync dir /wal",
            "create spare-*.tmp",
            "allocate spare-*.tmp 4096",
            "write spare-*.tmp 64@0",
            "rename spare-*.tmp -> r-0.wal",
            "sync r-0.wal: EIO",
            "set_len r-0.wal 104",
            "sync dir",
            "remove r-0.wal",
            "sync (unlinked)",
            "create LOCK",
        ]
    );
    assert!(disk.take_log().is_empty());
    disk.record(false);
    file.sync().unwrap();
    assert!(disk.take_log().is_empty());
}

#[test]
fn a_hook_sees_each_operation_before_it_happens() {
    let (disk, file) = disk_with(b"");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (inside, log) = (disk.clone(), seen.clone());
    disk.on_operation(move |op| {
        log.lock().push((op.number, op.kind, op.path.clone(), inside.read_file(A).unwrap().len()));
        if op.kind == OpKind::SetLen {
            inside.crash_after(0);
        }
    });
    write(&*file, b"abc", 0);
    file.sync().unwrap();
    file.len().unwrap();
    assert!(file.set_len(0).is_err(), "the power went before it happened");
    assert_eq!(disk.read_file(A).unwrap(), b"abc");
    let a = PathBuf::from(A);
    assert_eq!(
        seen.lock()[..4],
        [
            (0, OpKind::Write, a.clone(), 0),
            (1, OpKind::Sync, a.clone(), 3),
            (2, OpKind::Len, a.clone(), 3),
            (2, OpKind::SetLen, a, 3),
        ]
    );
}

#[test]
fn syncs_wait_while_paused() {
    for wake in [|disk: &MemoryStorage| disk.pause_syncs(false), |disk: &MemoryStorage| disk.crash_after(0)] {
        let (disk, file) = disk_with(b"");
        disk.pause_syncs(true);
        let synced = Arc::new(AtomicU64::new(0));
        let (done, handle) = (synced.clone(), file.clone());
        let worker = std::thread::spawn(move || {
            let result = handle.sync();
            done.store(1, Ordering::SeqCst);
            result
        });
        while disk.operations() == 0 {
            std::thread::yield_now();
        }
        write(&*file, b"others go on", 0);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(synced.load(Ordering::SeqCst), 0);
        wake(&disk);
        let _ = worker.join().unwrap();
        assert_eq!(synced.load(Ordering::SeqCst), 1);
    }
}

// By hand ------------------------------------------------------------------------------------------

#[test]
fn files_are_put_there_durably() {
    let disk = MemoryStorage::default();
    disk.create(Path::new("/x")).unwrap();
    disk.rename(Path::new("/x"), Path::new("/y")).unwrap();
    disk.write_file("/y", b"put").unwrap();
    disk.write_file("/d/e/f", b"deep").unwrap();
    for seed in 0..50 {
        let after = disk.crash(seed);
        assert_eq!((after.files("/"), after.read_file("/y").unwrap()), (vec!["y".into()], b"put".to_vec()));
        assert_eq!(after.read_file("/d/e/f").unwrap(), b"deep");
    }
    disk.remove_file("/y").unwrap();
    assert_eq!(disk.crash(0).snapshot(), BTreeMap::from([(PathBuf::from("/d/e/f"), b"deep".to_vec())]));
    assert_eq!(kind(disk.remove_file("/y")), ErrorKind::NotFound);
    assert_eq!(kind(disk.write_file("/d/e", b"")), ErrorKind::IsADirectory);
    assert_eq!(kind(disk.write_file("/d/e/f/g", b"")), ErrorKind::NotADirectory);
    assert_eq!((disk.read_file("/y"), disk.files("/no")), (None, vec![]));
}

#[test]
fn a_bit_flips_everywhere() {
    let (disk, file) = disk_with(b"ab");
    write(&*file, b"xy", 0);
    disk.flip_bit(A, 9).unwrap();
    assert_eq!(all_left(&disk), set(&[b"a`", b"x{"]));
    assert_eq!(kind(disk.flip_bit(A, 16)), ErrorKind::UnexpectedEof);
}

#[test]
fn a_digest_sees_every_change() {
    let disk = MemoryStorage::default();
    let mut seen = BTreeSet::from([disk.digest()]);
    let mut changed = |disk: &MemoryStorage| seen.insert(disk.digest());
    disk.write_file("/a", b"").unwrap();
    assert!(changed(&disk));
    disk.write_file("/a", b"\0").unwrap();
    assert!(changed(&disk));
    for bit in 0..8 {
        disk.flip_bit("/a", bit).unwrap();
        assert!(changed(&disk));
    }
    disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
    assert!(changed(&disk));
    let file = disk.open(Path::new("/b"), Access::ReadWrite).unwrap();
    write(&*file, &[1], 100_000);
    assert!(changed(&disk));
    write(&*file, &[0; 5000], 50_000);
    assert!(!changed(&disk), "zeros are zeros");
    disk.create_dir(Path::new("/c")).unwrap();
    assert!(changed(&disk));
}

#[test]
fn a_big_disk_is_cheap_to_crash() {
    let disk = MemoryStorage::default();
    for n in 0..10 {
        let file = disk.create(Path::new(&format!("/{n}"))).unwrap();
        file.allocate(64 << 20).unwrap();
        file.sync().unwrap();
        write(&*file, &[1; 1000], 10_000);
    }
    let start = std::time::Instant::now();
    let crashes = (0..1000).map(|seed| disk.crash(seed).operations()).sum::<u64>();
    assert_eq!(crashes, 0);
    eprintln!("{:?} for each crash", start.elapsed() / 1000);
    assert!(start.elapsed() < Duration::from_secs(10));
}
