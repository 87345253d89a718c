#!/usr/bin/env bash
# all-MiniLM-L6-v2 in kernform beside OpenVINO, ONNX Runtime, PyTorch and CTranslate2, alternating on one core in one run
# (or on several, without being pinned):
# fetches the model, makes a virtual environment for the peers, builds, and prints Markdown tables with ratios.
# usage: benches/peers/run-minilm.sh [options of kernform-bench compare: --rounds N, --core N, --case TEXT, --threads N]
#        benches/peers/run-minilm.sh check     the cosine to PyTorch on 200 sentences of the Python manual
set -euo pipefail
cd "$(dirname "$0")/../.."
environment=${KERNFORM_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/kernform/peers}
if [ ! -x "$environment/bin/python" ]; then python3 -m venv "$environment"; fi
if ! "$environment/bin/python" -c 'import torch, transformers, onnx, onnxruntime, openvino, ctranslate2' 2>/dev/null; then
    "$environment/bin/pip" install --quiet torch transformers safetensors numpy onnx onnxruntime openvino ctranslate2
fi
tools/fetch-models minilm
if [ "${1:-}" = check ]; then
    cargo build --release -p kernform-cli
    exec "$environment/bin/python" tests/minilm/make_reference.py check "$(tools/fetch-models --path minilm)" \
        target/release/kernform
fi
cargo build --release -p kernform-bench
exec target/release/kernform-bench compare --only minilm "$@"
