#!/usr/bin/env bash
# Each fuzz target for FUZZ_SECONDS (20), from the seeds in fuzz/seeds/TARGET, under AddressSanitizer.
# What it finds lies in fuzz/artifacts and comes back with: cargo +nightly fuzz run TARGET fuzz/artifacts/TARGET/FILE
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"
cd "$repo"

if ! cargo +nightly --version >/dev/null 2>&1; then
    not_run 'fuzz: no nightly toolchain (rustup toolchain install nightly)'
    exit
fi
if ! command -v cargo-fuzz >/dev/null; then
    step 'cargo install cargo-fuzz'
    if ! cargo +stable install --quiet --locked cargo-fuzz; then
        not_run 'fuzz: cargo-fuzz could not be installed'
        exit
    fi
fi

# A single allocation above 256 MiB from an input of at most 64 KiB is a declared length that nobody checked.
limits=(-max_total_time="${FUZZ_SECONDS:-20}" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=256 -print_final_stats=1)

fuzz_one() {
    local target=$1 corpus=$CARGO_TARGET_DIR/fuzz-corpus/$1
    mkdir -p "$corpus" "fuzz/seeds/$target"
    cargo +nightly fuzz run --target-dir "$CARGO_TARGET_DIR/fuzz" "$target" "$corpus" "fuzz/seeds/$target" -- "${limits[@]}"
}

part 'build' cargo +nightly fuzz build --target-dir "$CARGO_TARGET_DIR/fuzz"
for target in $(cargo +nightly fuzz list); do
    part "$target" check "fuzz $target for ${FUZZ_SECONDS:-20} s" fuzz_one "$target"
done
stage_end
