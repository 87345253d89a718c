#!/usr/bin/env python3
"""oneDNN's int8 product as PyTorch calls it, timed on request: unsigned by signed bytes to floats, weights packed.

Says its version on the first line. Then reads lines "M N K REPEATS" and answers each with the seconds that one run
takes, or with what is wrong. On one thread.
"""

import sys
import time

import torch

torch.set_num_threads(1)


def prepare(m, n, k):
    x = (torch.arange(m * k) * 7919 % 256).to(torch.uint8).reshape(m, k)
    weight = ((torch.arange(n * k) * 7919 % 255) - 127).to(torch.int8).reshape(n, k)
    packed = torch.ops.onednn.qlinear_prepack(weight, [m, k])
    scales, zeros = torch.full((n,), 0.01), torch.zeros(n, dtype=torch.int64)

    def run():
        torch.ops.onednn.qlinear_pointwise(
            x, 0.02, 128, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )

    return run


def main():
    print(f"oneDNN in PyTorch {torch.__version__}", flush=True)
    prepared = {}
    with torch.inference_mode():
        for line in sys.stdin:
            m, n, k, repeats = (int(field) for field in line.split())
            try:
                if (m, n, k) not in prepared:
                    prepared = {(m, n, k): prepare(m, n, k)}
                run = prepared[m, n, k]
                start = time.perf_counter()
                for _ in range(repeats):
                    run()
                print((time.perf_counter() - start) / repeats, flush=True)
            except Exception as error:  # the other side decides what to do without this peer
                print(repr(error).replace("\n", " "), flush=True)


main()
