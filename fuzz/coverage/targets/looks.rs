#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (_, target) = chunked_wal_fuzz::TARGETS[1];
    target(data);
});
