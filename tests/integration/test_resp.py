# SPDX-License-Identifier: MIT
"""examples/resp beside redis-server, under redis-benchmark and redis-cli, and against clients that
are broken: test_resp.py PROGRAM CLASS...

PROGRAM may be redis-server itself: then the tests are tested. That of a million replies which
nobody reads fails there, as Redis has no such bound.
"""
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import resp_differential
import resp_load
import servers
from resp_client import Connection, Redis, call, encode, parse
from resp_commands import EXTRA, REQUIRED
from resp_hostile import HostileTests, answers, garbage
from resp_linear import (NOT_A_NUMBER, SMALL_DIGITS, Operation, Undecided, apply, check_counter,
                         check_log, check_mixed, check_register)
from servers import FACTOR, WAIT

COMMANDS = int(os.environ.get("WEFT_TEST_COMMANDS", "100000" if FACTOR == 1 else "30000"))
SEED = int(os.environ.get("WEFT_TEST_SEED", "1"))


def start(program, *options):
    """The server under test."""
    if os.path.basename(program) == "redis-server":
        server = Redis()
        server.descriptors = lambda: len(os.listdir(f"/proc/{server.child.pid}/fd"))
        server.memory_kib = lambda: servers.Server.memory_kib(server)
        return server
    return servers.Server(program, "--address", "127.0.0.1", *options)


def documented_commands():
    """Names in the first table of docs/resp.md."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/resp.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    table = text[text.index("## Commands"):].split("\n\n")[1]
    return [word for line in table.split("\n") if line.startswith("|") for word in
            line.split("|")[2].split() if word.isupper()]


class Case(servers.Case):
    """One server per test."""

    def setUp(self):
        self.server = start(self.PROGRAM, *self.options())

    def call(self, *words):
        """A command on a connection of its own."""
        return call(self.server.port, *words)


class Hostile(HostileTests, Case):
    """Broken and malicious clients."""


# ---- beside redis-server -------------------------------------------------------------------------


class Beside(Case):
    """With a redis-server to compare with."""

    def setUp(self):
        super().setUp()
        self.redis = Redis()

    def tearDown(self):
        self.redis.stop()
        super().tearDown()


class Differential(Beside):
    """The same commands to both."""

    def compare(self, seed, count):
        """Random commands; any difference is a failure."""
        started = time.monotonic()
        text, comparison = resp_differential.compare_servers(
            self.server.port, self.redis.port, seed, count, shorten=True)
        print(f"seed {seed}: {comparison.index} commands in {time.monotonic() - started:.1f} s, "
              f"not known to both: {sorted(comparison.missing)}", flush=True)
        self.assertEqual(text, "", f"\n{text}")
        self.assertGreaterEqual(comparison.index, count)

    def test_random_commands_are_answered_as_redis_does(self):
        self.compare(SEED, COMMANDS)

    def test_every_command_of_the_documentation_is_there_and_no_other(self):
        if os.path.basename(self.PROGRAM) == "redis-server":
            self.skipTest("it is about the example")
        promised = {name.lower() for name in documented_commands()}
        self.assertEqual(promised, {name.lower() for name in REQUIRED + EXTRA + ["SCAN"]})
        listed = [item[1].decode() for item in parse(self.call("COMMAND", "LIST"))[1]]
        self.assertEqual(sorted(listed), sorted(promised))

    def test_categories_of_commands_are_those_of_redis(self):
        names = [name.lower() for name in REQUIRED + EXTRA + ["SCAN"]]
        used = set()
        answers_ = [parse(call(server.port, "COMMAND", "INFO", *names))[1]
                    for server in (self.server, self.redis)]
        for ours, theirs in zip(*answers_):
            mine, their = (sorted(c[1].decode() for c in one[1][6][1]) for one in (ours, theirs))
            self.assertEqual(mine, their, ours[1][0])
            used.update(their)
        for category in sorted(used):
            lists = [{item[1].decode() for item in parse(call(
                server.port, "COMMAND", "LIST", "FILTERBY", "ACLCAT", category[1:].upper()))[1]}
                     for server in (self.server, self.redis)]
            self.assertEqual(lists[0] & set(names), lists[1] & set(names), category)
            self.assertGreater(len(lists[0]), 0)

    def test_help_tells_what_there_is_in_the_words_of_redis(self):
        for command, without in (("CLIENT", "KILL"), ("COMMAND", "GETKEYS"), ("CONFIG", "REWRITE")):
            ours, theirs = ([item for item in parse(call(s.port, command, "HELP"))[1]]
                            for s in (self.server, self.redis))
            if os.path.basename(self.PROGRAM) != "redis-server":
                self.assertNotIn(without.encode(), b" ".join(item[1] for item in ours))
            different = [line for line in ours if line not in theirs]
            self.assertLessEqual(len(different), 2 if command == "CLIENT" else 0, different)
            self.assertEqual((ours[0], ours[-2:]), (theirs[0], theirs[-2:]))

    def test_what_expires_is_gone(self):
        transcripts = []
        for port in (self.server.port, self.redis.port):
            with Connection(port) as connection:
                first = [["FLUSHALL"]]
                first += [["SET", f"e:{i}", "v", "PX", "1000"] for i in range(20)]
                first += [["RPUSH", "e:list", "a", "b"], ["PEXPIRE", "e:list", "1000"],
                          ["SET", "stays", "v", "PX", "1000"], ["PERSIST", "stays"],
                          ["EXISTS", "e:1"]]
                # At once: a machine that stands still meanwhile does not get into it.
                got = connection.exchange(b"".join(encode(*words) for words in first), len(first))
                time.sleep(1.5)
                for words in (["GET", "e:1"], ["TTL", "e:2"], ["EXISTS", "e:3", "e:4", "stays"],
                              ["TYPE", "e:list"], ["LPUSH", "e:list", "c"], ["LLEN", "e:list"],
                              ["TTL", "e:list"], ["INCR", "e:5"], ["TTL", "e:5"],
                              ["APPEND", "e:6", "x"], ["SET", "e:7", "x", "NX"],
                              ["SET", "e:8", "x", "XX"], ["PERSIST", "e:9"],
                              ["GETSET", "e:10", "x"], ["EXPIRE", "e:11", "100"], ["DEL", "e:12"],
                              ["GET", "stays"]):
                    got.append(connection.call(*words))
            transcripts.append(got)
        self.assertEqual(*transcripts)


class SelfTest(unittest.TestCase):
    """Whether the comparison would find a difference. Needs no program under test."""

    PROGRAM = None

    def test_every_planted_difference_is_found(self):
        for seed, one_in in ((1, 10000), (2, 100)):
            number, missed, wrong = resp_differential.self_test(seed, COMMANDS, one_in)
            print(f"{number} planted, one in {one_in}", flush=True)
            self.assertGreater(number, COMMANDS // one_in // 3)
            self.assertEqual((missed, wrong), ([], []))

    def test_every_time_that_is_some_seconds_off_is_found(self):
        number, missed, wrong = resp_differential.self_test(3, COMMANDS // 3, 2, times=True)
        print(f"{number} times planted", flush=True)
        self.assertGreater(number, COMMANDS // 1000)
        self.assertEqual((missed, wrong), ([], []))

    def test_how_far_clocks_may_be_apart_follows_from_what_was_measured(self):
        same = resp_differential.same
        for rule, unit in (("seconds", 1), ("milliseconds", 1000)):
            for apart, tolerance, expected in ((2, 2, True), (3, 2, False), (40, 45, True),
                                               (46, 45, False), (59, 2, False)):
                for sign in (1, -1):
                    ours = b":%d\r\n" % ((1000 + sign * apart) * unit)
                    theirs = b":%d\r\n" % (1000 * unit)
                    self.assertEqual(same(rule, ours, theirs, tolerance), expected)
            self.assertFalse(same(rule, b":-1\r\n", b":0\r\n", 60))

    def test_a_promised_command_that_is_gone_is_a_failure(self):
        with_all, without = Redis(), Redis("--rename-command", "HSTRLEN", "")
        try:
            with self.assertRaisesRegex(AssertionError, "HSTRLEN"):
                resp_differential.Comparison(without.port, with_all.port, 1)
            comparison = resp_differential.Comparison(with_all.port, without.port, 1)
            self.assertEqual(comparison.missing, {"HSTRLEN"})
        finally:
            with_all.stop()
            without.stop()


RAW = [  # requests as bytes, each on a connection of its own
    b"", b"\r\n", b"\r\n\r\nPING\r\n", b"\n", b"PING\n", b"PING\r\nPING\r\n", b"  PING  \r\n",
    b"ping hello\r\n", b'PING "a b"\r\n', b"PING 'a b'\r\n", b'PING "a\\x41\\n\\"\\z"\r\n',
    b"PING 'a\\'b\\n'\r\n", b'PING "a\r\n', b"PING 'a\r\n", b'PING "a"b\r\n', b"PING ''\r\n",
    b'ECHO ""\r\n', b"nosuch a b\r\n", b"GET\r\n", b"   \r\n", b"\t\r\n",
    b"*0\r\n", b"*-1\r\n", b"*-10\r\nPING\r\n", b"*0\r\n*1\r\n$4\r\nPING\r\n", b"*\r\n", b"*a\r\n",
    b"*1a\r\n", b"* 1\r\n", b"*+1\r\n", b"*01\r\n$4\r\nPING\r\n", b"*1\n$4\nPING\n",
    b"*1\r\n$4\r\nPING\r\n", b"*1\r\n4\r\nPING\r\n", b"*1\r\n:4\r\n", b"*1\r\n+PING\r\n",
    b"*1\r\n$\r\n", b"*1\r\n$a\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$-0\r\nPING\r\n",
    b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$ 4\r\nPING\r\n", b"*1\r\n$4 \r\nPING\r\n",
    b"*1\r\n$0\r\n\r\n", b"*1\r\n$3\r\nPING\r\n",
    b"*1\r\n$5\r\nPING\r\n", b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n", b"*1\r\n\r\n",
    b"*2\r\n$4\r\nPING\r\n", b"*2\r\n$4\r\nPING\r\n$-5\r\n", b"*1\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$536870913\r\n", b"*1\r\n$9223372036854775808\r\n", b"*99999999999999999999\r\n",
    b"*-99999999999999999999\r\n", b"$4\r\nPING\r\n", b"+PING\r\n", b":1\r\n", b"\xff\xfe\r\n",
    b"*1\r\n$4\r\nPING\r\n*x\r\n*1\r\n$4\r\nPING\r\n", b"PING\r\n*1\r\n$x\r\nPING\r\n",
    b"*" + b"1" * 70000, b"*1\r\n$" + b"1" * 70000, b"P" * 70000, b"P" * 65535 + b"\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
    b"QUIT\r\nPING\r\n", b"*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n", b"HELLO 3\r\n*x\r\n",
    b"SUBSCRIBE a\r\nGET a\r\n*x\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\na", b"PING", b"SET a b\r\nGET a",
    b"MGET" + b" a" * 1000 + b"\r\n", b"EXISTS" + b" a" * 30000 + b"\r\n",
]


class Protocol(Beside):
    """Bytes that are no commands, or hardly. Without zero bytes where they might get into an inline
    request: Redis does not see the end of a line behind one, and waits."""

    def exchange(self, port, data):
        """What comes back for bytes that end there, and that the connection then ends."""
        with servers.connect("127.0.0.1", port) as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # ended in the middle, for a reason that the answer tells
            text, ended = answers(sock)
        self.assertTrue(ended, f"still open after {data[:200]!r}")
        return text

    def compare(self, data, what):
        """Both servers answer the same."""
        ours, theirs = (self.exchange(s.port, data) for s in (self.server, self.redis))
        if b"redis\r\n" in theirs:  # HELLO tells versions
            ours, theirs = (text[text.index(b"modules"):] for text in (ours, theirs))
        self.assertEqual(ours, theirs, f"{what}: {data[:300]!r}")

    def test_requests_as_bytes(self):
        for data in RAW:
            with self.subTest(data=data[:60]):
                self.compare(data, "raw")

    def test_requests_that_are_broken_at_random(self):
        for seed in range(SEED * 10000, SEED * 10000 + int(2000 / FACTOR)):
            self.compare(garbage(random.Random(seed)).replace(b"\0", b"0"), f"seed {seed}")

    def test_requests_in_pieces(self):
        data = (encode("SET", "p", b"\r\n$1\r\n") + b'ECHO "in line"\r\n' + encode("GET", "p") +
                encode("HSET", "ph", "f", "v") + b"\r\n" + encode("HGETALL", "ph") + b"PING\n")
        whole = self.exchange(self.redis.port, data)
        for size in (1, 2, 3, 5, 7, 11, 30):
            with Connection(self.server.port) as connection:
                connection.call("DEL", "p", "ph")
                for at in range(0, len(data), size):
                    connection.send(data[at:at + size])
                    if at % 4 == 0:
                        time.sleep(0.0005)
                got = b"".join(connection.replies(6))
            self.assertEqual(got, whole, f"pieces of {size}")

    def test_a_request_may_be_ended_by_its_client_at_any_byte(self):
        data = encode("SET", "cut", "value") + encode("GET", "cut")
        for size in range(len(data) + 1):
            self.compare(data[:size], f"cut after {size}")


class Channels(Beside):
    """PUBLISH and SUBSCRIBE between connections."""

    def scene(self, port, protocol):
        """Everything that three connections are told."""
        told = []
        with Connection(port) as one, Connection(port) as two, Connection(port) as sender:
            if protocol == 3:
                for connection in (one, two):
                    connection.call("HELLO", "3")
            told += one.exchange(encode("SUBSCRIBE", "a", "b", "a"), 3)
            told += two.exchange(encode("SUBSCRIBE", "b", b"\r\n"), 2)
            for channel in ("a", "b", "c", b"\r\n", ""):
                told.append(sender.call("PUBLISH", channel, b"to " + str(channel).encode()))
            told += one.replies(2) + two.replies(2)
            told += one.exchange(encode("UNSUBSCRIBE", "a") + encode("PING"), 2)
            told += [sender.call("PUBLISH", "a", "x"), sender.call("PUBLISH", "b", b"\0\r\n")]
            told += one.replies(1) + two.replies(1)
            told += one.exchange(encode("UNSUBSCRIBE", "b", "c") + encode("GET", "none"), 3)
            two.close()
            deadline = time.monotonic() + WAIT
            while sender.call("PUBLISH", "b", "y") != b":0\r\n":
                self.assertLess(time.monotonic(), deadline, "who ended is still subscribed")
            told.append(one.call("RESET"))
        return told

    def test_what_is_said_is_what_redis_says(self):
        for protocol in (2, 3):
            self.assertEqual(self.scene(self.server.port, protocol),
                             self.scene(self.redis.port, protocol), f"RESP{protocol}")

    def test_messages_come_in_the_order_of_each_publisher(self):
        subscribers = [Connection(self.server.port) for _ in range(8)]
        publishers = [Connection(self.server.port) for _ in range(4)]
        for subscriber in subscribers:
            subscriber.call("SUBSCRIBE", "ordered")
        wrong = []

        def publish(number):
            request = b"".join(encode("PUBLISH", "ordered", f"{number}:{i}") for i in range(1000))
            if publishers[number].exchange(request, 1000) != [b":8\r\n"] * 1000:
                wrong.append(f"publisher {number} was told a wrong number of receivers")

        threads = [threading.Thread(target=publish, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for subscriber in subscribers:
            texts = [parse(r)[1][2][1].decode().split(":") for r in subscriber.replies(4000)]
            for number in range(4):
                mine = [int(i) for who, i in texts if int(who) == number]
                self.assertEqual(mine, list(range(1000)))
        for thread in threads:
            thread.join(WAIT)
        self.assertEqual(wrong, [])
        for connection in subscribers + publishers:
            connection.close()


# ---- linearizability -----------------------------------------------------------------------------


class Linear(Case):
    """Pipelining connections on a few keys see one order of all operations on a key."""

    def test_every_key_has_one_order(self):
        for seed in range(SEED, SEED + (4 if FACTOR == 1 else 2)):
            for attempt in range(6):  # each smaller: how much meets is a matter of chance
                history = resp_load.record(self.server.port, seed * 10 + attempt,
                                           count=int(800 / FACTOR / (1 + attempt)))
                try:
                    self.check(history, seed)
                    break
                except Undecided as error:
                    print(f"seed {seed}, attempt {attempt}: {error}", flush=True)
            else:
                self.fail("the search was too large six times")
        self.assertGreater(sum(self.planted_is_found(key, operations) for key, operations in
                               history.items() if not key.startswith("mixed")), 3)

    def test_a_planted_read_is_found_on_every_key(self):
        # Few at a time: then the search for an order of mixed operations ends, also when it finds
        # none. Undecided is a failure here.
        for seed in range(SEED, SEED + 5):
            left = set(resp_load.KEYS)
            for attempt in range(6):  # whether a key's reads can be used is a matter of chance
                history = resp_load.record(self.server.port, seed * 100 + attempt, connections=6,
                                           count=200)
                self.check(history, seed)
                left -= {key for key in left if self.planted_is_found(key, history[key])}
                if not left:
                    break
            self.assertEqual(left, set(), f"seed {seed}: nothing could be planted")

    def check(self, history, seed):
        """All keys of a history."""
        line = []
        for key, operations in history.items():
            self.assertIsNone(resp_load.check(key, operations), f"seed {seed}, {key}")
            line.append(f"{key} {len(operations)}/{resp_load.overlap(operations):.0f}")
        print(f"seed {seed}, operations/under way: {', '.join(line)}", flush=True)

    def planted_is_found(self, key, operations):
        """Changes a late GET into one that saw what had been replaced before it began; it must be
        refused. False when there is no GET to change."""
        reads = sorted((o for o in operations if o.kind == "GET" and o.result is not None),
                       key=lambda o: o.start)
        for late in reversed(reads):
            for early in reads:
                if self.never_again(key, early.result) and any(
                        o.result != early.result and o.start > early.end and o.end < late.start
                        for o in reads):
                    late.result = early.result
                    self.assertIsNotNone(resp_load.check(key, operations), f"{key}: not found")
                    return True
        return False

    def never_again(self, key, value):
        """Whether a value that was replaced cannot come back: on a mixed key that is deleted now
        and then, INCR makes the same small numbers many times."""
        return not key.startswith("mixed") or len(value) > SMALL_DIGITS


def brute_force(operations):
    """Whether an order explains the results, by trying all of them."""
    stack = [(frozenset(range(len(operations))), None)]
    while stack:
        left, state = stack.pop()
        if not left:
            return True
        for i in left:
            mine = operations[i]
            if any(operations[j].end < mine.start or (operations[j].client == mine.client and j < i)
                   for j in left if j != i):
                continue
            after = apply(state, mine)
            if after is not None:
                stack.append((left - {i}, after[0]))
    return False


class History:
    """A small history made up: right, or spoiled."""

    def __init__(self, seed, kinds):
        self.random = random.Random(seed)
        self.kinds = kinds
        self.operations = []
        self.state = None
        for number in range(self.random.randrange(2, 9)):
            self.add(number)
        if self.random.random() < 0.6:
            self.spoil()
        self.in_order()

    def add(self, number):
        """An operation that takes effect now."""
        kind = self.random.choice(self.kinds)
        argument = {"APPEND": b"+%07d" % number, "SET": b"v%d" % number,
                    "GETSET": b"%d0000" % (number + 100)}.get(kind, b"")
        result = self.state if kind in ("GET", "GETSET") else None
        if kind == "DEL":
            result = int(self.state is not None)
        elif kind == "APPEND":
            result = len(self.state or b"") + len(argument)
        elif kind == "INCR":
            text = self.state or b"0"
            result = int(text) + 1 if text.isdigit() else NOT_A_NUMBER
        middle = 10 * number
        start, end = middle - self.random.randrange(60), middle + self.random.randrange(60)
        operation = Operation(self.random.randrange(4), kind, argument, result, start, end)
        self.state = apply(self.state, operation)[0]
        self.operations.append(operation)

    def spoil(self):
        """Exchanges results, or moves an operation in time."""
        one, other = self.random.choice(self.operations), self.random.choice(self.operations)
        if one.kind == other.kind:
            one.result, other.result = other.result, one.result
        else:
            shift = self.random.choice((-60, 60, 120))
            one.start, one.end = one.start + shift, one.end + shift

    def in_order(self):
        """A connection sends and is answered in order."""
        for client in range(4):
            start = end = -1000
            for operation in self.operations:
                if operation.client == client:
                    operation.start = start = max(start, operation.start)
                    operation.end = end = max(end, operation.end, start)


class Checkers(unittest.TestCase):
    """Whether a history that is not linearizable would be noticed. Needs no program."""

    PROGRAM = None
    SETS = ((["SET", "GET", "GETSET"], check_register), (["INCR", "GET"], check_counter),
            (["APPEND", "GET"], lambda operations: check_log(operations, 8)),
            (["SET", "GET", "GETSET", "INCR", "APPEND", "DEL"], check_mixed))

    def test_they_find_what_trying_all_orders_finds(self):
        bad = 0
        for seed in range(int(6000 / FACTOR)):
            kinds, check = self.SETS[seed % len(self.SETS)]
            operations = History(seed, kinds).operations
            expected = brute_force(operations)
            bad += not expected
            for one in (check, check_mixed):
                self.assertEqual(one(operations) is None, expected, f"seed {seed}: {operations}")
        self.assertGreater(bad, 300 / FACTOR)

    def assert_wrong(self, check, *rows):
        """Rows of client, kind, argument, result, start, end."""
        operations = [Operation(*row) for row in rows]
        self.assertIsNotNone(check(operations))
        self.assertIsNotNone(check_mixed(operations))

    def test_a_value_that_is_read_after_it_was_replaced(self):
        self.assert_wrong(check_register, (0, "SET", b"a", None, 0, 1),
                          (0, "SET", b"b", None, 2, 3), (1, "GET", b"", b"a", 4, 5))

    def test_two_readers_that_disagree_about_the_order(self):
        self.assert_wrong(check_register, (0, "SET", b"a", None, 0, 9),
                          (1, "SET", b"b", None, 0, 9), (2, "GET", b"", b"a", 1, 2),
                          (2, "GET", b"", b"b", 3, 4),
                          (3, "GET", b"", b"b", 1, 2), (3, "GET", b"", b"a", 3, 4))

    def test_two_who_replaced_the_same_value(self):
        self.assert_wrong(check_register, (0, "GETSET", b"a", None, 0, 9),
                          (1, "GETSET", b"b", None, 0, 9))

    def test_pipelined_requests_that_changed_places(self):
        self.assert_wrong(check_register, (0, "SET", b"a", None, 0, 9), (0, "GET", b"", None, 0, 9))

    def test_a_lost_increment(self):
        self.assert_wrong(check_counter, (0, "INCR", b"", 1, 0, 9), (1, "INCR", b"", 1, 0, 9))

    def test_a_counter_that_goes_back(self):
        self.assert_wrong(check_counter, (0, "INCR", b"", 1, 0, 1), (0, "INCR", b"", 2, 2, 3),
                          (1, "GET", b"", b"1", 4, 5))

    def test_an_append_that_vanished(self):
        operations = [Operation(0, "APPEND", b"+0000001", 8, 0, 1),
                      Operation(1, "APPEND", b"+0000002", 16, 2, 3),
                      Operation(2, "GET", b"", b"+0000002", 4, 5)]
        self.assertIsNotNone(check_log(operations, 8))
        self.assertIsNotNone(check_mixed(operations))

    def test_a_deleted_value_that_comes_back(self):
        operations = [Operation(0, "SET", b"a", None, 0, 1), Operation(0, "DEL", b"", 1, 2, 3),
                      Operation(1, "GET", b"", b"a", 4, 5)]
        self.assertIsNotNone(check_mixed(operations))


# ---- programs of others --------------------------------------------------------------------------


def run(*arguments, text=None, seconds=6 * WAIT):
    """Runs a program, which must succeed; what it printed."""
    done = subprocess.run(arguments, input=text, capture_output=True, check=False, timeout=seconds)
    output = done.stdout + done.stderr
    if done.returncode != 0:
        raise AssertionError(f"{arguments}: {done.returncode}\n{output.decode('latin-1')[-3000:]}")
    return output


CLI = b"""SET greeting "hello world"
GET greeting
INCR visits
RPUSH list a b c
LRANGE list 0 -1
HSET hash field value other 2
HGETALL hash
SADD set one
SMEMBERS set
ZADD zset 1 one 2.5 two
ZRANGE zset 0 -1 WITHSCORES
ZSCORE zset two
GET nothing
LPUSH greeting x
NOSUCH command
GET
SET binary "\\x00\\xff\\r\\n"
GET binary
TYPE hash
EXISTS list nothing list
"""


class Tools(Beside):
    """redis-benchmark and redis-cli."""

    REQUESTS = str(int(20000 / FACTOR))

    def benchmark(self, *options):
        """The whole default suite, without a word about an error."""
        text = run("redis-benchmark", "-p", str(self.server.port), "-n", self.REQUESTS, "-q",
                   *options, seconds=12 * WAIT).decode()
        lines = [line for line in text.replace("\r", "\n").split("\n") if "requests per" in line]
        print("\n".join(lines), flush=True)
        self.assertNotRegex(text, r"(?i)error|warning|could not|failed")
        self.assertGreaterEqual(len(lines), 1 if "-t" in options else 20)

    def test_redis_benchmark(self):
        self.benchmark()

    def test_redis_benchmark_pipelined(self):
        self.benchmark("-P", "16", "-r", "1000")

    def test_redis_benchmark_with_threads(self):
        self.benchmark("--threads", "2", "-r", "100000")

    def test_redis_benchmark_large_values(self):
        self.benchmark("-d", "20000", "-t", "set,get,lpush,rpop", "-n", "2000")

    def test_redis_benchmark_with_resp3(self):
        self.benchmark("-3", "-t", "set,get,incr,hset,spop,zpopmin,mset")

    def test_redis_cli_prints_the_same(self):
        for options in ((), ("-3",), ("--no-raw",), ("-3", "--no-raw"), ("--csv",),
                        ("--json", "-3")):
            printed = []
            for server in (self.server, self.redis):
                call(server.port, "FLUSHALL")
                printed.append(run("redis-cli", "-p", str(server.port), *options, text=CLI))
            self.assertEqual(*printed, f"redis-cli {options}")

    def test_redis_cli_pipes_a_lot(self):
        data = b"".join(encode("SET", f"pipe:{i}", "v" * (i % 50)) for i in range(50000))
        text = run("redis-cli", "-p", str(self.server.port), "--pipe", text=data).decode()
        self.assertIn("errors: 0, replies: 50000", text)
        self.assertEqual(call(self.server.port, "DBSIZE"), b":50000\r\n")

    def test_redis_cli_looks_around(self):
        port = str(self.server.port)
        call(self.server.port, "SET", "looked:at", "x")
        for section in ("server", "clients", "memory", "stats", "keyspace"):
            text = run("redis-cli", "-p", port, "INFO", section)
            self.assertTrue(text.lower().startswith(b"# " + section.encode()), text[:200])
        self.assertRegex(run("redis-cli", "-p", port, "INFO"), rb"db0:keys=1,")
        self.assertRegex(run("redis-cli", "-p", port, "INFO"), rb"redis_version:\d+\.\d+")
        run("redis-cli", "-p", port, "CONFIG", "GET", "*")
        run("redis-cli", "-p", port, "COMMAND")
        self.assertIn(b"PONG", run("redis-cli", "-p", port, "-r", "5", "PING"))
        self.assertIn(b"x", run("redis-cli", "-p", port, "-x", "SET", "stdin", text=b"x") +
                      run("redis-cli", "-p", port, "GET", "stdin"))


class Stopping(Case):
    """The end of the server."""

    def test_the_end_in_the_middle_of_load(self):
        load = [subprocess.Popen(
            ["redis-benchmark", "-p", str(self.server.port), "-n", "100000000", "-r", "100000",
             "-P", pipeline, "-t", "set"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for pipeline in ("1", "16")]
        try:
            time.sleep(1)
            took = self.server.stop()
            print(f"stopped in {took:.2f} s", flush=True)
        finally:
            for process in load:
                process.kill()
                process.wait(WAIT)

    def test_the_end_with_clients_that_wait_and_that_do_not_read(self):
        call(self.server.port, "SET", "large", b"x" * 100000)
        socks = [servers.connect("127.0.0.1", self.server.port) for _ in range(20)]
        for i, sock in enumerate(socks):
            sock.sendall((encode("GET", "large") * 100, encode("SUBSCRIBE", "c"), b"*1\r\n$4\r\nPI",
                          b"")[i % 4])
        time.sleep(0.3)
        self.server.stop(seconds=20 * FACTOR)
        for sock in socks:
            sock.close()

    def test_a_million_keys_are_no_reason_to_stop_slowly(self):
        started = time.monotonic()
        run("redis-benchmark", "-p", str(self.server.port), "-n", str(int(500000 / FACTOR)), "-r",
            "1000000", "-P", "100", "-t", "set", "-q", seconds=12 * WAIT)
        filled = time.monotonic() - started
        took = self.server.stop(seconds=max(4 * FACTOR, 2 * filled))
        print(f"filled in {filled:.2f} s, stopped in {took:.2f} s", flush=True)


class EpollByFile(Differential, Linear):
    """The main part once more, where a configuration file allows only epoll."""

    def options(self):
        self.file = tempfile.NamedTemporaryFile("w", suffix=".ini")
        self.file.write("[io]\ndriver = epoll\n")
        self.file.flush()
        return ["--config", self.file.name]

    def tearDown(self):
        self.assertIn("io=epoll", self.server.text)
        self.file.close()
        super().tearDown()


class Tls(Case):
    """TLS 1.3, with redis-cli, redis-benchmark and openssl."""

    @classmethod
    def setUpClass(cls):
        cls.authority = servers.Certificates()
        cls.certificate, cls.key = cls.authority.make("server")

    @classmethod
    def tearDownClass(cls):
        cls.authority.close()

    def options(self):
        return ["--tls", "--cert", self.certificate, "--key", self.key]

    def cli(self, *arguments, text=None):
        """redis-cli with TLS."""
        return run("redis-cli", "-h", "localhost", "-p", str(self.server.port), "--tls", *arguments,
                   text=text)

    def test_redis_cli(self):
        trust = ("--cacert", self.authority.ca)
        self.assertEqual(self.cli(*trust, "SET", "a", "b"), b"OK\n")
        self.assertEqual(self.cli("--insecure", "GET", "a"), b"b\n")
        self.assertEqual(self.cli("-3", *trust, text=b"HSET h f v\nHGETALL h\n"), b"1\nf v\n")
        done = subprocess.run(["redis-cli", "-h", "localhost", "-p", str(self.server.port), "--tls",
                               "PING"], capture_output=True, check=False, timeout=WAIT)
        self.assertNotIn(b"PONG", done.stdout, "nobody's certificate is trusted just so")

    def test_redis_benchmark(self):
        text = run("redis-benchmark", "-h", "localhost", "-p", str(self.server.port), "--tls",
                   "--cacert", self.authority.ca, "-q", "-n", "5000", "-P", "4", "-t",
                   "ping,set,get,lpush,lrange_100,mset").decode()
        self.assertNotRegex(text, r"(?i)error|could not|failed")

    def test_openssl(self):
        text = run("openssl", "s_client", "-connect", f"localhost:{self.server.port}", "-quiet",
                   "-verify_quiet", "-verify_return_error", "-CAfile", self.authority.ca,
                   text=b"PING\r\nECHO hello\r\nQUIT\r\n")
        self.assertIn(b"+PONG\r\n$5\r\nhello\r\n+OK\r\n", text)

    def test_plain_clients_get_nothing(self):
        with servers.connect("127.0.0.1", self.server.port) as sock:
            sock.sendall(b"PING\r\n")
            self.assertNotIn(b"PONG", answers(sock)[0])


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    servers.main(sys.modules[__name__])
