# Shared by tests/run.sh, the stages and the tools; sourced, never run.
# shellcheck shell=bash

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${KERNFORM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernform}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$repo/target}

if { [ -t 1 ] || [ -n "${KERNFORM_COLOR:-}" ]; } && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' plain=$'\e[0m'
else
    bold='' red='' green='' yellow='' plain=''
fi

# A heading inside a stage.
step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }

fail() {
    printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2
    return 1
}

# Records something that this machine could not run. tests/run.sh lists it at the end.
not_run() {
    printf '%snot run:%s %s\n' "$yellow" "$plain" "$*"
    if [ -n "${KERNFORM_NOT_RUN:-}" ]; then printf '%s\n' "$*" >>"$KERNFORM_NOT_RUN"; fi
}

# A check without a test runner of its own: `check NAME COMMAND…`. It counts as one test, and its
# output is shown only when it fails.
check() {
    local name=$1 log
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        printf 'check %s ... ok\n' "$name"
        rm -f "$log"
    else
        cat "$log"
        rm -f "$log"
        printf 'check %s ... %sFAILED%s\n' "$name" "$red" "$plain"
        return 1
    fi
}

# True when every named Debian package is installed, or could be installed now.
apt_need() {
    local missing=() package
    for package; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
        printf 'missing packages: %s (no apt-get, or not root)\n' "${missing[*]}" >&2
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    if [ ! -e /var/lib/apt/lists/.kernform-updated ]; then
        apt-get update -qq && touch /var/lib/apt/lists/.kernform-updated
    fi
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The packages of the workspace, one name a line: `packages lib` (library crates), `packages all`.
packages() {
    cargo metadata --format-version 1 --no-deps --manifest-path "$repo/Cargo.toml" |
        python3 "$repo/tests/tools/packages.py" "$1"
}

# Runs the unit and integration tests of the packages that the arguments choose, with nextest where it is installed.
run_tests() {
    local toolchain=()
    case ${1:-} in +*) toolchain=("$1"); shift ;; esac
    if command -v cargo-nextest >/dev/null; then
        cargo "${toolchain[@]}" nextest run --no-tests=fail "$@"
    else
        cargo "${toolchain[@]}" test --no-fail-fast --lib --bins --tests "$@"
    fi
}

# `-p NAME` for each kernel crate, on one line.
kernel_selection() {
    local name
    for name in $(packages kernels); do printf -- '-p %s ' "$name"; done
    echo
}

# The levels that /proc/cpuinfo promises, with commas between them: a detection that misses one is a failure.
levels_of_this_machine() {
    local flags levels=scalar,portable
    flags=" $(grep -m1 -E '^(flags|Features)' /proc/cpuinfo | cut -d: -f2) "
    has() { local flag; for flag; do case $flags in *" $flag "*) ;; *) return 1 ;; esac done; }
    ! has asimd || levels+=,neon
    ! has asimd asimddp || levels+=,neon-dotprod
    ! has asimd asimddp i8mm || levels+=,neon-i8mm
    ! has avx2 fma f16c || levels+=,avx2
    ! has avx2 fma f16c avx_vnni || levels+=,avx-vnni
    ! has avx2 fma f16c avx512f avx512bw avx512vl avx512dq || levels+=,avx512
    ! has avx2 fma f16c avx512f avx512bw avx512vl avx512dq avx512_vnni || levels+=,avx512-vnni
    echo "$levels"
}

# Runs one part of a stage; a failure is kept for `stage_end`, and the parts after it still run.
# The command runs where `set -e` has no effect: a function given here chains its commands with &&.
# KERNFORM_DEADLINE (seconds since 1970) is when no further part begins; those are listed as not run.
failures=()
part() {
    local name=$1
    shift
    step "$name"
    if [ -n "${KERNFORM_DEADLINE:-}" ] && [ "$(date +%s)" -ge "$KERNFORM_DEADLINE" ]; then
        not_run "$name: the time allowed was over"
        return
    fi
    if ! "$@"; then
        failures+=("$name")
        printf '%sFAILED:%s %s\n' "$red" "$plain" "$name"
    fi
}

stage_end() {
    if [ ${#failures[@]} -gt 0 ]; then
        printf '\n%sfailed:%s\n' "$red" "$plain"
        printf '  %s\n' "${failures[@]}"
        exit 1
    fi
}

# Builds the unit and integration tests that the arguments choose and prints the paths of their programs.
# Cargo's messages go to stderr; a failed build fails the caller's pipeline.
test_programs() {
    cargo test --no-run --lib --bins --tests --message-format=json-render-diagnostics "$@" |
        python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("profile", {}).get("test") and message.get("executable"):
        print(message["executable"])'
}
