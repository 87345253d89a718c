#!/usr/bin/env bash
# Instructions a weight and row of products with weights in block formats on AArch64, kernform's beside ggml's, counted by
# QEMU: the same figures on every run (ggml's within one in 500: it reads clocks). Each count is that of some products less
# that of fewer, so what comes before and after them is left out; both sides quantise the rows each time.
# Needs aarch64-linux-gnu-gcc and -g++, qemu-aarch64, and Rust's aarch64-unknown-linux-gnu. What is made is kept.
# usage: benches/aarch64/run.sh [FORMAT…]
# KERNFORM_PEERS: where the peers are kept; KERNFORM_TOOLCHAIN: a toolchain that has the target, where the default one lacks it
set -euo pipefail
cd "$(dirname "$0")/../.."
. benches/peers/ggml.sh
formats=("$@")
[ ${#formats[@]} -gt 0 ] || formats=(Q4_0 Q8_0 Q4_K Q6_K)
# Level, what gcc calls it, and a CPU that has it.
levels=(neon:armv8-a:cortex-a72 neon-dotprod:armv8.2-a+dotprod:neoverse-n1 neon-i8mm:armv8.2-a+dotprod+i8mm:max)

target=aarch64-unknown-linux-gnu
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/aarch64
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
cargo ${KERNFORM_TOOLCHAIN:+"+$KERNFORM_TOOLCHAIN"} build --quiet --locked --release --target $target --manifest-path benches/aarch64/Cargo.toml
ours=$CARGO_TARGET_DIR/$target/release/kernform-count-aarch64
plugin=$CARGO_TARGET_DIR/count.so
cc -shared -fPIC -O2 benches/aarch64/count.c -o "$plugin"

for entry in "${levels[@]}"; do
    IFS=: read -r level arch _ <<<"$entry"
    build=aarch64-$level
    if [ ! -f "$ggml/$build/src/libggml.a" ]; then
        build_ggml "$build" -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF -DGGML_CPU_ARM_ARCH="$arch" \
            -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
            -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++
    fi
    if [ benches/peers/ggml_product.cpp -nt "$ggml/$build/ggml_product" ]; then
        aarch64-linux-gnu-g++ -O2 -I "$ggml/ggml/include" benches/peers/ggml_product.cpp -o "$ggml/$build/ggml_product" \
            -L "$ggml/$build/src" -lggml -lggml-cpu -lggml-base -static -pthread
    fi
done

# count CPU COMMAND…: sets `instructions` of the command, and `output`.
log=$CARGO_TARGET_DIR/count.log
count() {
    local cpu=$1
    shift
    output=$(env -i KERNFORM_ISA="${isa:-}" qemu-aarch64 -cpu "$cpu" -L /usr/aarch64-linux-gnu -plugin "$plugin" "$@" 2>"$log")
    instructions=$(awk '$1 == "instructions" { print $2 }' "$log")
}

# a_product CPU COMMAND…: sets `per`, the instructions of one product. TIMES in the command is how many it shall do.
a_product() {
    local few
    count "${@/#TIMES/1}"
    few=$instructions
    count "${@/#TIMES/5}"
    per=$(((instructions - few) / 4))
}

n=256 k=4096
echo "| format | rows | level | ggml's weights | ggml | kernform | ggml / kernform |"
echo "| --- | --- | --- | --- | --- | --- | --- |"
for format in "${formats[@]}"; do
    for rows in 1 128; do
        for entry in "${levels[@]}"; do
            IFS=: read -r level _ cpu <<<"$entry"
            a_product "$cpu" "$ggml/aarch64-$level/ggml_product" "$format" $rows $n $k TIMES 1
            theirs=$per kind=$(cut -d' ' -f5 <<<"$output")
            isa=$level a_product "$cpu" "$ours" "$format" $rows $n $k TIMES
            [ "$output" = "$level" ] || { echo "asked for $level, got $output" >&2; exit 1; }
            awk -v work=$((rows * n * k)) -v theirs="$theirs" -v ours="$per" -v head="| $format | $rows | $level | $kind |" \
                'BEGIN { printf "%s %.3f | %.3f | %.2f |\n", head, theirs / work, ours / work, theirs / ours }'
        done
    done
done
