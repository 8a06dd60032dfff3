#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# wolfssl.sh [fast|tsan]: builds the distribution's own wolfSSL once more, with its assembly and
# nothing but what weft uses, and prints the folder it is installed in. The packaged library is
# built without assembly: it encrypts AES-128-GCM many times slower. "tsan" is without assembly,
# under the thread sanitizer.
#
# The source is the source package of the installed libwolfssl-dev, with its patches, from the
# mirrors the machine already uses. apt gets a configuration of its own for this, so nothing of the
# machine's apt is changed and root is not needed. The result is a folder
#     ${WEFT_BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}/wolfssl-<version>-<variant>-<hash>
# shared by every build folder; the hash is of the recipe below. Any number of these scripts may run
# at the same time: one builds, the others wait for it. When it cannot be done, the reason is
# one line on standard error, the status is 1, and for an hour the next attempt is not made unless
# WEFT_BUILD_WOLFSSL=accelerated.
set -euo pipefail
export LC_ALL=C

VARIANT=${1:-fast}
ATTEMPT_AGAIN_MINUTES=60
PACKAGES="autoconf automake libtool dpkg-dev make gcc"

# ---- the recipe ----------------------------------------------------------------------------------

OPTIONS_LIBRARY="--disable-shared --enable-static --with-pic --enable-reproducible-build
    --disable-examples --disable-crypttests --disable-dependency-tracking"
OPTIONS_ON="--enable-tls13 --enable-sni --enable-alpn --enable-supportedcurves --enable-hkdf
    --enable-keying-material --enable-ecc --enable-curve25519 --enable-ed25519 --enable-rsapss
    --enable-aesgcm --enable-chacha --enable-poly1305 --enable-sha512 --enable-sha384
    --enable-certgen --enable-certext --enable-ip-alt-name --enable-base64encode"
# Old versions and ciphers nobody shall negotiate, and what a session would carry around unused.
# fpecc keeps 12 MiB per thread and loses them when the thread ends.
OPTIONS_OFF="--disable-oldtls --disable-tlsv12 --disable-dh --disable-des3 --disable-md5
    --disable-sha224 --disable-sha3 --disable-pkcs12 --disable-oaep --disable-aescbc
    --disable-extended-master --disable-enc-then-mac --disable-fpecc"
DEFINES="-DWOLFSSL_ALT_NAMES -DWOLFSSL_ALWAYS_VERIFY_CB -DWOLFSSL_ALWAYS_KEEP_SNI
    -DWOLFSSL_EXTRA_ALERTS -DNO_SESSION_CACHE -DWOLFSSL_GETRANDOM"
CFLAGS_FAST="-O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2"
CFLAGS_TSAN="-O1 -g -fsanitize=thread"

# On x86-64 wolfSSL looks at run time what the processor has, on aarch64 it does not.
assembly_options() {
    case "$(uname -m)" in
    x86_64) echo "--enable-intelasm --enable-sp --enable-sp-asm" ;;
    aarch64)
        if grep -qw -m1 pmull /proc/cpuinfo && grep -qw -m1 sha2 /proc/cpuinfo; then
            echo "--enable-armasm --enable-sp --enable-sp-asm"
        else
            echo "--enable-sp --enable-sp-asm"
        fi
        ;;
    *) fail "wolfSSL has no assembly for $(uname -m)" ;;
    esac
}

# One line that decides everything about the result but the source.
recipe() {
    local special
    case "$VARIANT" in
    fast) special="$(assembly_options) CFLAGS='$CFLAGS_FAST" ;;
    tsan) special="--enable-sp CFLAGS='$CFLAGS_TSAN" ;;
    *) fail "no such variant: $VARIANT" ;;
    esac
    printf '%s %s %s %s %s' "$OPTIONS_LIBRARY" "$OPTIONS_ON" "$OPTIONS_OFF" "$special" \
        "$DEFINES'" | tr -s '\n ' ' '
}

# --------------------------------------------------------------------------------------------------

say() {
    printf '== %s\n' "$*" >&2
}

# fail REASON...
fail() {
    printf 'no wolfSSL with assembly: %s; the packaged one works, slower\n' "$*" >&2
    exit 1
}

# fail_later REASON...: as fail, and the next runs fail with the same reason for a while.
fail_later() {
    printf '%s' "$*" >"$prefix.failed" || true
    fail "$*"
}

cache_folder() {
    if [ -n "${WEFT_BUILD_CACHE:-}" ]; then
        mkdir -p "$WEFT_BUILD_CACHE" && cd "$WEFT_BUILD_CACHE" && pwd
    elif [ -n "${XDG_CACHE_HOME:-}${HOME:-}" ]; then
        mkdir -p "${XDG_CACHE_HOME:-$HOME/.cache}/weft" &&
            cd "${XDG_CACHE_HOME:-$HOME/.cache}/weft" && pwd
    else
        return 1
    fi
}

need_programs() {
    local package missing=""
    for package in $PACKAGES; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            missing="$missing $package"
        fi
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || fail "building it needs packages; as root: apt-get install$missing"
    say "installing$missing"
    # shellcheck disable=SC2086 # a list of words
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1 </dev/null ||
        fail_later "cannot install$missing"
}

# ---- the source ----------------------------------------------------------------------------------

# An awk function: whether the text names one of the addresses, or there are none.
WANTED='function wanted(text,    i, n, list) {
    n = split(addresses, list, " ")
    for (i = 1; i <= n && !index(text, list[i]); i++) {}
    return n == 0 || i <= n
}'

# Writes the machine's own repositories that have libwolfssl-dev to $work/sources, as sources. All
# of their options stay: mirrors, keys, trust. Without package lists it is every repository.
write_sources() {
    local list="" parts="" file addresses
    addresses=$(apt-cache madison libwolfssl-dev 2>/dev/null |
        awk -F '|' '{ split($3, word, " "); print word[1] }' | sort -u | paste -sd ' ' -) || true
    mkdir "$work/sources"
    eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
    for file in "$list" "$parts"/*.list; do
        [ -r "$file" ] || continue
        awk -v addresses="$addresses" "$WANTED"'
            /^[ \t]*deb(-src)?[ \t]/ && wanted($0) { sub(/^[ \t]*deb(-src)?/, "deb-src"); print }
        ' "$file" >"$work/sources/$(basename "$file")"
    done
    for file in "$parts"/*.sources; do
        [ -r "$file" ] || continue
        awk -v addresses="$addresses" -v RS= -v ORS='\n\n' -v FS='\n' -v OFS='\n' "$WANTED"'
            wanted($0) {
                for (i = 1; i <= NF; i++) {
                    if (tolower($i) ~ /^types:/) { $i = "Types: deb-src" }
                }
                print
            }
        ' "$file" >"$work/sources/$(basename "$file")"
    done
}

# The machine's hooks on updates are about its own lists.
write_apt_configuration() {
    cat >"$work/apt.conf" <<TEXT
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/sources";
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
TEXT
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
}

# A repository that has no sources makes the update fail; whether ours is there shows afterwards.
fetch_source() {
    say "fetching the source of wolfSSL $version"
    write_sources
    write_apt_configuration
    apt-get -q -c "$work/apt.conf" update >>"$log" 2>&1 </dev/null || true
    mkdir "$work/package"
    (cd "$work/package" &&
        apt-get -q -c "$work/apt.conf" source --download-only "wolfssl=$version") \
        >>"$log" 2>&1 </dev/null ||
        fail_later "the mirrors have no source of version $version, or cannot be reached"
    dpkg-source --no-check -x "$work/package"/wolfssl_*.dsc "$work/source" >>"$log" 2>&1 ||
        fail_later "cannot unpack the source of version $version"
    [ "$(cd "$work/source" && dpkg-parsechangelog -S Version)" = "$version" ] ||
        fail_later "the source is not of version $version"
}

# ---- the build -----------------------------------------------------------------------------------

compile_source() {
    say "building wolfSSL $version ($VARIANT), once: $prefix"
    (cd "$work/source" && ./autogen.sh &&
        eval "./configure --prefix='$prefix' $(recipe)" &&
        make -j"$(nproc)" && make install DESTDIR="$staging") >>"$log" 2>&1 </dev/null ||
        fail_with_log "the build failed"
    [ -f "$staging$prefix/lib/libwolfssl.a" ] || fail_with_log "the build made no library"
}

fail_with_log() {
    cp "$log" "$prefix.log"
    fail_later "$1, see $prefix.log"
}

remove_temporary() {
    rm -rf "$work" "$staging"
}

build() {
    # Readable, because apt fetches as a user of its own.
    work=$(mktemp -d)
    chmod 755 "$work"
    staging=$(mktemp -d "$cache/staging.XXXXXX") # renamed from here: the same file system
    trap remove_temporary EXIT
    log=$work/log
    need_programs
    fetch_source
    compile_source
    rm -rf "$prefix.failed" "$prefix.log"
    mv -T "$staging$prefix" "$prefix"
}

recently_failed() {
    [ "${WEFT_BUILD_WOLFSSL:-}" != accelerated ] &&
        [ -n "$(find "$prefix.failed" -mmin -$ATTEMPT_AGAIN_MINUTES 2>/dev/null)" ]
}

main() {
    local hash
    command -v dpkg-query apt-get >/dev/null || fail "it is built on Debian only"
    version=$(dpkg-query -W -f '${source:Version}' libwolfssl-dev 2>/dev/null) ||
        fail "libwolfssl-dev is not installed"
    hash=$(recipe | sha256sum | cut -c1-12)
    cache=$(cache_folder) || fail "no folder for it: set WEFT_BUILD_CACHE"
    prefix=$cache/wolfssl-$version-$VARIANT-$hash
    if [ ! -f "$prefix/lib/libwolfssl.a" ]; then
        exec 9>"$cache/wolfssl.lock"
        flock 9
        # Whoever had the lock before may have built it, or failed to.
        if [ ! -f "$prefix/lib/libwolfssl.a" ]; then
            if recently_failed; then
                fail "$(cat "$prefix.failed") (WEFT_BUILD_WOLFSSL=accelerated tries again)"
            fi
            build
        fi
    fi
    echo "$prefix"
}

main
