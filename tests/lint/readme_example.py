#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints the first ```c block of a page, which must be a whole program."""
import re
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as page:
        block = re.search(r"^```c\n(.*?)^```$", page.read(), re.DOTALL | re.MULTILINE)
    if block is None or "int main(" not in block.group(1):
        sys.exit(f"{sys.argv[1]}: no program in a ```c block")
    sys.stdout.write(block.group(1))


if __name__ == "__main__":
    main()
