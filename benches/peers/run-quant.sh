#!/usr/bin/env bash
# Products with weights in block formats beside llama.cpp's, on one core, in turn.
# Gets the source package of llama-cpp-python, builds its ggml for the CPU and a small program around one product, builds
# our benches, and prints a table. What is there already is kept. The first run takes ten minutes.
# usage: benches/peers/run-quant.sh [FORMAT…]      KERNFORM_PEERS: where the peers are kept
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${KERNFORM_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/kernform/peers}
version=0.3.36
ggml=$cache/ggml-$version
core=${KERNFORM_CORE:-$(($(nproc) - 1))}
formats=("$@")
[ ${#formats[@]} -gt 0 ] || formats=(Q4_0 Q4_1 Q8_0 Q4_K Q5_K Q6_K IQ4_NL)

if [ ! -x "$cache/bin/python" ]; then python3 -m venv "$cache"; fi
if [ ! -x "$cache/bin/ninja" ] || [ ! -x "$cache/bin/cmake" ]; then "$cache/bin/pip" install --quiet cmake ninja; fi
if [ ! -f "$ggml/build/src/libggml.so" ]; then
    mkdir -p "$ggml"
    "$cache/bin/pip" download --quiet --no-deps --no-binary llama-cpp-python --dest "$ggml" "llama-cpp-python==$version"
    tar -xzf "$ggml/llama_cpp_python-$version.tar.gz" -C "$ggml" --strip-components=3 "llama_cpp_python-$version/vendor/llama.cpp/ggml"
    # The package leaves this template out, and ggml alone does not configure without it.
    touch "$ggml/ggml/ggml.pc.in"
    "$cache/bin/cmake" -G Ninja -DCMAKE_MAKE_PROGRAM="$cache/bin/ninja" -S "$ggml/ggml" -B "$ggml/build" \
        -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON -DGGML_OPENMP=OFF \
        -DGGML_BUILD_TESTS=OFF -DGGML_BUILD_EXAMPLES=OFF >"$ggml/build.log"
    "$cache/bin/ninja" -C "$ggml/build" >>"$ggml/build.log"
fi
if [ benches/peers/ggml_product.cpp -nt "$ggml/ggml_product" ]; then
    c++ -O2 -I "$ggml/ggml/include" benches/peers/ggml_product.cpp -o "$ggml/ggml_product" \
        -L "$ggml/build/src" -lggml -lggml-cpu -lggml-base "-Wl,-rpath,$ggml/build/src"
fi
cargo build --release -p kernform-bench
exec python3 benches/peers/quant.py --peer "$ggml/ggml_product" --core "$core" "${formats[@]}"
