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
for target in ("attention", "gemm", "rows", "int8", "quant"):
    for size in (64, 400, 1500):
        put(target, str(size), numbers.randbytes(size))


def marian(tensors):
    """A Marian model of (name, type, shape, data)."""
    out = struct.pack("<QQ", 1, len(tensors))
    out += b"".join(struct.pack("<4Q", len(n) + 1, t, len(s), len(d)) for n, t, s, d in tensors)
    out += b"".join(n.encode() + b"\0" for n, *_ in tensors)
    out += b"".join(struct.pack(f"<{len(s)}i", *s) for _, _, s, _ in tensors)
    return out + struct.pack("<Q", 3) + b"\0" * 3 + b"".join(d for *_, d in tensors)


settings = b"type: transformer\ndim-vocabs:\n  - 7\n\0"
put("marian", "model", marian([
    ("W", 0x4101, [2, 2], b"\1\2\3\4" + struct.pack("<f", 3.5)),
    ("b", 0x0404, [1, 1], struct.pack("<f", 1.0)),
    ("special:model.yml", 0x0101, [len(settings)], settings),
]))


def shortlist(frequent, offsets, lists):
    checked = struct.pack(f"<4Q{len(offsets)}Q{len(lists)}I", frequent, 2, len(offsets), len(lists), *offsets, *lists)
    total = 0
    for (word,) in struct.iter_unpack("<Q", checked[: len(checked) // 8 * 8]):
        total ^= (word + 0x9E3779B9 + (total << 6) + (total >> 2)) % 2**64
    return struct.pack("<2Q", 0xF11A48D5013417F5, total) + checked


put("marian", "shortlist", shortlist(2, [0, 0, 3, 5], [4, 9, 11, 9, 12]))


def field(number, value):
    """A field of a Protocol Buffers message: bytes, a float or a small number."""
    if isinstance(value, bytes):
        return bytes([number << 3 | 2, len(value)]) + value
    return bytes([number << 3 | 5]) + struct.pack("<f", value) if isinstance(value, float) else bytes([number << 3, value])


pieces = [("</s>", 0.0, 3), ("<unk>", 0.0, 2), ("\u2581a", -1.0, 1), ("b", -2.0, 1), ("ab", -1.5, 1)]
put("marian", "vocabulary", b"".join(
    field(1, field(1, text.encode()) + field(2, score) + field(3, kind)) for text, score, kind in pieces
) + field(2, field(3, 1)))

put("html", "page", (
    "<!DOCTYPE html><title>a &amp; b</title><p>One <a href='x'>two <b>three</b></a>. <img src=i>Four<!-- c --> five<br>"
    "<ul><li translate=no>six<li><code>a &lt; b</code> H<sub>2</sub>O</ul><svg><path/></svg><script>a < b</script>"
).encode())
put("html", "soup", b"</b><i>a<b>b</i>c</>\xff<a b\0='&eacute' &#x41;\r\n<textarea><b></textarea><!--<a <")
