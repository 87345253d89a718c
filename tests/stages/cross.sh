#!/usr/bin/env bash
# Other targets: AArch64 and older x86 under qemu-user, wasm32 in node, bare-metal builds, lints of each.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"
cd "$repo"

step 'toolchain'
if ! toolchain=$("$repo/tests/tools/cross-toolchain.sh"); then
    fail 'no toolchain for other targets could be had'
fi
# Two compilers cannot read each other's libraries: one target directory each.
native_dir=$CARGO_TARGET_DIR
if [ "$(rustc -vV)" != "$(rustc "+$toolchain" -vV)" ]; then export CARGO_TARGET_DIR=$native_dir/cross-$toolchain; fi
export PROPTEST_CASES=${PROPTEST_CASES:-8}
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# Node 20 dies now and then (of ten runs of the longest test, one or two) when its garbage collector runs beside the program and
# the program's memory grows: "unreachable code" in MarkCompactCollector, or a segmentation fault.
export CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings --single-threaded-gc --no-incremental-marking $repo/tests/tools/wasi-run.mjs"
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS=-Ctarget-feature=+simd128
read -ra selection < <(kernel_selection)

# `max` has dotprod, i8mm, fp16 and bf16, `neoverse-n1` dotprod and fp16, `cortex-a72` plain ARMv8.0.
aarch64_levels() {
    case $1 in
    max) echo scalar,portable,neon,neon-dotprod,neon-i8mm ;;
    neoverse-n1) echo scalar,portable,neon,neon-dotprod ;;
    *) echo scalar,portable,neon ;;
    esac
}

aarch64_tests() {
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu $1 -L /usr/aarch64-linux-gnu" \
        KERNFORM_REQUIRE_ISA=$(aarch64_levels "$1") \
        run_tests "+$toolchain" --target aarch64-unknown-linux-gnu "${selection[@]}"
}

# Whole models: the golden cases and every way to run them. One CPU is enough, for it has every level.
aarch64_models() {
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu" \
        KERNFORM_REQUIRE_ISA=$(aarch64_levels max) \
        run_tests "+$toolchain" --target aarch64-unknown-linux-gnu -p kernform-model
}

# The program's bytes on AArch64 against those of this machine, for every 60th word of the test list.
# The profile `test` has the kernels compiled already.
aarch64_program() {
    cargo build -q --profile test -p kernform-cli &&
        cargo "+$toolchain" build -q --profile test --target aarch64-unknown-linux-gnu -p kernform-cli
}
digest() { awk -F'\t' 'NR % 60 == 1 { print $1 }' tests/g2p/test_words.txt | "$@" | sha256sum; }
same_bytes_on_aarch64() {
    local expected actual
    expected=$(digest "$native_dir/debug/kernform" --isa scalar pronounce --json --threads 1 --batch 1) || return 1
    echo "here, scalar, batch 1: $expected"
    actual=$(digest qemu-aarch64 -L /usr/aarch64-linux-gnu "$CARGO_TARGET_DIR/aarch64-unknown-linux-gnu/debug/kernform" \
        --isa "$1" pronounce --json --threads "$2" --batch "$3") || return 1
    echo "AArch64, $1, $2 threads, batch $3: $actual"
    [ "$actual" = "$expected" ]
}

# The kernels' tests as the native stage has built them, where the runner can choose among programs that are built.
run_tests_of_workspace() {
    local filter
    if command -v cargo-nextest >/dev/null; then
        filter=$(packages kernels | sed 's/.*/package(=&)/' | paste -sd'|')
        run_tests --workspace -E "$filter"
    else
        run_tests "${selection[@]}"
    fi
}

# The programs of the native stage on a CPU that has less.
x86_tests() {
    CARGO_TARGET_DIR=$native_dir CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="qemu-x86_64 -cpu $1" \
        KERNFORM_REQUIRE_ISA=$2 run_tests_of_workspace
}

wasm_tests() {
    KERNFORM_REQUIRE_ISA=scalar,portable,simd128 \
        cargo "+$toolchain" test --no-fail-fast --lib --tests --target wasm32-wasip1 "${selection[@]}"
}

# Each no_std crate alone for a target: without features and with `alloc`.
build_each() {
    local target=$1 name features broken=0 listed
    listed=$(packages lib) || return 1
    while read -r name features; do
        check "$name for $target" cargo "+$toolchain" build -q --lib --target "$target" -p "$name" --no-default-features || broken=1
        case " $features " in *' alloc '*)
            check "$name for $target with alloc" \
                cargo "+$toolchain" build -q --lib --target "$target" -p "$name" --no-default-features --features alloc || broken=1 ;;
        esac
    done <<<"$listed"
    return $broken
}

# Every kernel and the embedded model on bare metal: the output must be the one that examples/cortex-m promises, which the
# tests of `kernform` hold all fused levels of this machine to.
firmware() {
    local target=thumbv7em-none-eabihf
    (cd examples/cortex-m && CARGO_TARGET_DIR=$CARGO_TARGET_DIR/cortex-m cargo "+$toolchain" build -q --locked --release --target $target)
}
firmware_on() {
    timeout 120 qemu-system-arm -M "$1" -nographic -monitor none -serial none \
        -semihosting-config enable=on,target=native \
        -kernel "$CARGO_TARGET_DIR/cortex-m/thumbv7em-none-eabihf/release/kernform-cortex-m" </dev/null |
        diff examples/cortex-m/expected.txt -
}

bare=(thumbv7em-none-eabihf aarch64-unknown-none riscv32imac-unknown-none-elf wasm32-unknown-unknown)
mapfile -t libraries < <(packages lib | cut -d' ' -f1 | sed 's/^/-p/')

part 'AArch64 tests on max' aarch64_tests max
part 'AArch64 models' aarch64_models
part 'AArch64 program' check 'kernform for AArch64' aarch64_program
part 'AArch64 pronunciations, NEON' check 'bytes of neon in two threads, batch 64' same_bytes_on_aarch64 neon 2 64
part 'AArch64 pronunciations, scalar' check 'bytes of scalar in one thread, batch 7' same_bytes_on_aarch64 scalar 1 7
if [ "$(uname -m)" = x86_64 ]; then
    part 'x86 tests on Haswell (AVX2)' x86_tests Haswell scalar,portable,avx2
    part 'x86 tests on Nehalem (no AVX)' x86_tests Nehalem scalar,portable
else
    not_run "cross: x86 CPUs (the host is $(uname -m))"
fi
if command -v node >/dev/null || apt_need nodejs; then
    part 'wasm32 tests in node' wasm_tests
else
    not_run 'cross: wasm32 tests (no node)'
fi
if apt_need qemu-system-arm; then
    part 'firmware' check 'firmware for Cortex-M' firmware
    part 'firmware on Cortex-M4' check 'bits of the Cortex-M4F' firmware_on mps2-an386
    part 'firmware on Cortex-M7' check 'bits of the Cortex-M7F' firmware_on mps2-an500
else
    not_run 'cross: Cortex-M firmware (no qemu-system-arm)'
fi
for target in "${bare[@]}"; do
    part "builds for $target" build_each "$target"
    part "lints for $target" check "clippy for $target" \
        cargo "+$toolchain" clippy -q --lib --target "$target" "${libraries[@]}" --no-default-features -- -D warnings
done
for target in aarch64-unknown-linux-gnu wasm32-wasip1; do
    part "lints for $target" check "clippy for $target" \
        cargo "+$toolchain" clippy -q --lib --tests --target "$target" "${selection[@]}" -- -D warnings
done
# Last, for they run a part of what `max` has run.
for cpu in neoverse-n1 cortex-a72; do
    part "AArch64 tests on $cpu" aarch64_tests "$cpu"
done
stage_end
