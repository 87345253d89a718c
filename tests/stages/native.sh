#!/usr/bin/env bash
# Everything that this machine can check about itself.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"
cd "$repo"

# Each library crate alone: without features, with each, with all. Features of crates that are built together are
# unified, so only a build of its own shows that a crate asks for what it needs.
feature_checks() {
    local name features feature broken=0 listed
    listed=$(packages lib) || return 1
    while read -r name features; do
        check "$name without features" cargo check -q -p "$name" --no-default-features || broken=1
        for feature in $features; do
            check "$name with $feature" cargo check -q -p "$name" --no-default-features --features "$feature" || broken=1
        done
        check "$name with all features" cargo check -q -p "$name" --all-features || broken=1
    done <<<"$listed"
    return $broken
}

export KERNFORM_REQUIRE_ISA
KERNFORM_REQUIRE_ISA=$(levels_of_this_machine)
echo "levels that this CPU must offer: $KERNFORM_REQUIRE_ISA"

part 'hygiene' python3 tests/tools/hygiene.py
part 'format' check 'cargo fmt' cargo fmt --check
# The peers that the benches are compared with are big and other people's: only the benches' own code is looked at.
part 'lints' check 'cargo clippy' cargo clippy -q --workspace --exclude kernform-bench --all-targets --all-features -- -D warnings
part 'lints of the benches' check 'cargo clippy of the benches' cargo clippy -q -p kernform-bench --all-targets -- -D warnings
part 'documentation' check 'cargo doc' env RUSTDOCFLAGS='-D warnings' cargo doc -q --workspace --exclude kernform-bench --no-deps --all-features
# The program's own test of the block formats is left out of the program by default, not of the tests.
part 'tests' run_tests --workspace --features kernform-cli/quant-selftest
part 'doctests' cargo test -q --workspace --doc
part 'features' feature_checks
stage_end
