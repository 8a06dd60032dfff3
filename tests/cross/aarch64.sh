#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# aarch64.sh [FOLDER]: compiles the library for aarch64 and runs the unit tests of core/ and sched/,
# and some of shard/, under qemu-user; the last line is "N passed, N failed". Everything goes below
# FOLDER, by default build/cross.
#
# The compiler and the emulator are packages of this machine. The libraries for aarch64 are packages
# too, but are not installed: apt gets a configuration of its own, of a machine of that architecture
# with nothing on it, and what it downloads is unpacked into FOLDER/sysroot, once.
#
# What this finds is what depends on the instruction set, the ABI and the sizes of types. It does
# not find a memory order that is too weak: the emulator runs on the order of this machine.
set -euo pipefail
export LC_ALL=C

cd "$(dirname "$0")/../.."

FOLDER=${1:-build/cross}
PACKAGES="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user pkgconf meson ninja-build python3"
LIBRARIES="libck-dev libxxhash-dev libinih-dev check"
MINUTES=30 # for all tests together

# Those that need no sockets, files or TLS, and no more memory or time than the emulator has. "error"
# reads what an abort writes, to which the emulator adds a line.
TESTS="actor alloc bounded buffers call calls capability config config_load config_struct cpus cq
    cycle embed group hist limits link log mailbox message name pool priority process refused rescue
    runq runtime service shard_hash stack stats store_memory supervisor switch timer type
    virtual wheel"

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

# The targets of those tests that this tree has.
test_targets() {
    local name
    for name in $TESTS; do
        if [ -f "tests/unit/test_$name.c" ]; then
            echo "tests/unit_$name"
        fi
    done
}

run_tests() {
    local log=$FOLDER/weft/meson-logs/testlog.json status=0 targets
    targets=$(test_targets)
    # shellcheck disable=SC2086 # a list of words
    ninja -C "$FOLDER/weft" $targets
    rm -f "$log"
    # shellcheck disable=SC2046,SC2086 # lists of words
    CK_TIMEOUT_MULTIPLIER=10 timeout --foreground -k 10 $((MINUTES * 60)) \
        meson test -C "$FOLDER/weft" --no-rebuild --print-errorlogs --timeout-multiplier 5 \
        $(basename -a $targets | sed 's/^unit_//') || status=$?
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
