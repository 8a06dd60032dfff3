#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints the closing lines of a test run from meson's testlog.json.

First, for each test that failed, its name and the end of what it printed, each line marked with
"failed|"; last the line "N passed, N failed". Exits with 1 when something failed or nothing ran.
"""
import json
import os
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP"}
LINES_SHOWN = 25  # of each test that failed, and of each of its two streams


def print_failure(entry):
    print(f"failed| {entry['name']}: {entry['result']} after {entry['duration']:.1f} s")
    for stream in ("stdout", "stderr"):
        for line in entry.get(stream, "").splitlines()[-LINES_SHOWN:]:
            print(f"failed|   {line}")


def count_results(path):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    if not os.path.exists(path):
        return counts
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            entry = json.loads(line)
            if entry["result"] in PASSED:
                counts["passed"] += 1
            elif entry["result"] in SKIPPED:
                counts["skipped"] += 1
            else:
                counts["failed"] += 1
                print_failure(entry)
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
