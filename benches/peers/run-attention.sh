#!/usr/bin/env bash
# kernform's attention beside PyTorch's: makes a virtual environment for the peer, builds, runs attention.py.
# usage: benches/peers/run-attention.sh [options of attention.py]
set -euo pipefail
cd "$(dirname "$0")/../.."
environment=${KERNFORM_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/kernform/peers}
if [ ! -x "$environment/bin/python" ]; then python3 -m venv "$environment"; fi
if ! "$environment/bin/python" -c 'import torch' 2>/dev/null; then "$environment/bin/pip" install --quiet torch numpy; fi
cargo build --release -p kernform-bench
exec "$environment/bin/python" benches/peers/attention.py "$@"
