//! The seeds: each a base and a few steps, written down where `run` reads them.

/// What follows are the numbers of the steps in `run::step`.
const FILE: u8 = 0;
const FLIP: u8 = 1;
const CUT: u8 = 2;
const ZEROS: u8 = 3;
const OVERWRITE: u8 = 4;
const COPY: u8 = 5;
const TWICE: u8 = 6;
const REMOVE: u8 = 7;
const RENAME: u8 = 8;
const HEADER: u8 = 9;
const FRAME: u8 = 10;
const LENGTH: u8 = 11;

/// Name and bytes of every seed.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |name: &str, parts: &[&[u8]]| seeds.push((name.to_string(), parts.concat()));
    let bases = [
        "empty",
        "marked",
        "two-chunks",
        "three-chunks",
        "torn",
        "sealed-newest",
        "reused",
        "near-the-end",
        "compressed",
    ];
    for (base, name) in (0..).zip(bases) {
        add(name, &[&[base, 4]]);
    }
    add("torn-refused", &[&[4, 1]]);
    add("small-reads", &[&[3, 8]]);
    add("bytewise-reads", &[&[2, 24]]);
    add("flip-magic", &[&[1, 0], &flip(0, 3)]);
    add("flip-header", &[&[1, 0], &flip(0, 50)]);
    add("flip-first-frame", &[&[1, 0], &flip(0, 66)]);
    add("flip-synced-record", &[&[1, 0], &flip(0, 104)]);
    add("flip-last-record", &[&[3, 0], &flip(2, 120)]);
    add("flip-sealed-record", &[&[2, 0], &flip(0, 90)]);
    add("flip-seal", &[&[2, 0], &flip(0, 176)]);
    add("cut-sealed", &[&[2, 0], &[CUT, 0, 150, 0]]);
    add("cut-newest", &[&[3, 0], &[CUT, 2, 90, 0]]);
    add("cut-to-nothing", &[&[1, 0], &[CUT, 0, 0, 0]]);
    add("zeros-behind-seal", &[&[2, 0], &[ZEROS, 0, 0, 4]]);
    add("zeros-over-record", &[&[1, 0], &[OVERWRITE, 0, 80, 0, 24], &[0; 24]]);
    add("copied-from-another", &[&[2, 0], &[COPY, 1, 0, 64, 0, 64, 0, 40, 0]]);
    add("doubled", &[&[1, 0], &[TWICE, 0, 0]]);
    add("gap", &[&[3, 0], &[REMOVE, 1]]);
    add("oldest-gone", &[&[3, 0], &[REMOVE, 0]]);
    add("renamed", &[&[1, 0], &[RENAME, 0], &1000_u64.to_le_bytes()]);
    add("last-name", &[&[1, 0], &[RENAME, 0], &u64::MAX.to_le_bytes()]);
    add("other-log", &[&[2, 0], &[HEADER, 1, 32, 1, 9]]);
    add("later-version", &[&[1, 0], &[HEADER, 0, 8, 2, 2, 0]]);
    add("later-feature", &[&[1, 0], &[HEADER, 0, 12, 1, 0x80]]);
    add("later-kind", &[&[1, 0], &frame(176, 5, 0, 0, b"?")]);
    add("later-flag", &[&[1, 0], &frame(176, 1, 4, 0, b"?")]);
    add("batch-without-end", &[&[1, 0], &frame(176, 1, 2, 0, b"?")]);
    add("compressed-lies", &[&[8, 0], &frame(152, 1, 1, 0, b"no block")]);
    add("refused-by-codec", &[&[1, 0], &frame(176, 1, 0, 0, b"?")]);
    add("first-is-action", &[&[1, 0], &frame(64, 1, 0, 0, b"")]);
    add("seal-lies", &[&[1, 0], &frame(176, 3, 0, 24, &[1; 24])]);
    add("frame-beyond-a-hole", &[&[1, 0], &frame(400, 1, 0, 8, b"")]);
    add("mark-beyond-a-hole", &[&[1, 0], &frame(400, 4, 0, 0, b"")]);
    add("hostile-length", &[&[1, 0], &length(176, u32::MAX)]);
    add("hostile-length-first", &[&[5, 0], &length(64, u32::MAX - 15)]);
    add(
        "foreign-names",
        &[&[2, 0], &file(b"r-0.wal", b""), &file(b"notes", b"x"), &file(b"spare-x.tmp", b"")],
    );
    add(
        "spares",
        &[
            &[2, 2],
            &file(b"spare-0123456789abcdef.tmp", b"CHNKWAL\n"),
            &file(b"spare-0000000000000000.tmp", b""),
        ],
    );
    add("not-a-chunk", &[&[0, 0], &file(b"r-00_000_000_000_000_000_000.wal", b"some text\n")]);
    seeds
}

fn flip(file: u8, at: u16) -> Vec<u8> {
    [&[FLIP, file][..], &at.to_le_bytes(), &[4]].concat()
}

fn frame(at: u16, kind: u8, flags: u8, unsynced: u64, payload: &[u8]) -> Vec<u8> {
    let (at, unsynced) = (at.to_le_bytes(), unsynced.to_le_bytes());
    [&[FRAME, 0][..], &at, &[kind, flags], &unsynced, &[payload.len() as u8], payload].concat()
}

fn length(at: u16, len: u32) -> Vec<u8> {
    [&[LENGTH, 0][..], &at.to_le_bytes(), &u64::from(len).to_le_bytes()].concat()
}

fn file(name: &[u8], contents: &[u8]) -> Vec<u8> {
    [&[FILE, name.len() as u8][..], name, &[contents.len() as u8], contents].concat()
}
