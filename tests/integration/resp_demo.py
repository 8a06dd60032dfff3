# SPDX-License-Identifier: MIT
"""./dev demo: starts examples/resp, drives it with redis-benchmark for some seconds, and prints
what it did.

    resp_demo.py PROGRAM [--keep] [--port N] [--config FILE] [--keys N] [--log FILE]

It ends with status 0 only if all of it worked. With --keep the server stays up afterwards.
"""
import argparse
import csv
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from resp_client import Connection, call, parse

SECONDS = 120  # for any of the steps
LOADS = [  # command, requests at a time, share of the requests
    ("get", 1, 0.1), ("get", 16, 0.5), ("incr", 1, 0.1), ("incr", 16, 0.5)]


class Failure(Exception):
    """The demo did not work; the text says why."""


class Demo:
    """The server and what was measured."""

    def __init__(self, options):
        self.options = options
        words = [options.program, "--port", str(options.port), "--address", "127.0.0.1"]
        words += ["--config", options.config] if options.config else []
        with open(options.log, "w", encoding="latin-1") as log:
            self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log, start_new_session=True)
        try:
            self.port = self.wait_for_port()
        except Failure:
            self.child.kill()
            raise

    def log_text(self):
        """What the server has said."""
        with open(self.options.log, encoding="latin-1") as file:
            return file.read()

    def wait_for_port(self):
        """Where it listens, as soon as it says so."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.child.poll() is None:
            found = re.search(r"listening on \S+:(\d+),", self.log_text())
            if found:
                return int(found.group(1))
            time.sleep(0.01)
        raise Failure(f"{self.options.program} did not start:\n{self.log_text()}")

    def memory(self):
        """Bytes that are resident."""
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s*(\d+) kB", status.read()).group(1)) * 1024

    def keys(self):
        """How many there are."""
        kind, number = parse(call(self.port, "DBSIZE"))
        if kind != ":":
            raise Failure(f"DBSIZE was answered with {number!r}")
        return int(number)

    def benchmark(self, command, pipeline, requests):
        """A run of redis-benchmark: its line of figures, and the seconds it took."""
        words = ["redis-benchmark", "-p", str(self.port), "-t", command, "-n", str(requests), "-r",
                 str(self.options.keys), "-P", str(pipeline), "--csv"]
        started = time.monotonic()
        try:
            done = subprocess.run(words, capture_output=True, check=False, timeout=SECONDS)
        except FileNotFoundError:
            raise Failure("there is no redis-benchmark (Debian: redis-tools)") from None
        except subprocess.TimeoutExpired:
            raise Failure(f"not done after {SECONDS} s: {' '.join(words)}") from None
        took = time.monotonic() - started
        text = (done.stdout + done.stderr).decode("latin-1")
        rows = list(csv.DictReader(io.StringIO(done.stdout.decode("latin-1"))))
        if done.returncode != 0 or len(rows) != 1 or re.search(r"(?i)error", text):
            raise Failure(f"{' '.join(words)}:\n{text}")
        return rows[0], took

    def check(self):
        """A value comes back as it was set."""
        with Connection(self.port) as connection:
            said = [connection.call("SET", "demo", "works"), connection.call("GET", "demo"),
                    connection.call("DEL", "demo")]
        if said != [b"+OK\r\n", b"$5\r\nworks\r\n", b":1\r\n"]:
            raise Failure(f"SET, GET and DEL were answered with {said}")

    def stop(self):
        """SIGTERM, which must end it with status 0."""
        self.child.send_signal(signal.SIGTERM)
        try:
            status = self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise Failure("it did not end after SIGTERM") from None
        if status != 0:
            raise Failure(f"it ended with status {status}:\n{self.log_text()[-2000:]}")


def row(name, columns):
    """A line of the table."""
    print(f"  {name:<34}" + "".join(f"{column:>14}" for column in columns), flush=True)


def figures(line):
    """Requests per second and latencies."""
    return [f"{float(line['rps']):,.0f}", f"{float(line['p50_latency_ms']):.3f}",
            f"{float(line['p99_latency_ms']):.3f}"]


def drive(demo):
    """The load, and the table of it."""
    total = demo.options.keys
    demo.check()
    memory, before = demo.memory(), demo.keys()
    print(f"\nA key is a virtual actor: the first SET of one activates it. {total:,} SETs of "
          f"random keys,\nthen GET and INCR, one request at a time and 16, 50 connections:\n")
    row("", ["requests/s", "p50 ms", "p99 ms"])
    line, took = demo.benchmark("set", 16, total)
    row(f"SET, {16} at a time", figures(line))
    made, grown = demo.keys() - before, demo.memory() - memory
    if made < total // 3:
        raise Failure(f"{total} SETs of random keys made {made} keys")
    for command, pipeline, share in LOADS:
        line, _ = demo.benchmark(command, pipeline, int(total * share))
        row(f"{command.upper()}, {pipeline} at a time", figures(line))
    print()
    row("keys activated by the SETs", [f"{made:,}"])
    row("activations/s, beside other SETs", [f"{made / took:,.0f}"])
    row("bytes per key, resident", [f"{grown / made:,.0f}"])
    row("keys now, counters included", [f"{demo.keys():,}"])
    demo.check()


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="examples/resp under redis-benchmark")
    parser.add_argument("program")
    parser.add_argument("--keep", action="store_true", help="the server stays up")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--config", help="settings of the server, see docs/tuning.md")
    parser.add_argument("--keys", type=int, default=1000000)
    parser.add_argument("--log", default=os.path.join(tempfile.gettempdir(),
                                                      f"resp-demo-{os.getpid()}.log"),
                        help="what the server says")
    options = parser.parse_args()
    demo = None
    try:
        demo = Demo(options)
        print(f"{options.program} listens on 127.0.0.1:{demo.port}")
        drive(demo)
        print(f"\nBy hand: redis-cli -p {demo.port}")
        if not options.keep:
            print("  (it is stopped now; ./dev demo --keep leaves it running)")
            demo.stop()
        else:
            print(f"  (it goes on until: kill {demo.child.pid})")
        return 0
    except (Failure, AssertionError, OSError) as problem:
        print(f"demo: {problem}", file=sys.stderr)
        if demo is not None and demo.child.poll() is None:
            demo.child.kill()
        return 1


if __name__ == "__main__":
    sys.exit(main())
