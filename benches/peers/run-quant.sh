#!/usr/bin/env bash
# Products with weights in block formats beside llama.cpp's, on one core, in turn.
# Gets the source package of llama-cpp-python, builds its ggml for the CPU and a small program around one product, builds
# our benches, and prints a table. What is there already is kept. The first run takes ten minutes.
# usage: benches/peers/run-quant.sh [FORMAT[:ROWS]…]     the formats, or some, with 1 or 128 rows or both
#        benches/peers/run-quant.sh build                makes what is needed and measures nothing
# KERNFORM_PEERS: where the peers are kept; KERNFORM_CORE: the core to measure on
set -euo pipefail
cd "$(dirname "$0")/../.."
. benches/peers/ggml.sh
core=${KERNFORM_CORE:-$(($(nproc) - 1))}
formats=("$@")
[ ${#formats[@]} -gt 0 ] || formats=(Q4_0 Q4_1 Q8_0 Q4_K Q5_K Q6_K IQ4_NL)

if [ ! -f "$ggml/build/src/libggml.so" ]; then build_ggml build -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON; fi
if [ benches/peers/ggml_product.cpp -nt "$ggml/ggml_product" ]; then
    c++ -O2 -I "$ggml/ggml/include" benches/peers/ggml_product.cpp -o "$ggml/ggml_product" \
        -L "$ggml/build/src" -lggml -lggml-cpu -lggml-base "-Wl,-rpath,$ggml/build/src"
fi
cargo build --release -p kernform-bench
if [ "${formats[*]}" = build ]; then exit; fi
exec python3 benches/peers/quant.py --peer "$ggml/ggml_product" --core "$core" "${formats[@]}"
