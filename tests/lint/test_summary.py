#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints the closing line of a test run, "N passed, N failed", from meson's testlog.json.

Exits with 1 when something failed or nothing ran.
"""
import json
import os
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP"}


def count_results(path):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    if not os.path.exists(path):
        return counts
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            result = json.loads(line)["result"]
            if result in PASSED:
                counts["passed"] += 1
            elif result in SKIPPED:
                counts["skipped"] += 1
            else:
                counts["failed"] += 1
    return counts


def main():
    counts = count_results(sys.argv[1])
    text = f"{counts['passed']} passed, {counts['failed']} failed"
    if counts["skipped"]:
        text += f", {counts['skipped']} skipped"
    print(text, flush=True)
    return 0 if counts["failed"] == 0 and counts["passed"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
