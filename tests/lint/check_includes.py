#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The source rules that a compiler does not check.

    check_includes.py [--root DIR] [--build DIR]

Reads every source file below the root: the arrow between the layers, what may be called where,
sizes, leftovers. With --build it also looks into the libraries of that build folder: mutable
globals and exported symbols. Prints one line per violation and exits with 1 when there is one.
test_check_includes.py plants one violation of each rule and sees it reported.
"""
import argparse
import os
import re
import sys

sys.dont_write_bytecode = True

import binaries
import functions
from source import Source, c_files, text_files

LAYERS = ["core", "sched", "io", "dist", "shard"]
FILE_LINES_MAX = 800

# (what it is, pattern, files of the library where it is allowed)
CALL = r"(?<![\w.>])(?:{})\s*\("
RULES = [
    ("clock call", CALL.format(r"clock_\w+|time|gettimeofday|timespec_get|timerfd_\w+|ftime"),
     r"core/env_os\w*\.c"),
    ("randomness call", CALL.format(r"getrandom|getentropy|s?rand(?:om)?(?:_r)?|[delmn]rand48|"
                                    r"arc4random\w*"),
     r"core/env_os\w*\.c"),
    ("thread call", r"\b(?:pthread_\w+|thrd_\w+|mtx_\w+|cnd_\w+)\b|<(?:pthread|threads)\.h>",
     r"core/env_os\w*\.c"),
    ("sleep or wake-up call",
     CALL.format(r"nanosleep|usleep|sleep|sched_yield|eventfd|eventfd_\w+|s?select|poll|ppoll|"
                 r"epoll_\w+") +
     r"|\b(?:SYS|__NR)_(?:futex\w*|membarrier|getrandom)\b|<sys/eventfd\.h>",
     r"core/env_os\w*\.c|io/(?:uring|epoll)\w*\.c"),
    ("CPU set call", CALL.format(r"sched_[gs]etaffinity"), r"core/env_os\w*\.c|core/cpus\.c"),
    ("atomic operation outside core/atomic.h",
     r"\b(?:__atomic_\w+|__sync_\w+|ck_pr_\w+|_Atomic|atomic_(?:load|store|fetch|exchange|compare"
     r"|thread_fence)\w*)\b|<(?:stdatomic|ck_pr)\.h>",
     r"core/atomic\.h|core/hist\.h"),
    ("write to a descriptor", CALL.format(r"p?writev?"),
     r"core/log\w*\.c|core/error\.c|core/env_os\w*\.c|sched/stats\.c|io/\w+\.c"),
    ("printing", CALL.format(r"v?f?printf|v?dprintf|f?puts|f?putc|putchar|perror|fwrite") +
     r"|\b(?:stdout|stderr)\b", None),
    ("end of the process", CALL.format(r"exit|_exit|_Exit|quick_exit|abort"), r"core/error\.c"),
    ("read of the environment", CALL.format(r"(?:secure_)?getenv"), r"core/config\w*\.c"),
    ("unbounded string call", CALL.format(r"strcpy|strcat|v?sprintf|gets|alloca"), None),
    ("liburing outside the driver", r"<liburing(?:/[\w/]+)?\.h>|\bio_uring_\w+",
     r"io/uring\w*\.[ch]"),
    ("wolfSSL outside the TLS file", r"<wolfssl/[^>]+>|\bwolfSSL_\w+|\bwc_[A-Z]\w+",
     r"io/tls\w*\.[ch]"),
]

# Library files that include something outside the library, and why.
FOREIGN_INCLUDES = {
    ("core/atomic.h", "tests/model/explore_atomic.h"),  # the explorer's atomics, WEFT_EXPLORE only
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
LEFTOVERS = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b|not imple" r"mented|"
                       r"\bunimple" r"mented\b")


def layer_of(path):
    """core, sched, ... for a file of the library, else None."""
    top = path.split("/", 1)[0]
    return top if top in LAYERS else None


def check_arrow(source, report):
    """core <- sched <- io <- dist <- shard; public headers are free for all of them."""
    layer = layer_of(source.path)
    if layer is None:
        return
    for line, _, target in source.includes(INCLUDE):
        other = target.split("/", 1)[0]
        if other in LAYERS and LAYERS.index(other) > LAYERS.index(layer):
            report(source.path, line, f"{layer}/ must not include {other}/: {target}")
        foreign = other in ("tests", "perf", "examples")
        if foreign and (source.path, target) not in FOREIGN_INCLUDES:
            report(source.path, line, f"the library must not include {target}")


def is_of_examples(root, folder, target):
    """True for a header below examples/, named from there or from the folder of the file."""
    for start in ("examples", folder):
        path = os.path.normpath(os.path.join(start, target))
        if path.startswith("examples/") and os.path.isfile(os.path.join(root, path)):
            return True
    return False


def check_public(root, source, report):
    """Public headers and examples see nothing internal; an example may have headers of its own."""
    public = source.path.startswith("include/")
    if not public and not source.path.startswith("examples/"):
        return
    for line, quote, target in source.includes(INCLUDE):
        if not public and is_of_examples(root, os.path.dirname(source.path), target):
            continue
        if quote == '"' or target.split("/", 1)[0] in LAYERS:
            report(source.path, line, f"only public headers may be included here: {target}")
        if public and not re.match(r"weft/\w+\.h$|std\w+\.h$", target):
            report(source.path, line, f"a public header must not need {target}")


def check_calls(source, report):
    if layer_of(source.path) is None:
        return
    for what, pattern, allowed in RULES:
        if allowed and re.fullmatch(allowed, source.path):
            continue
        for match in re.finditer(pattern, source.code):
            text = match.group(0).strip(" (")
            report(source.path, source.line_at(match.start()), f"{what}: {text}")


def check_length(source, report):
    lines = source.text.count("\n")
    if lines > FILE_LINES_MAX:
        report(source.path, lines, f"{lines} lines, more than {FILE_LINES_MAX}")


def check_leftovers(path, text, report):
    for number, line in enumerate(text.split("\n"), 1):
        match = LEFTOVERS.search(line)
        if match:
            report(path, number, f"left unfinished: {match.group(0)}")


def check_tree(root, report):
    for path in c_files(root):
        source = Source(root, path)
        check_arrow(source, report)
        check_public(root, source, report)
        check_calls(source, report)
        check_length(source, report)
    for path, text in text_files(root):
        check_leftovers(path, text, report)
    functions.check_functions(root, c_files(root), report)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description="source rules of weft")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(here)))
    parser.add_argument("--build", help="build folder whose libraries are checked too")
    return parser.parse_args(arguments)


def run(arguments, output):
    """All checks; returns the number of violations."""
    options = parse_arguments(arguments)
    found = set()
    check_tree(options.root, lambda path, line, text: found.add((path, line, text)))
    if options.build:
        binaries.check_binaries(options.root, options.build,
                                lambda path, line, text: found.add((path, line, text)))
    for path, line, text in sorted(found):
        print(f"{path}:{line}: {text}", file=output)
    print(f"{len(found)} violations of the source rules", file=output)
    return len(found)


if __name__ == "__main__":
    sys.exit(1 if run(sys.argv[1:], sys.stdout) else 0)
