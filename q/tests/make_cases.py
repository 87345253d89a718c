"""Writes cases.bin: blocks and what the Python package `gguf` makes of them.

usage: make_cases.py [libggml-base.so]      (needs `pip install gguf`)

A case is: kind (u8), GGUF type (u8), number of bytes and of floats (u32 each), the bytes, the floats (f32).

  kind 0  the floats are what the package decodes the bytes to
  kind 1  the bytes are what the package encodes the floats to
  kind 2  the bytes are what ggml's own reference encoder makes of the floats; needs the library (built from llama.cpp),
          since the package encodes no K format; without it the cases of this kind are kept as they are in the file
"""

import ctypes
import pathlib
import struct
import sys

import gguf
import numpy as np

PATH = pathlib.Path(__file__).with_name("cases.bin")
DECODED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
ENCODED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
SEARCHED = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
HALVES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0xB555, 0x7BFF, 0x7C00, 0xFC00, 0x7E01, 0x2E66]


def case(kind, number, data, floats):
    data, floats = bytes(data), np.asarray(floats, "<f4").tobytes()
    return struct.pack("<BBII", kind, number, len(data), len(floats) // 4) + data + floats


def blocks(kind, rng):
    """Random blocks, three of one byte, and one for each special scale."""
    length, size = gguf.GGML_QUANT_SIZES[kind]
    special = HALVES if length == 32 else HALVES[::3]
    rows = rng.integers(0, 256, (3 + len(special), size), dtype=np.uint8)
    for row, byte in zip(rows, (0x00, 0xFF, 0x88)):
        row[:] = byte
    at = {"Q2_K": 80, "Q3_K": 108, "Q6_K": 208}.get(kind.name, 0)
    for row, half in zip(rows[3:], special):
        row[at:at + 2] = np.frombuffer(struct.pack("<H", half), np.uint8)
    return rows


def values(rng, count, length):
    """Rows like weights, and rows that are odd."""
    x = rng.standard_normal((count, length)).astype(np.float32)
    x[1] *= 1e-3
    x[2] = np.exp(x[2]).astype(np.float32)
    x[3] = np.where(rng.random(length) < 0.05, 20 * x[3], x[3])
    x[4] = rng.uniform(-1, 1, length)
    x[5] -= 2
    x[6] = 0
    x[7] = np.round(x[7])
    return x


def kept():
    """The cases of kind 2 in the file."""
    data, at, found = PATH.read_bytes(), 0, []
    while at < len(data):
        kind, _, size, floats = struct.unpack_from("<BBII", data, at)
        end = at + 10 + size + 4 * floats
        if kind == 2:
            found.append(data[at:end])
        at = end
    return found


def main():
    rng = np.random.default_rng(20240)
    out = []
    np.seterr(all="ignore")
    for name in DECODED:
        kind = gguf.GGMLQuantizationType[name]
        rows = blocks(kind, rng)
        out.append(case(0, kind.value, rows.tobytes(), gguf.quants.dequantize(rows, kind)))
    for name in ENCODED:
        kind = gguf.GGMLQuantizationType[name]
        x = values(rng, 12, 32)
        out.append(case(1, kind.value, gguf.quants.quantize(x, kind).tobytes(), x))
    if len(sys.argv) > 1:
        ggml = ctypes.CDLL(sys.argv[1])
        x = np.ascontiguousarray(values(rng, 12, 256))
        for name in SEARCHED:
            kind = gguf.GGMLQuantizationType[name]
            data = np.zeros(12 * gguf.GGML_QUANT_SIZES[kind][1], np.uint8)
            encode = getattr(ggml, f"quantize_row_{name.lower().replace('k', 'K')}_ref")
            encode(x.ctypes.data_as(ctypes.c_void_p), data.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(x.size))
            out.append(case(2, kind.value, data.tobytes(), x))
    else:
        out += kept() if PATH.exists() else []
    PATH.write_bytes(b"".join(out))
    print(f"{len(out)} cases, {PATH.stat().st_size} bytes")


main()
