use std::io;

use crate::error::Error;

#[test]
fn io_kinds_fit_and_keep_the_original() {
    let full = Error::no_space("allocate", "x", 1, io::ErrorKind::StorageFull.into());
    let cases = [
        (Error::Locked { path: "x".into() }, io::ErrorKind::WouldBlock),
        (Error::Gap { path: "x".into(), expected: 1, found: 2 }, io::ErrorKind::InvalidData),
        (full.clone(), io::ErrorKind::StorageFull),
        (
            Error::InvalidConfig { field: "x", value: "0".into(), allowed: "1..".into() },
            io::ErrorKind::InvalidInput,
        ),
        (Error::io("sync", "x", io::ErrorKind::PermissionDenied.into()), io::ErrorKind::PermissionDenied),
        (full.poisoned(), io::ErrorKind::Other),
    ];
    for (error, kind) in cases {
        let text = error.to_string();
        let io = io::Error::from(error);
        assert_eq!(io.kind(), kind, "{text}");
        assert_eq!(io.to_string(), text);
        assert!(io.get_ref().is_some_and(|e| e.is::<Error>()));
    }
}
