#!/usr/bin/env bash
# The tests of the AVX-512 level: on this CPU if it has it, on an emulated one otherwise.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"
cd "$repo"

export KERNFORM_REQUIRE_ISA=avx512
read -ra selection < <(kernel_selection)

if [ "$(uname -m)" != x86_64 ]; then
    not_run "avx512: the host is $(uname -m)"
    exit
fi
case ,$(levels_of_this_machine), in
*,avx512,*)
    # With the integer levels that this CPU promises; the tests' names begin with `avx512` there too.
    KERNFORM_REQUIRE_ISA=$(levels_of_this_machine)
    run_tests "${selection[@]}" avx512
    exit ;;
esac

export PROPTEST_CASES=${PROPTEST_CASES:-4}
step 'test programs'
# Those of the native stage: another selection would have other features, and be compiled again.
built=$(test_programs --workspace)
mapfile -t programs <<<"$built"
# Only those that have such tests.
chosen=()
for program in "${programs[@]}"; do
    if "$program" --list avx512 2>/dev/null | grep -q ': test$'; then chosen+=("$program"); fi
done
[ ${#chosen[@]} -gt 0 ] || fail 'no test program has AVX-512 tests'

step "${#chosen[@]} programs on an emulated CPU with AVX-512"
not_run 'avx512: the error bound of gemm and whole models, which take too long in the emulator'
# Two machines at a time.
run=$repo/tests/tools/avx512-emulated.sh
first=() second=()
for program in "${chosen[@]}"; do
    if [ ${#first[@]} -le ${#second[@]} ]; then first+=("$program"); else second+=("$program"); fi
done
status=0 other=0
log=$(mktemp)
if [ ${#second[@]} -gt 0 ]; then
    "$run" --all "${second[@]}" -- avx512 --skip stays_within_its_bound --skip every_way_gives --test-threads=1 >"$log" 2>&1 &
    machine=$!
fi
"$run" --all "${first[@]}" -- avx512 --skip stays_within_its_bound --skip every_way_gives --test-threads=1 || status=$?
if [ ${#second[@]} -gt 0 ]; then
    wait "$machine" || other=$?
    cat "$log"
fi
rm -f "$log"
[ "$status" = 0 ] || exit "$status"
exit "$other"
