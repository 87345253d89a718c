#!/usr/bin/env bash
# The kernel crates under AddressSanitizer: a vector load one element past a slice is not seen by any other test.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"
cd "$repo"

host=$(rustc -vV | sed -n 's/^host: //p')
read -ra selection < <(kernel_selection)
# The runtime comes with rustup's standard library; only the flag is unstable.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=$CARGO_TARGET_DIR/asan
export PROPTEST_CASES=${PROPTEST_CASES:-64}
part 'AddressSanitizer' run_tests --target "$host" "${selection[@]}"
stage_end
