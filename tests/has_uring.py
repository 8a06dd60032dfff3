#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does this machine let us have an io_uring as the library wants one? Exits with 0 when it does.

Else it says why not, and exits with 1. The floor is that of io/uring_probe.c, Linux 6.1, which is
the first with IORING_SETUP_DEFER_TASKRUN. With WEFT_TEST_NEED_URING set, 1 is taken for yes and
anything else for no, without a look.
"""
import ctypes
import os
import struct
import sys

IO_URING_SETUP = 425  # the number on every architecture but alpha
R_DISABLED = 1 << 6
SINGLE_ISSUER = 1 << 12
DEFER_TASKRUN = 1 << 13
PARAMS_BYTES = 120
FLAGS_OFFSET = 8


def probe():
    """0 or an errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    params = ctypes.create_string_buffer(PARAMS_BYTES)
    struct.pack_into("=I", params, FLAGS_OFFSET, R_DISABLED | SINGLE_ISSUER | DEFER_TASKRUN)
    fd = libc.syscall(ctypes.c_long(IO_URING_SETUP), ctypes.c_uint(8), params)
    if fd < 0:
        return ctypes.get_errno()
    os.close(fd)
    return 0


def main():
    need = os.environ.get("WEFT_TEST_NEED_URING")
    if need is not None:
        return 0 if need == "1" else 1
    error = probe()
    if error != 0:
        print(f"no io_uring: {os.strerror(error)}")
    return 0 if error == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
