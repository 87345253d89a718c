"""Reads `cargo metadata --no-deps` and prints packages of the workspace.

packages.py lib       library crates that promise to be no_std: NAME FEATURE…
packages.py kernels   those of them that hold kernels and run on every target: NAME
"""

import json
import sys

# Crates that need an operating system, or that only tests and benches use.
NOT_NO_STD = {"kernform-cli", "kernform-capi", "kernform-text", "kernform-translate", "kernform-testkit", "kernform-benches"}
KERNELS = {f"kernform-{n}" for n in ("simd", "tensor", "math", "gemm", "quant", "norm", "attention", "decode")}

kind = sys.argv[1]
for package in sorted(json.load(sys.stdin)["packages"], key=lambda package: package["name"]):
    name = package["name"]
    has_library = any("lib" in target["kind"] for target in package["targets"])
    if kind == "kernels" and name in KERNELS:
        print(name)
    elif kind == "lib" and has_library and name not in NOT_NO_STD and package["publish"] != []:
        print(name, *sorted(feature for feature in package["features"] if feature != "default"))
