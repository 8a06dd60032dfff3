#!/bin/sh
# SPDX-License-Identifier: MIT
#
# install.sh SOURCE BUILD: installs the build folder into a temporary place and builds the program
# of README.md against what is there, with nothing but pkg-config: as C and as C++, shared and
# static. Then one that uses TLS, or is told that there is none, and one on the simulator.
set -eu

source=$1
build=$2
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
expected="the total is 5050"

install_library() {
    meson install -C "$build" --no-rebuild --quiet --destdir "$temporary/root"
    folder=$(dirname "$(find "$temporary/root" -name weft.pc)")
    sed -i "s|^prefix=|prefix=$temporary/root|" "$folder"/*.pc
    export PKG_CONFIG_PATH="$folder"
    libraries=$(dirname "$folder")
}

# build_shared NAME PACKAGE COMPILER FILE
build_shared() {
    # shellcheck disable=SC2046 # flags are words
    "$3" -O2 -Wall -Werror "$4" -o "$temporary/$1" $(pkg-config --cflags --libs "$2")
}

# Everything but the C library, to which libm belongs.
build_static() {
    # shellcheck disable=SC2046 # flags are words
    "$3" -O2 -Wall -Werror "$4" -o "$temporary/$1" \
        -Wl,-Bstatic $(pkg-config --static --cflags --libs "$2" | sed 's/ -lm\b//g') \
        -Wl,-Bdynamic -lm
}

run_program() {
    output=$(LD_LIBRARY_PATH="$libraries" timeout 60 "$temporary/$1")
    echo "$1: $output"
    [ "$output" = "$expected" ]
}

uses_shared_library() {
    LD_LIBRARY_PATH="$libraries" ldd "$temporary/$1" | grep -q 'libweft\.so\.0'
}

# check_language COMPILER ENDING
check_language() {
    cp "$temporary/readme" "$temporary/readme.$2"
    build_shared "shared-$2" weft "$1" "$temporary/readme.$2"
    uses_shared_library "shared-$2"
    run_program "shared-$2"
    build_static "static-$2" weft "$1" "$temporary/readme.$2"
    if uses_shared_library "static-$2"; then
        echo "the static program uses the shared library"
        return 1
    fi
    run_program "static-$2"
}

# Nothing that is installed names a folder that only this machine has.
check_relocatable() {
    if sed '/^prefix=/d; s| -L/usr/[^ ]*||' "$folder/weft.pc" | grep -E '(^|[ =]|-[LI])/'; then
        echo "weft.pc names a folder outside of its prefix"
        return 1
    fi
    if readelf -d "$libraries/libweft.so" | grep -E 'R(UN)?PATH'; then
        echo "libweft.so has a search path"
        return 1
    fi
}

# A wolfSSL that is a part of libweft.so cannot be seen, and is installed for libweft.a.
check_tls() {
    cat >"$temporary/tls.c" <<'TEXT'
#include <errno.h>
#include <stdio.h>
#include <weft/tls.h>
#include <weft/weft.h>
int main(void) {
    weft_tls_options options = {.struct_size = WEFT_TLS_OPTIONS_INIT, .self_name = "localhost"};
    weft_runtime *runtime;
    weft_tls *tls = NULL;
    int status;
    if (weft_runtime_create(NULL, &runtime) != 0) {
        return 1;
    }
    status = weft_tls_create(runtime, &options, &tls, NULL);
    weft_tls_unref(tls);
    if (weft_runtime_destroy(&runtime) != 0) {
        return 1;
    }
    return printf(status == 0 ? "a certificate\n" : status == -ENOSYS ? "no TLS\n" : "?\n") < 0;
}
TEXT
    expected="no TLS"
    if grep '^Libs\.private:.*wolfssl' "$folder/weft.pc"; then
        expected="a certificate"
    fi
    build_shared tls-shared weft "${CC:-cc}" "$temporary/tls.c"
    run_program tls-shared
    build_static tls-static weft "${CC:-cc}" "$temporary/tls.c"
    run_program tls-static
    if [ -f "$libraries/libweft-wolfssl.a" ] &&
        LD_LIBRARY_PATH="$libraries" ldd "$temporary/tls-shared" | grep libwolfssl; then
        echo "two copies of wolfSSL"
        return 1
    fi
}

check_simulator() {
    cat >"$temporary/sim.c" <<'TEXT'
#include <stdio.h>
#include <weft/sim.h>
int main(void) {
    weft_sim_options options = {.struct_size = WEFT_SIM_OPTIONS_INIT, .seed = 1};
    weft_sim *sim = NULL;
    weft_runtime *runtime = NULL;
    if (weft_sim_create(&options, &sim) != 0 ||
        weft_runtime_create_env(NULL, weft_sim_env(sim), &runtime) != 0 ||
        weft_runtime_start(runtime) != 0 || weft_sim_stop(sim, runtime, 1000000) != 0 ||
        weft_runtime_destroy(&runtime) != 0) {
        return 1;
    }
    weft_sim_destroy(&sim);
    return printf("simulated\n") < 0;
}
TEXT
    expected=simulated
    build_shared sim-shared weft-sim "${CC:-cc}" "$temporary/sim.c"
    run_program sim-shared
    build_static sim-static weft-sim "${CC:-cc}" "$temporary/sim.c"
    run_program sim-static
}

install_library
check_relocatable
python3 "$source/tests/lint/readme_example.py" "$source/README.md" >"$temporary/readme"
check_language "${CC:-cc}" c
if command -v "${CXX:-c++}" >/dev/null; then
    check_language "${CXX:-c++}" cpp
fi
check_tls
check_simulator
