#!/usr/bin/env python3
"""PyTorch's functions of rows, timed on request.

Says its version on the first line. Then reads lines "FUNCTION ROWS WIDTH REPEATS" and answers each with the seconds
that one run takes, or with what is wrong. All results go to tensors that exist already, on one thread.
"""

import sys
import time

import torch

torch.set_num_threads(1)
aten = torch.ops.aten


def prepare(function, rows, width):
    x = (torch.arange(rows * width) * 7919 % 1009).float().reshape(rows, width) / 1009 * 8 - 4
    out, residual = torch.empty_like(x), torch.zeros_like(x)
    gamma, beta = torch.full((width,), 1.5), torch.full((width,), 0.5)
    mean, deviation = torch.empty(rows, 1), torch.empty(rows, 1)

    def layer_norm(x):
        aten.native_layer_norm.out(x, [width], gamma, beta, 1e-5, out0=out, out1=mean, out2=deviation)

    return {
        "exp": lambda: torch.exp(x, out=out),
        "log": lambda: torch.log(x, out=out),
        "tanh": lambda: torch.tanh(x, out=out),
        "erf": lambda: torch.erf(x, out=out),
        "sigmoid": lambda: torch.sigmoid(x, out=out),
        "gelu_erf": lambda: aten.gelu.out(x, approximate="none", out=out),
        "gelu_tanh": lambda: aten.gelu.out(x, approximate="tanh", out=out),
        "silu": lambda: aten.silu.out(x, out=out),
        "relu": lambda: aten.relu.out(x, out=out),
        "add": lambda: torch.add(x, residual, out=residual),
        "softmax": lambda: torch.softmax(x, -1, out=out),
        "log_softmax": lambda: aten._log_softmax.out(x, -1, False, out=out),
        "layer_norm": lambda: layer_norm(x),
        "rms_norm": lambda: torch.nn.functional.rms_norm(x, [width], gamma, 1e-5),
        "add_layer_norm": lambda: layer_norm(x.add_(residual)),
        "add_rms_norm": lambda: torch.nn.functional.rms_norm(x.add_(residual), [width], gamma, 1e-5),
    }[function]


def main():
    print(f"PyTorch {torch.__version__}", flush=True)
    prepared = {}
    with torch.inference_mode():
        for line in sys.stdin:
            function, rows, width, repeats = line.split()
            try:
                case = function, int(rows), int(width)
                if case not in prepared:
                    prepared[case] = prepare(*case)
                run = prepared[case]
                start = time.perf_counter()
                for _ in range(int(repeats)):
                    run()
                print((time.perf_counter() - start) / int(repeats), flush=True)
            except Exception as error:  # the other side decides what to do without this peer
                print(repr(error).replace("\n", " "), flush=True)


main()
