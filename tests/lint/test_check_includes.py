#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The source rules find what they are for: one violation of each is planted and must be reported,
and what only looks like one must not."""
import io
import os
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import check_includes

HARMLESS = """/* SPDX-License-Identifier: MIT
 * time() and pthread_create() are only mentioned here; sched/ too: printf("x").
 */
#include "core/harmless.h"
#include <string.h>
#include <weft/weft.h>
// #include "sched/run.h"
static const char *const names[] = {"abort()", "time(NULL)", "\\"exit(1)\\""};
int weft__harmless(weft_env *env, char *text, size_t size) {
    env->random(env, text, size);
    weft_exit(NULL, snprintf(text, size, "%s", names[0]));
    return env->now.time(env) + own_time(text) + runtime_poll(env);
}
"""

LONG_FUNCTION = "int weft__long(int x) {\n" + "    x++;\n" * 75 + "    return x;\n}\n"

# file, content, words the report must contain
PLANTED = [
    ("core/a.c", '#include "sched/run.h"\n', "core/ must not include sched/"),
    ("core/a.c", '#  include  "dist/node.h"\n', "core/ must not include dist/"),
    ("sched/a.c", '#include "io/driver.h"\n', "sched/ must not include io/"),
    ("io/a.c", '#include "shard/map.h"\n', "io/ must not include shard/"),
    ("dist/a.h", '#include "shard/map.h"\n', "dist/ must not include shard/"),
    ("core/a.c", '#include "tests/unit/x.h"\n', "must not include tests/unit/x.h"),
    ("include/weft/a.h", '#include "core/defs.h"\n', "only public headers"),
    ("include/weft/a.h", "#include <ck_ring.h>\n", "must not need ck_ring.h"),
    ("examples/a.c", '#include "core/defs.h"\n', "only public headers"),
    ("examples/resp/a.c", '#include "core/defs.h"\n', "only public headers"),
    ("examples/resp/a.c", '#include "../../tests/lint/own.h"\n', "only public headers"),
    ("sched/a.c", "#include <liburing.h>\n", "liburing outside"),
    ("io/tcp.c", "void f(void) { io_uring_submit(r); }\n", "liburing outside"),
    ("io/tcp.c", "#include <wolfssl/ssl.h>\n", "wolfSSL outside"),
    ("dist/a.c", "void f(void) { wolfSSL_read(s, b, 1); }\n", "wolfSSL outside"),
    ("core/a.c", "void f(void) { clock_gettime(0, &t); }\n", "clock call: clock_gettime"),
    ("core/a.c", "long f(void) { return time(NULL); }\n", "clock call: time"),
    ("core/a.c", "void f(void) { gettimeofday(&t, 0); }\n", "clock call: gettimeofday"),
    ("core/a.c", "void f(void) { getrandom(b, 1, 0); }\n", "randomness call: getrandom"),
    ("core/a.c", "int f(void) { return rand(); }\n", "randomness call: rand"),
    ("core/a.c", "long f(void) { return random (); }\n", "randomness call: random"),
    ("sched/a.c", "void f(void) { pthread_mutex_lock(m); }\n", "thread call"),
    ("sched/a.c", "#include <pthread.h>\n", "thread call"),
    ("sched/a.c", "void f(void) { nanosleep(t, 0); }\n", "sleep or wake-up call: nanosleep"),
    ("sched/a.c", "void f(void) { usleep(1); }\n", "sleep or wake-up call: usleep"),
    ("sched/a.c", "void f(void) { sched_yield(); }\n", "sleep or wake-up call: sched_yield"),
    ("sched/a.c", "void f(void) { syscall(SYS_futex, a); }\n", "SYS_futex"),
    ("sched/a.c", "void f(void) { syscall(SYS_membarrier); }\n", "SYS_membarrier"),
    ("sched/a.c", "int f(void) { return eventfd(0, 0); }\n", "sleep or wake-up call: eventfd"),
    ("sched/a.c", "void f(void) { sched_getaffinity(0, 8, s); }\n", "CPU set call"),
    ("sched/a.c", "void f(int *x) { __atomic_store_n(x, 1, 0); }\n", "atomic operation"),
    ("sched/a.c", "void f(int *x) { __sync_fetch_and_add(x, 1); }\n", "atomic operation"),
    ("sched/a.c", "#include <stdatomic.h>\n", "atomic operation"),
    ("sched/a.c", "void f(void) { ck_pr_fence_memory(); }\n", "atomic operation"),
    ("core/a.c", 'void f(void) { printf("x"); }\n', "printing: printf"),
    ("core/a.c", "void f(void) { fprintf(file, t); }\n", "printing: fprintf"),
    ("core/a.c", "void *f(void) { return stderr; }\n", "printing: stderr"),
    ("core/a.c", 'void f(void) { write(2, "x", 1); }\n', "write to a descriptor"),
    ("core/a.c", "void f(void) { exit(1); }\n", "end of the process: exit"),
    ("sched/a.c", "void f(void) { abort(); }\n", "end of the process: abort"),
    ("core/a.c", 'char *f(void) { return getenv("X"); }\n', "read of the environment"),
    ("core/a.c", "void f(char *x, char *y) { strcpy(x, y); }\n", "unbounded string call"),
    ("core/a.c", "int x;\n" * 801, "801 lines, more than 800"),
    ("core/a.c", LONG_FUNCTION, "weft__long: 78 lines, more than 70"),
    ("tests/unit/a.c", LONG_FUNCTION, "weft__long: 78 lines, more than 70"),
    ("core/a.c", "/* TO" "DO: later */\n", "left unfinished"),
    ("docs/a.md", "This is not imple" "mented.\n", "left unfinished"),
    ("tests/lint/long_functions.txt", "core/a.c weft__gone 80\n", "no longer long"),
]

# file, content: the same things where they belong
ALLOWED = [
    ("core/harmless.c", HARMLESS),
    ("core/env_os.c", "#include <pthread.h>\nvoid f(void) { clock_gettime(0, 0); }\n"),
    ("core/env_os_wake.c", "void f(void) { syscall(SYS_futex, 0); eventfd(0, 0); }\n"),
    ("core/cpus.c", "void f(void) { sched_getaffinity(0, 8, s); }\n"),
    ("core/log.c", 'void f(void) { write(2, "x", 1); }\n'),
    ("core/error.c", "void f(void) { abort(); }\n"),
    ("core/atomic.h", "static void f(int *x) { __atomic_store_n(x, 1, 0); }\n"),
    ("io/uring.c", "#include <liburing.h>\n#include \"sched/run.h\"\n"),
    ("io/tls.c", "#include <wolfssl/options.h>\n"),
    ("examples/resp/own.h", "int own(void);\n"),
    ("examples/resp/a.c", '#include "own.h"\n#include "../b.h"\n#include "resp/own.h"\n'),
    ("examples/b.h", "int b(void);\n"),
    ("tests/unit/test_a.c", "int main(void) { printf(\"x\"); exit(0); }\n"),
    ("core/long.c", LONG_FUNCTION),
    ("tests/lint/long_functions.txt", "core/long.c weft__long 78\n"),
]

HEADER = """#define WEFT_API __attribute__((visibility("default")))
/* WEFT_API int weft_in_a_comment(void); */
WEFT_API int weft_one(int (*callback)(void *));
WEFT_API const char *
weft_two(void);
"""
LIBRARY = """#include <stddef.h>
WEFT_API int weft_one(int (*callback)(void *)) { return callback(NULL); }
WEFT_API const char *weft_two(void) { return "two"; }
int weft__internal(void) { return 1; }
int (*const weft__table[])(void) = {weft__internal};
"""


class PlantedTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.root = self.temporary.name
        os.makedirs(os.path.join(self.root, "tests/lint"))

    def tearDown(self):
        self.temporary.cleanup()

    def plant(self, path, content):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)

    def report(self, *arguments):
        output = io.StringIO()
        count = check_includes.run(["--root", self.root, *arguments], output)
        return count, output.getvalue()

    def test_every_planted_violation_is_reported(self):
        self.plant("tests/lint/own.h", "int own(void);\n")
        for path, content, words in PLANTED:
            with self.subTest(path=path, words=words):
                self.plant(path, content)
                count, text = self.report()
                os.unlink(os.path.join(self.root, path))
                self.assertGreater(count, 0)
                self.assertIn(words, text)
                self.assertIn(path, text)

    def test_each_thing_in_its_place_is_not_reported(self):
        for path, content in ALLOWED:
            self.plant(path, content)
        count, text = self.report()
        self.assertEqual(count, 0, text)

    def test_line_numbers_are_right(self):
        self.plant("core/a.c", "/* a\n * b\n */\n\nvoid f(void) {\n    abort();\n}\n")
        self.assertIn("core/a.c:6: ", self.report()[1])

    # ---- libraries ----

    def build(self, source):
        folder = os.path.join(self.root, "build")
        self.plant("include/weft/a.h", HEADER)
        self.plant("build/a.c", '#include "../include/weft/a.h"\n' + source)
        compiler = os.environ.get("CC", "cc").split()
        for command in (
                [*compiler, "-fPIC", "-fvisibility=hidden", "-c", "a.c"],
                ["ar", "rcs", "libweft_core.a", "a.o"],
                [*compiler, "-shared", "-o", "libweft.so.0.1.0", "a.o"]):
            subprocess.run(command, cwd=folder, check=True)
        count, text = self.report("--build", folder)
        return count, text

    def test_clean_library(self):
        count, text = self.build(LIBRARY)
        self.assertEqual(count, 0, text)

    def test_mutable_globals(self):
        for line, symbol in (("int weft__count;", "weft__count"),
                             ("static int ready = 1; int *weft__r(void) { return &ready; }",
                              "ready"),
                             ("int *weft__f(void) { static int calls; return &calls; }", "calls"),
                             ("_Thread_local int weft__tls;", "weft__tls")):
            with self.subTest(symbol=symbol):
                count, text = self.build(LIBRARY + line + "\n")
                self.assertEqual(count, 1, text)
                self.assertIn(f"mutable global in a.o: {symbol}", text)

    def test_current_scheduler_is_allowed(self):
        count, text = self.build(LIBRARY + "static _Thread_local void *current_scheduler;\n"
                                           "void *weft__c(void) { return current_scheduler; }\n")
        self.assertEqual(count, 0, text)

    def test_names_of_the_static_library(self):
        count, text = self.build(LIBRARY + "void helper(void) {}\n")
        self.assertEqual(count, 1, text)
        self.assertIn("global symbol without the prefix weft_: helper", text)

    def test_exported_symbols(self):
        count, text = self.build(LIBRARY + "WEFT_API void helper(void) {}\n"
                                           "WEFT_API void weft_secret(void) {}\n")
        self.assertEqual(count, 3, text)
        self.assertIn("exported under a foreign name: helper", text)
        self.assertIn("exported but in no public header: weft_secret", text)

    def test_missing_export(self):
        count, text = self.build(LIBRARY.replace("WEFT_API int weft_one", "int weft_one_x"))
        self.assertEqual(count, 1, text)
        self.assertIn("declared WEFT_API but not exported: weft_one", text)

    def test_no_libraries_is_a_violation(self):
        os.makedirs(os.path.join(self.root, "empty"))
        self.assertIn("no libraries", self.report("--build", os.path.join(self.root, "empty"))[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
