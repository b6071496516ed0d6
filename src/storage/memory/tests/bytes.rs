//! Tests of a file's bytes and size after a crash.

use super::*;

#[test]
fn synced_bytes_are_never_lost() {
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
fn a_lost_cut_restores_the_bytes() {
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

/// The rules again, as plainly as possible, against random work on one file.
#[test]
fn every_crash_is_legal() {
    for round in 0..120 {
        let (disk, file) = disk_with(b"");
        let mut dice = round;
        let mut roll = |n: u64| {
            dice = mix(dice + 1);
            dice % n
        };
        // The file's contents after each operation since the last sync, the sync first; and the sectors
        // that were written at some time before it.
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

#[test]
fn a_reserved_size_may_be_lost_and_that_of_data_is_not() {
    let (disk, file) = disk_with(b"");
    disk.set_reserved_sizes(ReservedSizes::MayBeLost);
    file.allocate(8192).unwrap();
    write(&*file, &[1; 600], 0);
    file.sync().unwrap();
    file.sync().unwrap();
    let size = |n: usize| [vec![1; 600], vec![0; n - 600]].concat();
    assert_eq!(all_left(&disk), set(&[&size(1024), &size(8192)]));
    assert_eq!(disk.crash(0).read_file(A).unwrap(), size(1024));
    write(&*file, &[1], 8191);
    file.sync().unwrap();
    assert_eq!(all_left(&disk).len(), 1, "the last byte has its size");
    file.set_len(100).unwrap();
    file.sync().unwrap();
    assert_eq!(all_left(&disk), set(&[&[1; 100]]));
}

#[test]
fn space_that_was_not_written_shows_older_bytes() {
    let (disk, file) = disk_with(b"");
    disk.write_file("/b", &[7; 8192]).unwrap();
    file.allocate(8192).unwrap();
    write(&*file, &[1; 512], 0);
    file.sync().unwrap();
    assert_eq!(left(&disk).len(), 1);
    disk.set_fresh_space(FreshSpace::OlderBytes);
    let left = left(&disk);
    assert!(left.iter().flatten().all(|bytes| bytes.len() == 8192 && bytes[..512] == [1; 512]));
    let shown = |fresh: &dyn Fn(&[u8]) -> bool| left.iter().flatten().any(|bytes| fresh(&bytes[512..]));
    assert!(shown(&|bytes| *bytes == [0; 8192 - 512]), "zeros are possible as before");
    assert!(shown(&|bytes| bytes[..4096 - 512] == [7; 4096 - 512]), "bytes of another file");
    assert!(shown(&|bytes| bytes.iter().any(|byte| ![0, 7].contains(byte))), "any");
}

#[test]
fn a_sector_of_4_kib_takes_its_neighbours_with_it() {
    let old = vec![1; 8192];
    let (disk, file) = disk_with(&old);
    write(&*file, &[2; 512], 1024);
    let touched = |disk: &MemoryStorage| {
        let left = left(disk);
        left.into_iter().flatten().any(|bytes| bytes[..1024] != old[..1024] && bytes[4096..] == old[4096..])
    };
    assert!(!touched(&disk));
    disk.set_sector_size(SectorSize::Bytes4096);
    assert!(touched(&disk));
    assert!(left(&disk).into_iter().flatten().all(|bytes| bytes[4096..] == old[4096..]), "not the next one");
    file.sync().unwrap();
    assert_eq!(left(&disk).len(), 1, "and what is synced is safe");
}
