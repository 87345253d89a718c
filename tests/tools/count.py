"""Adds up the tests in a log: nextest and libtest closing lines, and `check … ok` lines of the stages.

Prints PASSED FAILED.
"""

import re
import sys

log = re.sub(r"\x1b\[[0-9;]*m", "", open(sys.argv[1], encoding="utf-8", errors="replace").read())
passed = failed = 0
for line in log.splitlines():
    if match := re.match(r"\s*Summary \[.*?\] +\S+ tests? run: (.*)", line):
        counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|timed out|exec failed)\b", match[1])}
        passed += counts.pop("passed", 0)
        failed += sum(counts.values())
    elif match := re.match(r"test result: \S+ (\d+) passed; (\d+) failed", line):
        passed += int(match[1])
        failed += int(match[2])
    elif match := re.match(r"check .* \.\.\. (ok|FAILED)$", line):
        passed += match[1] == "ok"
        failed += match[1] != "ok"
print(passed, failed)
