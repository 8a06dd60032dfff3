#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# aarch64.sh [FOLDER]: compiles the library for aarch64 and runs the unit tests of core/ and sched/
# with the ports of OTP's suites, and some of shard/, under qemu-user; the last line is "N passed, N
# failed". Everything goes below FOLDER, by default build/cross.
#
# The compiler and the emulator are packages of this machine. The libraries for aarch64 are packages
# too, but are not installed: apt gets a configuration of its own, of a machine of that architecture
# with nothing on it, and what it downloads is unpacked into FOLDER/sysroot, once.
#
# What this finds is what depends on the instruction set, the ABI and the sizes of types. It does
# not find a memory order that is too weak: the emulator runs on the order of this machine.
set -euo pipefail
export LC_ALL=C
export WEFT_TEST_NEED_URING=0 # an emulator has none

cd "$(dirname "$0")/../.."

FOLDER=${1:-build/cross}
PACKAGES="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user pkgconf meson ninja-build python3"
LIBRARIES="libck-dev libxxhash-dev libinih-dev check"
MINUTES=${WEFT_CROSS_MINUTES:-12} # for all tests together, which take 4 when nothing else runs

# excluded TEST: prints why a unit test is not run here, or nothing. Whatever is not named runs.
excluded() {
    case "$1" in
    stream* | datagram* | process_stream | file | io_seccomp)
        echo "sockets, files or the filter of system calls: the emulator's, not aarch64's" ;;
    error)
        echo "reads what an abort writes, to which the emulator adds a line" ;;
    virtual_* | strategy)
        echo "of shard/, long, and plain C: virtual, capability and cycle_virtual are run" ;;
    esac
}

say() {
    printf '== %s\n' "$*"
}

die() {
    printf 'cross: %s\n' "$*" >&2
    exit 1
}

need_packages() {
    local package missing=""
    for package in $PACKAGES; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            missing="$missing $package"
        fi
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install$missing"
    say "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# ---- the libraries -------------------------------------------------------------------------------

# This machine's repositories, for an empty machine of the other architecture. Its hooks on updates
# are about its own lists.
write_apt_configuration() {
    local work=$1 list="" parts=""
    eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
    cat >"$work/apt.conf" <<TEXT
APT::Architecture "arm64";
#clear APT::Architectures;
APT::Architectures { "arm64"; };
Dir::Etc::sourcelist "$list";
Dir::Etc::sourceparts "$parts";
Dir::State "$work/state";
Dir::State::status "$work/status";
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
Debug::NoLocking "1";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
TEXT
    mkdir -p "$work/state" "$work/lists/partial" "$work/cache/archives/partial"
    : >"$work/status"
}

# A repository without packages for aarch64 makes the update fail; whether ours are there shows
# afterwards.
fetch_libraries() {
    local work=$1
    write_apt_configuration "$work"
    apt-get -q -c "$work/apt.conf" update || true
    # shellcheck disable=SC2086 # a list of words
    apt-get -q -y -c "$work/apt.conf" install --download-only --no-install-recommends $LIBRARIES
}

# Unpacks beside and renames, so that a sysroot that is there is whole.
make_sysroot() {
    local work package
    if [ "$(cat "$FOLDER/sysroot/packages" 2>/dev/null)" = "$LIBRARIES" ]; then
        return 0
    fi
    say "fetching libraries for aarch64 into $FOLDER/sysroot"
    work=$(mktemp -d)
    chmod 755 "$work" # apt fetches as a user of its own
    if ! fetch_libraries "$work" >"$FOLDER/sysroot.log" 2>&1 </dev/null; then
        rm -rf "$work"
        die "the repositories have not all of $LIBRARIES for arm64, see $FOLDER/sysroot.log"
    fi
    rm -rf "$FOLDER/sysroot" "$FOLDER/sysroot.new"
    mkdir "$FOLDER/sysroot.new"
    for package in "$work"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$FOLDER/sysroot.new"
    done
    rm -rf "$work"
    printf '%s' "$LIBRARIES" >"$FOLDER/sysroot.new/packages"
    mv -T "$FOLDER/sysroot.new" "$FOLDER/sysroot"
}

# ---- build and test ------------------------------------------------------------------------------

build() {
    local options="-Dtls=disabled -During=disabled -Dusdt=disabled -Dexamples=false -Dperf=false
        -Dplanted=false"
    aarch64-linux-gnu-gcc -O2 -Wall -Wextra -Werror -shared -fPIC tests/cross/small_arenas.c \
        -o "$FOLDER/small_arenas.so"
    printf "[constants]\nsysroot = '%s'\npreload = '%s'\n" \
        "$FOLDER/sysroot" "$FOLDER/small_arenas.so" >"$FOLDER/constants.ini"
    if [ ! -f "$FOLDER/weft/build.ninja" ]; then
        rm -rf "$FOLDER/weft"
        # shellcheck disable=SC2086 # a list of words
        meson setup "$FOLDER/weft" --cross-file "$FOLDER/constants.ini" \
            --cross-file tests/cross/aarch64.ini $options
    fi
}

# The names of the tests to run, one per line.
chosen_tests() {
    local name
    meson introspect "$FOLDER/weft" --tests | python3 -c '
import json, sys
for test in json.load(sys.stdin):
    if any(suite.split(":")[-1] == "unit" for suite in test["suite"]):
        print(test["name"])' | while read -r name; do
        [ -n "$(excluded "$name")" ] || printf '%s\n' "$name"
    done
}

# Twice as many at a time as there are processors: much of what they do is waiting.
run_tests() {
    local log=$FOLDER/weft/meson-logs/testlog.json status=0 tests
    mapfile -t tests < <(chosen_tests)
    [ ${#tests[@]} -gt 0 ] || die "no tests"
    rm -f "$log"
    CK_TIMEOUT_MULTIPLIER=3 timeout --foreground -k 10 $((MINUTES * 60)) \
        meson test -C "$FOLDER/weft" --print-errorlogs --timeout-multiplier 5 \
        --num-processes $((2 * $(nproc))) "${tests[@]}" || status=$?
    python3 tests/lint/test_summary.py "$log" || status=1
    return "$status"
}

main() {
    command -v dpkg-query apt-get >/dev/null || die "it works on Debian and its relatives only"
    [ "$(uname -m)" != aarch64 ] || die "this machine is one: ./dev test does the same"
    need_packages
    mkdir -p "$FOLDER"
    FOLDER=$(cd "$FOLDER" && pwd)
    make_sysroot
    build
    run_tests
}

main
