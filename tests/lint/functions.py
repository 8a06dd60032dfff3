# SPDX-License-Identifier: MIT
"""The length of functions: a ratchet. long_functions.txt names those that may be longer, each with
its length; it may only shrink."""
import json
import os
import subprocess

LINES_MAX = 70
EXCEPTIONS = "tests/lint/long_functions.txt"


def read_exceptions(root):
    """{(path, function): lines} from lines of the form "path function lines"."""
    exceptions = {}
    path = os.path.join(root, EXCEPTIONS)
    if not os.path.exists(path):
        return exceptions
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split("#", 1)[0].split()
            if len(words) == 3:
                exceptions[(words[0], words[1])] = int(words[2])
    return exceptions


def function_lengths(root, paths):
    """(path, function, first line, lines) of every function, as ctags sees them."""
    command = ["ctags", "--output-format=json", "--languages=C", "--langmap=C:.c.h",
               "--kinds-C=f", "--fields=+ne", "-f", "-", "-L", "-"]
    result = subprocess.run(command, input="\n".join(paths), cwd=root, check=True,
                            capture_output=True, text=True)
    for line in result.stdout.splitlines():
        tag = json.loads(line)
        if "end" in tag:
            yield tag["path"], tag["name"], tag["line"], tag["end"] - tag["line"] + 1


def check_functions(root, paths, report):
    exceptions = read_exceptions(root)
    used = set()
    for path, name, first, lines in function_lengths(root, paths):
        if lines <= LINES_MAX:
            continue
        used.add((path, name))
        allowed = exceptions.get((path, name), LINES_MAX)
        if lines > allowed:
            report(path, first, f"{name}: {lines} lines, more than {allowed}")
    for path, name in set(exceptions) - used:
        report(EXCEPTIONS, 0, f"{path} {name} is no longer long: remove the line")
