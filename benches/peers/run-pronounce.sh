#!/usr/bin/env bash
# kernform pronounce beside transformers.generate: makes a virtual environment for the peer, builds, runs pronounce.py.
# usage: benches/peers/run-pronounce.sh [options of pronounce.py]
set -euo pipefail
cd "$(dirname "$0")/../.."
environment=${KERNFORM_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/kernform/peers}
if [ ! -x "$environment/bin/python" ]; then python3 -m venv "$environment"; fi
if ! "$environment/bin/python" -c 'import torch, transformers, safetensors' 2>/dev/null; then
    "$environment/bin/pip" install --quiet torch transformers safetensors
fi
cargo build --release -p kernform-cli
exec "$environment/bin/python" benches/peers/pronounce.py "$@"
