#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh INCLUDE HEADER LANGUAGE STANDARD COMPILER...: the public header compiles alone, and
# twice, without a warning.
set -eu

include=$1 header=$2 language=$3 standard=$4
shift 4

printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$header" "$header" |
    "$@" -x "$language" "-std=$standard" -Wall -Wextra -Wpedantic -Wshadow -Wundef -Werror \
        -I "$include" -fsyntax-only -
