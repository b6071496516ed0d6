//! Crashes as a whole: seeds, kills, any operation.

use super::*;

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
fn a_seed_determines_the_disk() {
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
