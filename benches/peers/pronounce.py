"""kernform pronounce beside transformers.generate, alternating on one core.

usage: pronounce.py [--binary target/release/kernform] [--rounds 3] [--words N] [--cores 0,1 (pinned: the first)]

Both read the same words (tests/g2p/test_words.txt) with the same weights (crates/model/assets/g2p). PyTorch runs with one
thread at the best of several batch sizes; its time is that of `generate` alone, with the model loaded and warm. kernform's
time is that of the whole process, start-up and printing included. Needs torch, transformers and safetensors; the script
benches/peers/run-pronounce.sh makes a virtual environment that has them.
"""
import argparse, json, os, statistics, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "crates/model/assets/g2p")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/kernform"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--words", type=int, default=2048, help="greedy and beam: so many words, spread over the test list")
    parser.add_argument("--single", type=int, default=50, help="one by one: so many words")
    parser.add_argument("--core", type=int, default=1)
    return parser.parse_args()


class Peer:
    """transformers.generate in float32 with one thread."""

    def __init__(self):
        import torch, transformers
        transformers.logging.set_verbosity_error()
        torch.set_num_threads(1)
        self.torch = torch
        self.name = f"PyTorch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
        self.model = transformers.MarianMTModel.from_pretrained(MODEL, dtype=torch.float32).eval()
        self.ids = json.load(open(os.path.join(MODEL, "vocab.json")))
        self.tokens = {v: k for k, v in self.ids.items()}

    def batch(self, words, beams):
        torch = self.torch
        rows = [[self.ids[c] for c in word] + [1] for word in words]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        with torch.inference_mode():
            out = self.model.generate(input_ids=ids, attention_mask=mask, num_beams=beams, do_sample=False, max_new_tokens=48)
        return [" ".join(self.tokens[t] for t in row if t > 31) for row in out.tolist()]

    def seconds(self, words, beams, size):
        # By length, so that padding costs the peer as little as it can.
        words = sorted(words, key=len)
        start = time.perf_counter()
        for i in range(0, len(words), size):
            self.batch(words[i:i + size], beams)
        return time.perf_counter() - start


def kernform(binary, words, *options):
    start = time.perf_counter()
    done = subprocess.run([binary, "pronounce", "--threads", "1", *options], input="\n".join(words) + "\n", text=True, capture_output=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"kernform failed: {done.stderr}")
    if done.stdout.count("\n") < len(words):
        sys.exit("kernform printed fewer lines than it was given words")
    return seconds


def compare(title, count, peer, ours, rounds):
    """Alternates the two; prints words per second at the median and the median of the ratios of the pairs."""
    pairs = [(peer(), ours()) for _ in range(rounds)]
    theirs, mine = (statistics.median(side) for side in zip(*pairs))
    ratio = statistics.median(p / o for p, o in pairs)
    print(f"| {title} | {count / theirs:.0f} | {count / mine:.0f} | {ratio:.2f} x |", flush=True)


def main():
    args = parse_arguments()
    os.sched_setaffinity(0, {args.core})
    listed = [line.split("\t")[0] for line in open(os.path.join(ROOT, "tests/g2p/test_words.txt"))]
    step = max(1, len(listed) // args.words)
    words = listed[::step][:args.words]
    peer = Peer()
    peer.batch(words[:8], 1)
    sizes = {beams: min((64, 128, 256, 512), key=lambda size: peer.seconds(words[:1024], beams, size)) for beams in (1, 4)}
    print(f"{len(words)} words, one core, {peer.name}; best batch sizes {sizes[1]} (greedy) and {sizes[4]} (beam 4)\n")
    print("| words per second | PyTorch | kernform | ratio |\n| --- | --- | --- | --- |")
    compare("greedy", len(words), lambda: peer.seconds(words, 1, sizes[1]), lambda: kernform(args.binary, words), args.rounds)
    compare("beam 4", len(words), lambda: peer.seconds(words, 4, sizes[4]), lambda: kernform(args.binary, words, "--beam", "4"), args.rounds)
    single = words[:: max(1, len(words) // args.single)][:args.single]
    compare("greedy, one word at a time", len(single), lambda: peer.seconds(single, 1, 1),
            lambda: kernform(args.binary, single, "--batch", "1"), args.rounds)


main()
