"""kernform's attention beside PyTorch's scaled_dot_product_attention, alternating on one core.

usage: attention.py [--binary target/release/kernform-bench] [--case TEXT] [--rounds 7] [--core 1]

One thread each. In every round PyTorch is timed in this process and kernform by a run of its bench program, which pins itself
to the same core; each side gives the median of its samples of that round, and the table shows the medians of these and of
the ratios of the pairs. PyTorch gets contiguous [batch, heads, tokens, head_dim] tensors; kernform the same layout
("head-major") and, in a column of its own, rows of all heads as a projection leaves them ("token-major"). Needs torch; the
script benches/peers/run-attention.sh makes a virtual environment that has it.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROWS = [(1, 12, 512, 32, False), (8, 12, 128, 32, False), (1, 8, 2048, 64, True)]
STEPS = [(32, 8, 4096, 128)]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/kernform-bench"))
    parser.add_argument("--case", default="", help="only cases whose name begins so")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--core", type=int, default=1)
    return parser.parse_args()


def median_seconds(run, seconds=0.25):
    run()
    samples, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        run()
        samples.append(time.perf_counter() - begin)
    return statistics.median(samples)


def ours(args, case):
    """Seconds of each contestant of one case."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [args.binary, "compare", "--only", "attention", "--case", case, "--rounds", "25", "--core", str(args.core), "--json", file.name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"kernform-bench failed: {done.stderr}")
        tables = json.load(open(file.name))["tables"]
    rows = [row for table in tables for row in table["rows"] if row["case"] == case]
    if len(rows) != 1:
        sys.exit(f"kernform-bench has no case {case!r}")
    return {timing["name"]: timing["median_s"] for timing in rows[0]["timings"]}


def main():
    args = parse_arguments()
    os.sched_setaffinity(0, {args.core})
    import torch
    torch.set_num_threads(1)
    attention = torch.nn.functional.scaled_dot_product_attention
    cases = []
    for batch, heads, tokens, head_dim, causal in ROWS:
        q, k, v = (torch.rand(batch, heads, tokens, head_dim) * 4 - 2 for _ in range(3))
        name = f"{batch},{heads},{tokens},{head_dim}" + (" causal" if causal else "")
        cases.append((name, ("head-major", "token-major"), lambda q=q, k=k, v=v, causal=causal: attention(q, k, v, is_causal=causal)))
    for heads, kv_heads, keys, head_dim in STEPS:
        q = torch.rand(1, heads, 1, head_dim)
        k, v = (torch.rand(1, kv_heads, keys, head_dim) for _ in range(2))
        name = f"1,{heads}/{kv_heads},{keys},{head_dim}"
        cases.append((name, ("F32", "F16", "Int8"), lambda q=q, k=k, v=v: attention(q, k, v, enable_gqa=True)))
    print(f"PyTorch {torch.__version__.split('+')[0]}, one thread; milliseconds, medians of {args.rounds} alternating rounds\n")
    print("| case | PyTorch | kernform | ratio |\n| --- | --- | --- | --- |")
    for name, kinds, run in (case for case in cases if case[0].startswith(args.case)):
        pairs = []
        for _ in range(args.rounds):
            with torch.inference_mode():
                theirs = median_seconds(run)
            pairs.append((theirs, ours(args, name)))
        for kind in kinds:
            theirs = statistics.median(t for t, _ in pairs)
            mine = statistics.median(o[kind] for _, o in pairs)
            ratio = statistics.median(t / o[kind] for t, o in pairs)
            print(f"| {name}, {kind} | {theirs * 1e3:.2f} | {mine * 1e3:.2f} | {ratio:.2f} x |", flush=True)


main()
