#!/usr/bin/env bash
# Runs the tests: tests/run.sh [STAGE…]
#
#   native      format, lints, documentation, tests on every level of this CPU, doctests, features, hygiene
#   avx512      the AVX-512 tests: on this CPU if it can, in an emulator otherwise
#   cross       AArch64, older x86, wasm32 and bare-metal targets
#   fuzz        each fuzz target for a bounded time
#   models      golden cases and the command line
#   sanitizers  the kernel crates under AddressSanitizer (only when named)
#
# Without an argument: all stages but the last. A stage installs what it lacks where it can (Debian packages as root),
# and the table at the end says what was not run and why. Logs: target/tests/STAGE.log.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/tools/lib.sh"
cd "$repo"

stages=("$@")
if [ ${#stages[@]} -eq 0 ]; then
    for stage in native models fuzz avx512 cross; do
        if [ -e "tests/stages/$stage.sh" ]; then stages+=("$stage"); fi
    done
fi
for stage in "${stages[@]}"; do
    if [ ! -e "tests/stages/$stage.sh" ]; then
        fail "no stage $stage; there are: $(cd tests/stages && echo *.sh | sed 's/\.sh//g')" || exit 2
    fi
done

logs=$CARGO_TARGET_DIR/tests
mkdir -p "$logs"
export KERNFORM_NOT_RUN=$logs/not-run.txt
: >"$KERNFORM_NOT_RUN"
if [ -t 1 ]; then export KERNFORM_COLOR=1 CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-always}; fi

table=() passed=0 failed=0 bad=0
for stage in "${stages[@]}"; do
    printf '%s#### %s%s\n' "$bold" "$stage" "$plain"
    began=$SECONDS
    noted=$(wc -l <"$KERNFORM_NOT_RUN")
    result=ok
    bash "tests/stages/$stage.sh" </dev/null 2>&1 | tee "$logs/$stage.log" || result=FAILED
    read -r p f < <(python3 tests/tools/count.py "$logs/$stage.log")
    # A stage that failed before or beside its tests (a build, a lint) counts as one failure.
    if [ "$result" = FAILED ] && [ "$f" -eq 0 ]; then f=1; fi
    if [ "$result" = ok ] && [ "$f" -ne 0 ]; then result=FAILED; fi
    # Nor may a stage pass that ran nothing and gave no reason.
    if [ "$result" = ok ] && [ "$p" -eq 0 ]; then
        if [ "$(wc -l <"$KERNFORM_NOT_RUN")" -gt "$noted" ]; then result='not run'; else result=FAILED f=1; fi
    fi
    if [ "$result" = FAILED ]; then bad=1; fi
    passed=$((passed + p)) failed=$((failed + f))
    table+=("$(printf '%-11s %-7s %6d %6d %5d s' "$stage" "$result" "$p" "$f" $((SECONDS - began)))")
done

printf '\n%s%-11s %-7s %6s %6s %7s%s\n' "$bold" stage result passed failed time "$plain"
for row in "${table[@]}"; do
    case $row in
    *FAILED*) printf '%s%s%s\n' "$red" "$row" "$plain" ;;
    *) printf '%s\n' "$row" ;;
    esac
done
if [ -s "$KERNFORM_NOT_RUN" ]; then
    printf '\nnot run:\n'
    sort -u "$KERNFORM_NOT_RUN" | sed 's/^/  /'
fi
printf '\n%d passed, %d failed\n' "$passed" "$failed"
exit "$bad"
