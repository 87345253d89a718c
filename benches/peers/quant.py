"""Alternates `kernform-bench compare --only quant` with ggml's product; see run-quant.sh. Prints medians and their ratio."""

import argparse
import json
import os
import statistics
import subprocess
import tempfile

ROUNDS = 5
ROWS = (1, 128)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("formats", nargs="+", help="FORMAT, or FORMAT:ROWS for one number of rows")
    parser.add_argument("--peer", required=True, help="the program ggml_product")
    parser.add_argument("--ours", default="target/release/kernform-bench")
    parser.add_argument("--core", default="0")
    return parser.parse_args()


def pinned(core, *command):
    done = subprocess.run(["taskset", "-c", core, *command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr[-500:]}")
    return done.stdout


def peer(args, name, rows):
    """Milliseconds of ggml's product at the median, and whether its weights are repacked."""
    fields = pinned(args.core, args.peer, name, str(rows), "4096", "4096", "2" if rows == 1 else "5").split()
    return float(fields[5]), fields[4]


def ours(args, name, rows):
    """Milliseconds of our product at the median, on this CPU's level, and of reading the weights alone."""
    case = f"{name},{rows} row" + ("s" if rows > 1 else "")
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        pinned(args.core, args.ours, "compare", "--only", "quant", "--case", case, "--rounds", "15",
               "--core", args.core, "--json", out.name)
        tables = json.load(open(out.name))["tables"]
    found = {t["name"]: 1e3 * t["median_s"] for table in tables for row in table["rows"]
             if row["case"] == case for t in row["timings"]}
    if not found:
        raise SystemExit(f"kernform-bench has no case {case!r}")
    read = found.pop("read", None)
    # Levels ascend; the last one is what this CPU is given when nobody asks for another.
    return list(found.values())[-1], read


def main():
    args = parse_arguments()
    os.environ.pop("KERNFORM_ISA", None)
    print("| format | rows | llama.cpp, ms | its weights | kernform, ms | ratio | reading the weights, ms | read / kernform |")
    print(f"|{' --- |' * 8}")
    for name, _, only in (text.partition(":") for text in args.formats):
        for rows in [int(only)] if only else ROWS:
            pairs = [(peer(args, name, rows), ours(args, name, rows)) for _ in range(ROUNDS)]
            theirs = statistics.median(p[0] for p, _ in pairs)
            mine = statistics.median(o[0] for _, o in pairs)
            ratio = statistics.median(p[0] / o[0] for p, o in pairs)
            read = ["", ""]
            if pairs[0][1][1] is not None:
                read = [f"{statistics.median(o[1] for _, o in pairs):.3f}", f"{statistics.median(o[1] / o[0] for _, o in pairs):.2f}"]
            cells = [name, str(rows), f"{theirs:.3f}", pairs[0][0][1], f"{mine:.3f}", f"{ratio:.2f}", *read]
            print(f"| {' | '.join(cells)} |", flush=True)


main()
