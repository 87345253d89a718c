# ggml's source and what builds it, for the scripts beside; sourced, never run. What is there already is kept.
# Sets `cache`, the peers' virtual environment (KERNFORM_PEERS), and `ggml`, the folder of the source and its builds.
# shellcheck shell=bash
cache=${KERNFORM_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/kernform/peers}
version=0.3.36 # of the package llama-cpp-python, whose source has llama.cpp in it
ggml=$cache/ggml-$version

if [ ! -x "$cache/bin/python" ]; then python3 -m venv "$cache"; fi
if [ ! -x "$cache/bin/ninja" ] || [ ! -x "$cache/bin/cmake" ]; then "$cache/bin/pip" install --quiet cmake ninja; fi
if [ ! -f "$ggml/ggml/CMakeLists.txt" ]; then
    mkdir -p "$ggml"
    "$cache/bin/pip" download --quiet --no-deps --no-binary llama-cpp-python --dest "$ggml" "llama-cpp-python==$version"
    tar -xzf "$ggml/llama_cpp_python-$version.tar.gz" -C "$ggml" --strip-components=3 "llama_cpp_python-$version/vendor/llama.cpp/ggml"
    rm "$ggml/llama_cpp_python-$version.tar.gz"
    # The package leaves this template out, and ggml alone does not configure without it.
    touch "$ggml/ggml/ggml.pc.in"
fi

# build_ggml FOLDER OPTION…: builds ggml for one CPU in that folder beside its source, with the kernels that llama.cpp's
# own build has: those of llamafile are off where ggml is built alone.
build_ggml() {
    local build=$ggml/$1
    shift
    "$cache/bin/cmake" -G Ninja -DCMAKE_MAKE_PROGRAM="$cache/bin/ninja" -S "$ggml/ggml" -B "$build" \
        -DCMAKE_BUILD_TYPE=Release -DGGML_OPENMP=OFF -DGGML_LLAMAFILE=ON -DGGML_BUILD_TESTS=OFF -DGGML_BUILD_EXAMPLES=OFF \
        "$@" >"$build.log"
    "$cache/bin/ninja" -C "$build" >>"$build.log"
}
