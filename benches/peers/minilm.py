#!/usr/bin/env python3
"""all-MiniLM-L6-v2 in other engines, timed on request.

usage: minilm.py MODEL_DIR CACHE_DIR THREADS [ENGINE…]

Says what is there on the first line: "READY ENGINE=VERSION …" and, for those that cannot run, "missing:ENGINE=WHY". Then
reads lines "ENGINE BATCH TOKENS REPEATS" (token ids of full length), or "ENGINE mixed SIZE REPEATS" (the batch of
CACHE_DIR/mixed.json, padded, in batches of SIZE sentences that were sorted by length), and answers each with the seconds of
one run, or with what is wrong. The time is that of the forward pass: token ids in, last states out.

With several threads, engines on OpenMP run in a process of their own, whose threads are bound to a core each: they are up to
twice as fast so. OpenVINO binds its threads itself, and those of ONNX Runtime are slower where the process is bound.
"""

import json
import os
import subprocess
import sys
import time
import warnings

warnings.filterwarnings("ignore")
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
MODEL, CACHE, THREADS = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))

import numpy as np

WANTED = sys.argv[4:] or ["pytorch", "onnxruntime", "openvino", "ctranslate2", "ctranslate2-int8"]


def torch_model():
    import torch, transformers
    torch.set_num_threads(THREADS)
    config = transformers.AutoConfig.from_pretrained(MODEL)
    return torch, transformers.BertModel.from_pretrained(MODEL, config=config, add_pooling_layer=False).eval()


def onnx_path():
    path = os.path.join(CACHE, "minilm.onnx")
    if not os.path.exists(path):
        torch, model = torch_model()

        model.requires_grad_(False)

        class States(torch.nn.Module):
            def forward(self, ids, mask, types):
                return model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

        ids = torch.ones(2, 8, dtype=torch.long)
        model.config._attn_implementation = "eager"
        axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask", "token_type_ids", "states")}
        partial = path + ".partial"
        torch.onnx.export(States(), (ids, ids, ids * 0), partial, dynamo=False, opset_version=17, dynamic_axes=axes,
                          input_names=["input_ids", "attention_mask", "token_type_ids"], output_names=["states"])
        os.replace(partial, path)
    return path


class PyTorch:
    def __init__(self):
        self.torch, self.model = torch_model()
        self.version = self.torch.__version__

    def prepare(self, ids, mask):
        ids, mask = self.torch.tensor(ids), self.torch.tensor(mask)
        return lambda: self.model(input_ids=ids, attention_mask=mask).last_hidden_state

    def run(self, job):
        with self.torch.inference_mode():
            return job()


class OnnxRuntime:
    def __init__(self):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        self.session = onnxruntime.InferenceSession(onnx_path(), options, providers=["CPUExecutionProvider"])
        self.version = onnxruntime.__version__

    def prepare(self, ids, mask):
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
        return lambda: self.session.run(["states"], feed)[0]

    def run(self, job):
        return job()


class OpenVino:
    def __init__(self):
        import openvino
        core = openvino.Core()
        properties = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self.request = core.compile_model(core.read_model(onnx_path()), "CPU", properties).create_infer_request()
        self.version = openvino.__version__.split("-")[0]

    def prepare(self, ids, mask):
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
        return lambda: self.request.infer(feed, share_inputs=True, share_outputs=True)[0]

    def run(self, job):
        return job()


class CTranslate2:
    def __init__(self, kind="float32"):
        import ctranslate2
        path = os.path.join(CACHE, "minilm-ctranslate2")
        if not os.path.exists(os.path.join(path, "model.bin")):
            ctranslate2.converters.TransformersConverter(MODEL).convert(path, force=True)
        self.encoder = ctranslate2.Encoder(path, device="cpu", compute_type=kind, intra_threads=THREADS, inter_threads=1)
        self.storage, self.version = ctranslate2.StorageView, ctranslate2.__version__

    def prepare(self, ids, mask):
        ids, lengths = self.storage.from_array(ids.astype(np.int32)), self.storage.from_array(mask.sum(1).astype(np.int32))
        return lambda: np.array(self.encoder.forward_batch(ids, lengths=lengths).last_hidden_state)

    def run(self, job):
        return job()


ENGINES = {
    "pytorch": PyTorch,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "ctranslate2": CTranslate2,
    "ctranslate2-int8": lambda: CTranslate2("int8"),
}


def full(batch, tokens):
    ids = (np.arange(batch * tokens, dtype=np.int64) * 7919 % 20000 + 1000).reshape(batch, tokens)
    return [(ids, np.ones_like(ids))]


def mixed(size):
    rows = sorted(json.load(open(os.path.join(CACHE, "mixed.json"))), key=len)
    batches = []
    for first in range(0, len(rows), size):
        part = rows[first:first + size]
        longest = max(map(len, part))
        ids = np.array([row + [0] * (longest - len(row)) for row in part], dtype=np.int64)
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in part], dtype=np.int64)
        batches.append((ids, mask))
    return batches


OPENMP = ["pytorch", "ctranslate2", "ctranslate2-int8"]


def bound(names):
    """This script for some of the engines, with the threads of OpenMP bound to cores."""
    command = [sys.executable, __file__, MODEL, CACHE, str(THREADS), *names]
    environment = {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores", **os.environ}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main():
    os.makedirs(CACHE, exist_ok=True)
    engines, said, elsewhere = {}, [], []
    if THREADS > 1 and not set(WANTED) <= set(OPENMP):
        elsewhere = [name for name in WANTED if name in OPENMP]
    other = bound(elsewhere) if elsewhere else None
    if other:
        said += other.stdout.readline().split()[1:]
    for name in WANTED:
        if name in elsewhere:
            continue
        try:
            engines[name] = ENGINES[name]()
            said.append(f"{name}={engines[name].version}")
        except Exception as error:
            said.append(f"missing:{name}={type(error).__name__}:{str(error).split(chr(10))[0][:120]}".replace(" ", "_"))
    print("READY", *said, flush=True)
    prepared = {}
    for line in sys.stdin:
        try:
            name, batch, tokens, repeats = line.split()
            if name in elsewhere:
                print(line, end="", file=other.stdin, flush=True)
                print(other.stdout.readline().strip(), flush=True)
                continue
            engine, key = engines[name], (name, batch, tokens)
            if key not in prepared:
                batches = mixed(int(tokens)) if batch == "mixed" else full(int(batch), int(tokens))
                prepared[key] = [engine.prepare(*part) for part in batches]
            start = time.perf_counter()
            for _ in range(int(repeats)):
                for job in prepared[key]:
                    engine.run(job)
            print((time.perf_counter() - start) / int(repeats), flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)


main()
