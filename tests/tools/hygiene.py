"""Rules about the source text that no compiler lint holds. Prints one `check … ok|FAILED` line a rule."""

import pathlib
import re
import subprocess
import sys

MAX_LINES = 600
# Crates whose kernels, C interface or memory map need unsafe code; all others forbid it.
MAY_BE_UNSAFE = {"simd", "gemm", "quant", "capi", "formats"}
NOT_NO_STD = {"cli", "capi", "text", "translate", "testkit"}

root = pathlib.Path(__file__).resolve().parents[2]
listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True)
tracked = [root / name for name in listed.stdout.split("\0") if name and (root / name).is_file()]
rust = [path for path in tracked if path.suffix == ".rs"]
crates = sorted(path.parent for path in tracked if path.name == "Cargo.toml" and path.parent.parent.name == "crates")
failed = False


def rule(name, offences):
    global failed
    for offence in offences:
        print(f"  {offence}")
    print(f"check {name} ... {'FAILED' if offences else 'ok'}")
    failed = failed or bool(offences)


def short(path):
    return path.relative_to(root)


def text(path):
    return path.read_text(encoding="utf-8", errors="replace")


def lines_with(paths, pattern):
    pattern = re.compile(pattern)
    return [
        f"{short(path)}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate(text(path).splitlines(), 1)
        if pattern.search(line)
    ]


def roots_without(attribute, exempt):
    missing = []
    for crate in crates:
        if crate.name in exempt:
            continue
        for name in ("src/lib.rs", "src/main.rs"):
            path = crate / name
            if path.exists() and attribute not in text(path):
                missing.append(f"{short(path)} lacks {attribute}")
    return missing


rule(
    f"no Rust file has more than {MAX_LINES} lines",
    [f"{short(p)}: {n} lines" for p in rust if p.is_relative_to(root / "crates") and (n := len(text(p).splitlines())) > MAX_LINES],
)
rule("crates without kernels forbid unsafe code", roots_without("#![forbid(unsafe_code)]", MAY_BE_UNSAFE))
rule("library crates are no_std", roots_without("#![no_std]", NOT_NO_STD))
rule("no unfinished code", lines_with(rust, r"\b(todo|unimplemented|dbg)!\s*[(\[]"))
rule("every ignored test says why", lines_with(rust, r"#\[ignore\]"))
readable = [p for p in tracked if p.suffix in {".rs", ".md", ".toml", ".sh", ".py", ".mjs", ".json", ".c", ".h", ""} and p.stat().st_size < 1 << 20]
rule("no path of one machine", lines_with(readable, r"(^|[\s\"'=(`])/(work|root|home/\w+|Users/\w+)/"))
sys.exit(failed)
