# SPDX-License-Identifier: MIT
"""What the built libraries say: no mutable globals, and exactly the public symbols exported."""
import os
import re
import subprocess

# Mutable things that are no member of a runtime: symbol, why.
GLOBALS_ALLOWED = {
    "current_scheduler": "the scheduler this thread runs, thread-local",
}
MUTABLE_SECTION = re.compile(r"^(?:\.t?data(?!\.rel\.ro)|\.t?bss|\*COM\*)")
# Address flags section size name; the flags take seven columns.
OBJECT_SYMBOL = re.compile(r"^[0-9a-f]+ (.{7}) (\S+)\s+[0-9a-f]+ (?:\.hidden )?(\S+)$")
DECLARED = re.compile(r"\bWEFT_API\b[^;{]*?\b(weft_\w+)\s*\(")
# Headers of libraries of their own.
OTHER_LIBRARY = {"sim.h"}


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def find(build, pattern):
    """Paths below the build folder, nested build folders left out."""
    for folder, names, files in os.walk(build):
        names[:] = [name for name in names
                    if not os.path.exists(os.path.join(folder, name, "build.ninja"))]
        for name in sorted(files):
            if re.fullmatch(pattern, name):
                yield os.path.join(folder, name)


def check_globals(archive, report):
    name = os.path.basename(archive)
    member = name
    for line in output_of("objdump", "-t", archive).splitlines():
        if "file format" in line:
            member = line.split(":", 1)[0]
            continue
        match = OBJECT_SYMBOL.match(line)
        if not match or "d" in match.group(1):  # d: section and file names
            continue
        symbol = match.group(3)
        if MUTABLE_SECTION.match(match.group(2)) and symbol.split(".")[0] not in GLOBALS_ALLOWED:
            report(name, 0, f"mutable global in {member}: {symbol} ({match.group(2)})")


def check_names(archive, report):
    """A program that links the static library shares one name space with it."""
    name = os.path.basename(archive)
    for line in output_of("nm", "-g", "--defined-only", archive).splitlines():
        words = line.split()
        if len(words) == 3 and not words[2].startswith(("weft_", "_.stapsdt")):
            report(name, 0, f"global symbol without the prefix weft_: {words[2]}")


def declared_symbols(root):
    """Names of the functions the public headers declare with WEFT_API."""
    names = set()
    folder = os.path.join(root, "include", "weft")
    for header in sorted(os.listdir(folder)):
        if header.endswith(".h") and header not in OTHER_LIBRARY:
            with open(os.path.join(folder, header), encoding="utf-8") as file:
                text = re.sub(r"/\*.*?\*/|^\s*#.*?$", " ", file.read(),
                              flags=re.DOTALL | re.MULTILINE)
            names.update(DECLARED.findall(text))
    return names


def exported_symbols(library):
    names = set()
    for line in output_of("nm", "-D", "--defined-only", library).splitlines():
        names.add(line.split()[-1].split("@")[0])
    return names


def check_exports(root, library, report):
    name = os.path.basename(library)
    declared = declared_symbols(root)
    exported = exported_symbols(library)
    for symbol in exported - declared:
        if symbol.startswith("weft_"):
            report(name, 0, f"exported but in no public header: {symbol}")
        else:
            report(name, 0, f"exported under a foreign name: {symbol}")
    for symbol in declared - exported:
        report(name, 0, f"declared WEFT_API but not exported: {symbol}")


def check_binaries(root, build, report):
    archives = list(find(build, r"libweft_(?:core|sched|io|dist|shard)\.a"))
    libraries = list(find(build, r"libweft\.so\.\d+\.\d+\.\d+"))
    if not archives or not libraries:
        report(build, 0, "no libraries to check")
    for archive in archives:
        check_globals(archive, report)
        check_names(archive, report)
    for library in libraries:
        check_exports(root, library, report)
