#!/usr/bin/env bash
# What needs a nightly toolchain: Miri over the modules with `unsafe` and their users, ThreadSanitizer over
# the stress tests. Nothing is run where there is no nightly, and a component that is missing is named.
#
#   tests/nightly.sh          all of it
#   tests/nightly.sh miri     the one
#   tests/nightly.sh tsan     the other
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n==> [%4ds] %s\n' "$SECONDS" "$*"
    "$@"
}

missing() {
    printf 'skipped: %s\n' "$*" >&2
}

# `storage::map` and `sync_file_range` in `storage::disk` call the operating system, which Miri doesn't know:
# what is run of them is what their users do without it.
miri() {
    if ! cargo +nightly miri --version >/dev/null 2>&1; then
        missing 'Miri is not there: rustup +nightly component add miri rust-src'
        return
    fi
    export MIRIFLAGS="-Zmiri-disable-isolation ${MIRIFLAGS:-}"
    # The buffer that one thread fills while others read it, and its users: the log's tail in memory, files.
    step cargo +nightly miri test --features testing --lib chunk::
}

# The standard library is built with it too, or it reports what it didn't see.
tsan() {
    if ! cargo +nightly --version >/dev/null 2>&1; then
        missing 'there is no nightly toolchain'
        return
    fi
    if [ ! -d "$(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library" ]; then
        missing 'the sources of std are not there: rustup +nightly component add rust-src'
        return
    fi
    local target
    target=$(rustc +nightly -vV | sed -n 's/^host: //p')
    export RUSTFLAGS="-Zsanitizer=thread ${RUSTFLAGS:-}"
    export TSAN_OPTIONS="halt_on_error=1 ${TSAN_OPTIONS:-}"
    step cargo +nightly test -Zbuild-std --target "$target" --target-dir target/tsan \
        --features testing --test log stress::
}

case "${1:-all}" in
miri | tsan) "$1" ;;
all)
    miri
    tsan
    ;;
*)
    echo "usage: tests/nightly.sh [miri|tsan]" >&2
    exit 2
    ;;
esac
