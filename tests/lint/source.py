# SPDX-License-Identifier: MIT
"""Source files as the checks see them: which there are, and their text without comments."""
import os
import re

C_FOLDERS = ["include", "core", "sched", "io", "dist", "shard", "tests", "perf", "examples"]
TEXT_ENDINGS = (".c", ".h", ".py", ".sh", ".build", ".md", ".txt", ".ini")
TEXT_NAMES = ("dev", "run", "compare", "http-compare", "redis-compare")
SKIPPED_FOLDERS = re.compile(r"^(?:build.*|\.git|corpus|__pycache__)$")

COMMENT_OR_STRING = re.compile(
    r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def walk(root, top):
    for folder, names, files in os.walk(os.path.join(root, top)):
        names[:] = sorted(name for name in names if not SKIPPED_FOLDERS.match(name))
        for name in sorted(files):
            yield os.path.relpath(os.path.join(folder, name), root)


def c_files(root):
    """Paths, relative to the root, of the project's C sources and headers."""
    for top in C_FOLDERS:
        for path in walk(root, top):
            if path.endswith((".c", ".h")):
                yield path


def text_files(root):
    """(path, text) of everything people wrote."""
    for path in walk(root, "."):
        if path.endswith(TEXT_ENDINGS) or os.path.basename(path) in TEXT_NAMES:
            with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
                yield path, file.read()


def blank(match):
    """The same lines and columns, without the words: an #include keeps its target."""
    text = match.group(0)
    if text[0] == "/":
        return re.sub(r"[^\n]", " ", text)
    return text[0] + re.sub(r"[^\n]", " ", text[1:-1]) + text[-1]


class Source:
    """One C file: text as it is, code without comments and without what strings say."""

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            self.text = file.read()
        self.code = COMMENT_OR_STRING.sub(blank, self.text)

    def line_at(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def includes(self, pattern):
        """(line, quote, target) of every #include that is not in a comment."""
        for match in pattern.finditer(self.text):
            if self.code[match.start(2) - 1] != " ":
                yield self.line_at(match.start(2)), match.group(1), match.group(2)
