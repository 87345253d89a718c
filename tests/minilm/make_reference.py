"""PyTorch's sentence embeddings of all-MiniLM-L6-v2, beside kernform's.

usage: make_reference.py freeze MODEL_DIR                writes reference.npy for sentences.txt (both beside this script)
       make_reference.py check MODEL_DIR KERNFORM        200 sentences of the Python manual, computed by both now
       make_reference.py compare FOUND.npy LEAST         vectors of sentences.txt against reference.npy; needs nothing but Python

`freeze` and `check` need torch, transformers and numpy. The manual is the one that every CPython carries.
"""
import array, math, os, re, struct, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def embed(folder, sentences):
    """Mean over the tokens, length 1, one sentence at a time so that nothing is padded."""
    import torch, transformers
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    vectors = []
    with torch.inference_mode():
        for sentence in sentences:
            tokens = tokenizer(sentence, return_tensors="pt", truncation=True, max_length=256)
            mean = model(**tokens).last_hidden_state[0].double().mean(0)
            vectors.append((mean / mean.norm()).float().numpy())
    return vectors


def manual():
    import pydoc_data.topics
    found = []
    for name in sorted(pydoc_data.topics.topics):
        text = re.sub(r"\n\n.*?(?=\n\n|$)", lambda block: "" if re.search(r"[|=+*>]{2}|::", block[0]) else block[0],
                      pydoc_data.topics.topics[name], flags=re.S)
        for paragraph in re.split(r"\n\s*\n", text):
            paragraph = " ".join(paragraph.split())
            found += [s for s in re.findall(r"(?<![\w.])[A-Z][^.!?]{30,300}[.!?](?= [A-Z]|$)", paragraph) if "  " not in s]
    distinct = list(dict.fromkeys(found))
    step = len(distinct) / 200
    return [distinct[int(i * step)] for i in range(200)]


def read(path):
    data = open(path, "rb").read()
    length = struct.unpack("<H", data[8:10])[0]
    header, kind = data[10:10 + length], "e" if b"<f2" in data[:10 + length] else "f"
    rows, columns = map(int, re.search(rb"\((\d+), (\d+)\)", header).groups())
    numbers = struct.unpack(f"<{rows * columns}{kind}", data[10 + length:])
    return [numbers[i * columns:(i + 1) * columns] for i in range(rows)]


def cosines(found, expected):
    assert len(found) == len(expected), (len(found), len(expected))
    dot = lambda a, b: math.fsum(x * y for x, y in zip(a, b))
    return [dot(a, b) / math.sqrt(dot(a, a) * dot(b, b)) for a, b in zip(found, expected)]


def main():
    what, *arguments = sys.argv[1:]
    if what == "freeze":
        import numpy
        sentences = open(os.path.join(HERE, "sentences.txt"), encoding="utf-8").read().splitlines()
        # Rounded to 11 bits a cosine is off by less than 1e-7.
        numpy.save(os.path.join(HERE, "reference.npy"), numpy.array(embed(arguments[0], sentences), dtype=numpy.float16))
    elif what == "compare":
        least = min(cosines(read(arguments[0]), read(os.path.join(HERE, "reference.npy"))))
        print(f"least cosine {least:.8f}")
        sys.exit(least < float(arguments[1]))
    elif what == "check":
        sentences = manual()
        expected = embed(arguments[0], sentences)
        for kind in ("f32", "bf16", "f16", "int8"):
            with tempfile.TemporaryDirectory() as folder:
                out = os.path.join(folder, "found.npy")
                subprocess.run([arguments[1], "embed", "--model", arguments[0], "--type", kind, "--format", "npy", "--output", out],
                               input="\n".join(sentences).encode(), check=True)
                all = cosines(read(out), [list(map(float, v)) for v in expected])
            print(f"{kind}: {len(all)} sentences, cosine to PyTorch: least {min(all):.8f}, mean {sum(all) / len(all):.8f}")


main()
