"""Writes the small seed files of the fuzz targets to fuzz/seeds. Run by hand when a target is added."""

import json
import pathlib
import random
import struct

root = pathlib.Path(__file__).resolve().parents[2] / "fuzz" / "seeds"


def put(target, name, content):
    path = root / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def safetensors(header, data):
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


two = {
    "__metadata__": {"format": "pt"},
    "a": tensor("F32", [2, 3], 0, 24),
    "b": tensor("F16", [4], 24, 32),
}
put("safetensors", "two", safetensors(two, bytes(range(32))))
kinds = {"i": tensor("I64", [1], 0, 8), "m": tensor("BOOL", [2, 1], 8, 10), "h": tensor("BF16", [3], 10, 16)}
put("safetensors", "kinds", safetensors(kinds, b"\1" * 16))
put("safetensors", "empty", safetensors({}, b""))
put("safetensors", "zero-length", safetensors({"z": tensor("F32", [0, 7], 0, 0), "s": tensor("F32", [], 0, 4)}, b"\0\0\x80?"))
put("hf_config", "marian", json.dumps({
    "model_type": "marian", "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": 100,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128,
    "activation_function": "swish", "scale_embedding": True, "pad_token_id": 99, "eos_token_id": 0,
    "forced_eos_token_id": None, "dropout": 0.1, "architectures": ["MarianMTModel"],
}).encode())
put("hf_config", "odd", rb'{"a":-1.5e-300,"b":[[],{},"\ud83d\ude00\u0000"],"c":18446744073709551616,"d":null}')

# The kernels' targets take shapes from the first bytes and values from the rest: any bytes will do to begin with.
numbers = random.Random(1)
for target in ("attention", "gemm", "rows"):
    for size in (64, 400, 1500):
        put(target, str(size), numbers.randbytes(size))
