# SPDX-License-Identifier: MIT
"""Clients that mean harm to a server of the Redis protocol, or that are broken.

Each test does its harm while a good client, a process of its own, keeps asking: it must get right
answers, 99 of 100 within P99_MS and none after more than MOST_MS, and the server's memory must stay
within the bound that the test states: what one client can make it keep, times the clients, and some
room. On a machine that has other things to do these times are longer by what the kernel says the
server has waited for a processor, and without what the good client has. They are the class Hostile
of test_resp.py.
"""
import glob
import multiprocessing
import random
import re
import select
import socket
import time

import servers
from resp_client import Connection, ProtocolError, encode, reply_end
from servers import FACTOR, WAIT

P99_MS = 50 * FACTOR
SLOW_MOST = 3  # so many may take longer where 1 % would be fewer
MOST_MS = 1000 * FACTOR
ROOM_KIB = 24 << 10  # for everybody: allocators, buffers of the kernel's ring, stacks
CLIENT_KIB = 9 << 10  # one client's requests under way, their replies, what is not parsed yet
HALF_COMMAND_KIB = 8  # a connection that waits for the rest of a small command
UNREAD_KIB = 4096  # of replies may be made for a client before one is read, and some under way
UNDER_WAY = 4
MEMORY_FACTOR = 4 if FACTOR > 3 else 1  # sanitizers keep shadows of memory,
MEMORY_EXTRA_KIB = 320 << 10 if FACTOR > 3 else 0  # and what was freed


# ---- who waits for a processor ------------------------------------------------------------------


def scheduled(process="self"):
    """How long the threads of a process have run, and how long they have waited for a processor
    when they could have run, in nanoseconds. Zeros where the kernel does not count it."""
    ran = waited = 0
    for path in glob.glob(f"/proc/{process}/task/*/schedstat"):
        try:
            with open(path, encoding="ascii") as file:
                numbers = file.read().split()
        except OSError:
            continue  # it has ended
        ran, waited = ran + int(numbers[0]), waited + int(numbers[1])
    return ran, waited


def own_wait_ms():
    """How long this thread, the only one of its process, has waited."""
    try:
        with open("/proc/self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e6
    except OSError:
        return 0


# ---- the good client -----------------------------------------------------------------------------


def ask(connection, number):
    """A few commands with one right answer each; how long each took, in milliseconds."""
    value = b"value-%d" % number
    took = []
    for request, expected in ((encode("SET", "good:client", value), b"+OK\r\n"),
                              (encode("GET", "good:client"),
                               b"$%d\r\n%b\r\n" % (len(value), value)),
                              (encode("INCR", "good:number"), b":%d\r\n" % (number + 1)),
                              (encode("PING"), b"+PONG\r\n")):
        started, waited = time.monotonic(), own_wait_ms()
        replies = connection.exchange(request, 1)
        took.append((time.monotonic() - started) * 1000 - (own_wait_ms() - waited))
        if replies != [expected]:
            raise AssertionError(f"{request!r} was answered {replies!r}, not {expected!r}")
    return took


def good_client(port, pipe):
    """Asks until told to stop; sends the times, or what went wrong."""
    took, wrong, number = [], None, 0
    try:
        with Connection(port) as connection:
            connection.call("DEL", "good:client", "good:number")
            pipe.send("ready")
            while not pipe.poll(0.001):
                took += ask(connection, number)
                number += 1
    except Exception as error:  # pylint: disable=broad-except # told to the parent
        wrong = repr(error)[:500]
    pipe.send((took, wrong))


class GoodClient:
    """A context in which a good client asks. Afterwards took, the milliseconds of each request in
    order of length, tells how it went."""

    def __init__(self, port):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.child = context.Process(target=good_client, args=(port, theirs))
        self.took = None

    def __enter__(self):
        self.child.start()
        if not self.pipe.poll(WAIT) or self.pipe.recv() != "ready":
            self.child.kill()
            raise AssertionError("the good client did not get an answer")
        return self

    def __exit__(self, kind, *_):
        try:
            self.pipe.send("stop")
            if not self.pipe.poll(2 * WAIT):
                raise AssertionError("the good client hangs")
            took, wrong = self.pipe.recv()
        finally:
            self.child.kill()
            self.child.join(WAIT)
        if kind is not None:
            return
        if wrong:
            raise AssertionError(f"the good client: {wrong}")
        self.took = sorted(took)


# ---- helpers -------------------------------------------------------------------------------------


def peak_kib(child):
    """The most memory that was resident since reset_peak()."""
    with open(f"/proc/{child.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read()).group(1))


def reset_peak(child):
    """Forgets the peak."""
    with open(f"/proc/{child.pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def plain(port):
    """A socket that does not block."""
    sock = servers.connect("127.0.0.1", port)
    sock.setblocking(False)
    return sock


def push(sock, data, still=1.0, most=WAIT):
    """Sends without ever reading, until all is sent or nothing goes any more. Bytes sent; all of
    them also when the server has ended the connection."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    view, sent, deadline = memoryview(data), 0, time.monotonic() + most
    while sent < len(data) and time.monotonic() < deadline:
        if not poll.poll(still * 1000):
            break
        try:
            sent += sock.send(view[sent:sent + 262144])
        except BlockingIOError:
            continue
        except ConnectionError:
            return len(data)
    return sent


def push_all(socks, data, still=1.0, most=WAIT):
    """push() to many sockets at once."""
    poll = select.poll()
    left = {sock.fileno(): [sock, 0] for sock in socks}
    for descriptor in left:
        poll.register(descriptor, select.POLLOUT)
    deadline = time.monotonic() + most
    while left and time.monotonic() < deadline:
        events = poll.poll(still * 1000)
        if not events:
            return
        for descriptor, _ in events:
            state = left[descriptor]
            try:
                state[1] += state[0].send(data[state[1]:state[1] + 65536])
            except BlockingIOError:
                continue
            except ConnectionError:
                state[1] = len(data)
            if state[1] == len(data):
                poll.unregister(descriptor)
                del left[descriptor]


def answers(sock, seconds=WAIT):
    """Everything until the server ends or seconds have passed without a byte: (data, ended)."""
    sock.settimeout(seconds)
    data = b""
    try:
        while piece := sock.recv(1 << 18):
            data += piece
    except TimeoutError:
        return data, False
    except ConnectionError:
        pass
    return data, True


class Late:
    """A client that has sent a million commands and reads late: checks the numbers in the replies
    while the rest of the commands goes."""

    def __init__(self, sock, unsent):
        self.sock, self.unsent = sock, unsent
        self.number = 0

    def run(self, count):
        """Reads that many replies, which must be 1, 2, 3, ..."""
        data, sent = bytearray(), 0
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLOUT)
        deadline = time.monotonic() + 6 * WAIT
        while self.number < count:
            events = poll.poll(WAIT * 1000)
            if not events or time.monotonic() > deadline:
                raise AssertionError(f"stuck after {self.number} replies")
            if events[0][1] & select.POLLOUT:
                sent += self.sock.send(self.unsent[sent:sent + 262144])
                if sent == len(self.unsent):
                    poll.modify(self.sock, select.POLLIN)
            if events[0][1] & select.POLLIN:
                piece = self.sock.recv(1 << 18)
                if not piece:
                    raise AssertionError(f"ended after {self.number} replies")
                data += piece
                self.take(data)

    def take(self, data):
        """Checks the complete replies."""
        end = data.rfind(b"\n") + 1
        for line in bytes(data[:end]).split(b"\r\n")[:-1]:
            self.number += 1
            if line != b":%d" % self.number:
                raise AssertionError(f"reply {self.number} is {line!r}")
        del data[:end]


# ---- tests ---------------------------------------------------------------------------------------


class HostileTests:
    """Mixed into a Case of test_resp.py, which starts and stops the server."""

    def harm(self, bound_kib):
        """A context: a good client asks meanwhile, and memory grows by no more than the bound."""
        return Harm(self, bound_kib)

    def test_bytes_that_are_no_requests(self):
        with self.harm(ROOM_KIB):
            for seed in range(300):
                chooser = random.Random(seed)
                data = garbage(chooser)
                with servers.connect("127.0.0.1", self.server.port) as sock:
                    try:
                        sock.sendall(data)
                        sock.shutdown(socket.SHUT_WR)
                    except ConnectionError:
                        pass
                    text, ended = answers(sock)
                self.assertTrue(ended, f"seed {seed}: still open: {data[:200]!r}")
                self.assert_replies(text, seed)

    def assert_replies(self, text, seed):
        """Whole replies and nothing else; the last may be cut by a reset."""
        at = 0
        try:
            while at < len(text) and (end := reply_end(text, at)) >= 0:
                at = end
        except (ProtocolError, ValueError) as error:
            self.fail(f"seed {seed}: {error} in {text[:300]!r}")

    def test_sizes_that_are_announced_and_never_sent(self):
        requests = [b"*2\r\n$3\r\nGET\r\n$536870912\r\n", b"*1048576\r\n",
                    b"*1048576\r\n$1\r\na\r\n",
                    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\nxyz", b"*1\r\n$536870912\r\n"]
        with self.harm(ROOM_KIB + 100 * len(requests) * HALF_COMMAND_KIB):
            socks = []
            for _ in range(100):
                for request in requests:
                    socks.append(servers.connect("127.0.0.1", self.server.port))
                    socks[-1].sendall(request)
            time.sleep(1)
            for sock in socks:
                sock.close()

    def test_sizes_that_are_too_large(self):
        for request in (b"$1073741824\r\n", b"*1\r\n$1073741824\r\n", b"*2\r\n$3\r\nGET\r\n$-2\r\n",
                        b"*1\r\n$536870913\r\n", b"*2147483648\r\n", b"*99999999999999999999\r\n",
                        b"*1\r\n$99999999999999999999\r\n", b"*1048577\r\n" + b"$1\r\na\r\n"):
            with servers.connect("127.0.0.1", self.server.port) as sock:
                sock.sendall(request)
                sock.shutdown(socket.SHUT_WR)
                text, ended = answers(sock)
            self.assertTrue(ended, request)
            self.assertRegex(text, rb"^-ERR [^\r]*\r\n$", request)

    def test_a_line_without_end(self):
        for start in (b"", b"*", b"*1\r\n$", b"GET "):
            with self.harm(ROOM_KIB):
                sock = plain(self.server.port)
                push(sock, start + b"1" * (32 << 20))
                text, ended = answers(sock)
                sock.close()
            self.assertTrue(ended, start)
            self.assertTrue(text.startswith(b"-ERR Protocol error") or not text, text[:200])

    def test_a_million_commands_from_a_client_that_reads_late(self):
        request = encode("INCR", "late") * 1000000
        with self.harm(ROOM_KIB + CLIENT_KIB):
            sock = plain(self.server.port)
            sent = push(sock, request)
            time.sleep(1)
            Late(sock, request[sent:]).run(1000000)
            sock.close()

    def test_a_million_replies_of_1000_bytes_that_nobody_reads(self):
        self.call("SET", "thousand", b"x" * 1000)
        request = encode("GET", "thousand") * 1000000
        with self.harm(ROOM_KIB + CLIENT_KIB):
            sock = plain(self.server.port)
            sent = push(sock, request)
            self.assertLess(sent, len(request), "a gigabyte of replies went where?")
            time.sleep(1)
            sock.close()

    def test_clients_that_never_read_large_replies(self):
        self.call("SET", "large", b"x" * 100000)
        with self.harm(ROOM_KIB + 50 * CLIENT_KIB):
            socks = [plain(self.server.port) for _ in range(50)]
            push_all(socks, encode("GET", "large") * 2000)
            time.sleep(1)
            for sock in socks:
                sock.close()

    def unread(self, size, connection):
        """A client asks for 1000 replies of so many bytes, and reads none."""
        self.call("SET", "huge", b"x" * size)
        with self.harm(ROOM_KIB + CLIENT_KIB + UNREAD_KIB + UNDER_WAY * (size >> 10)):
            push(connection.sock, encode("GET", "huge") * 1000)
            time.sleep(2)
            connection.close()

    def test_a_client_that_asks_for_huge_replies_and_reads_none(self):
        self.unread(4 << 20, Connection(self.server.port))

    def test_a_client_that_asks_for_small_replies_first(self):
        self.call("SET", "small", "x")
        connection = Connection(self.server.port)
        for _ in range(20):
            self.assertEqual(len(connection.exchange(encode("GET", "small") * 500, 500)), 500)
        self.unread(1 << 20, connection)

    def test_clients_that_ask_many_keys_for_large_replies(self):
        for i in range(64):
            self.call("SET", f"many:{i}", b"x" * 100000)
        request = encode("MGET", *[f"many:{i % 64}" for i in range(1000)])
        with self.harm(ROOM_KIB + 2 * 100000 + 5 * CLIENT_KIB):
            sock = plain(self.server.port)  # a reply of 100 MB, which there is no way around
            push(sock, request)
            time.sleep(1)
            sock.close()

    def test_clients_that_send_one_byte_at_a_time(self):
        request = encode("SET", "slow", "value") + encode("GET", "slow") + b"PING\r\n"
        expected = b"+OK\r\n$5\r\nvalue\r\n+PONG\r\n"
        with self.harm(ROOM_KIB):
            socks = [servers.connect("127.0.0.1", self.server.port) for _ in range(20)]
            for sock in socks:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(request)):
                for sock in socks:
                    sock.sendall(request[at:at + 1])
                time.sleep(0.001)
            for sock in socks:
                self.assertEqual(servers.receive(sock, len(expected)), expected)
                sock.close()

    def test_a_large_request_in_small_pieces(self):
        value = random.Random(1).randbytes(4 << 20)
        request = encode("SET", "pieces", value)
        with self.harm(ROOM_KIB + CLIENT_KIB + 4 * (len(value) >> 10)):
            with servers.connect("127.0.0.1", self.server.port) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for at in range(0, len(request), 400):
                    sock.sendall(request[at:at + 400])
                self.assertEqual(servers.receive(sock, 5), b"+OK\r\n")
        self.assertEqual(self.call("GET", "pieces"), b"$%d\r\n%b\r\n" % (len(value), value))

    def test_1000_connections_with_half_a_command(self):
        request = encode("SET", "half", "value")
        with self.harm(ROOM_KIB + 1000 * HALF_COMMAND_KIB):
            socks = []
            for i in range(1000):
                socks.append(servers.connect("127.0.0.1", self.server.port))
                socks[-1].sendall(request[:i % len(request)])
            time.sleep(1)
            for i, sock in enumerate(socks):
                if i % 2:
                    sock.sendall(request[i % len(request):])
            for i, sock in enumerate(socks):
                if i % 2:
                    self.assertEqual(servers.receive(sock, 5), b"+OK\r\n")
                sock.close()

    def test_a_command_of_a_million_arguments(self):
        request = b"*1048576\r\n$3\r\nFOO\r\n" + b"$1\r\na\r\n" * 1048575
        with self.harm(ROOM_KIB + 8 * (len(request) >> 10)):
            for _ in range(3):
                sock = plain(self.server.port)
                push(sock, request, still=WAIT)
                sock.settimeout(WAIT)
                self.assertTrue(sock.recv(100).startswith(b"-ERR unknown command"))
                sock.close()

    def test_keys_that_are_too_long(self):
        long = b"k" * 70000
        for words in (("SET", long, "v"), ("GET", long), ("MGET", "a", long), ("DEL", long),
                      ("SUBSCRIBE", long)):
            with Connection(self.server.port) as connection:
                replies = connection.exchange(encode(*words) + encode("PING"), 2)
                self.assertEqual(len(replies), 2, words[0])

    def test_a_subscriber_that_never_reads(self):
        message = b"m" * 10000
        with self.harm(ROOM_KIB + CLIENT_KIB + (40 << 10)):
            deaf = plain(self.server.port)
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            push(deaf, encode("SUBSCRIBE", "news"))
            with Connection(self.server.port) as good, Connection(self.server.port) as sender:
                good.call("SUBSCRIBE", "news")
                whole = 0
                for _ in range(200):
                    replies = sender.exchange(encode("PUBLISH", "news", message) * 50, 50)
                    self.assertEqual(len(replies), 50)
                    self.assertLessEqual(set(replies), {b":1\r\n", b":2\r\n"})
                    got = good.replies(50)
                    self.assertTrue(all(reply.endswith(message + b"\r\n") for reply in got))
                    whole += len(got)
                self.assertEqual(whole, 10000)
                self.assertEqual(sender.call("PUBLISH", "news", "x"), b":1\r\n",
                                 "100 MB were published to a client that does not read")
            deaf.close()

    def test_subscribers_that_come_and_go(self):
        with self.harm(ROOM_KIB):
            for _ in range(60):
                socks = [servers.connect("127.0.0.1", self.server.port) for _ in range(20)]
                for sock in socks:
                    sock.sendall(encode("SUBSCRIBE", "gone", *[f"gone:{i}" for i in range(20)]))
                time.sleep(0.02)
                for sock in socks:
                    servers.reset(sock)
        servers.wait_until(lambda: self.call("PUBLISH", "gone", "x") == b":0\r\n",
                           "nobody is subscribed any more")

    def test_connections_that_are_reset_under_way(self):
        request = encode("INCR", "reset") * 2000 + encode("LRANGE", "none", 0, -1) * 100
        with self.harm(ROOM_KIB + 10 * CLIENT_KIB):
            for i in range(300):
                sock = servers.connect("127.0.0.1", self.server.port)
                sock.sendall(request[:1000 + 331 * i % len(request)])
                if i % 3 == 0:
                    time.sleep(0.002)
                servers.reset(sock)
        before = self.server.descriptors()
        servers.wait_until(lambda: self.server.descriptors() <= max(before, 40), "all are closed")

    def test_values_of_32_megabytes(self):
        value = random.Random(2).randbytes(1 << 20) * 32
        with self.harm(ROOM_KIB + CLIENT_KIB + 6 * (len(value) >> 10)):
            with Connection(self.server.port, 3 * WAIT) as connection:
                for _ in range(3):
                    self.assertEqual(connection.call("SET", "huge", value), b"+OK\r\n")
                    self.assertEqual(len(connection.call("GET", "huge")), len(value) + 13)
                    self.assertEqual(connection.call("DEL", "huge"), b":1\r\n")

    def test_keys_go_when_their_time_is_over(self):
        with self.harm(ROOM_KIB + (64 << 10)):
            with Connection(self.server.port) as connection:
                before = int(connection.call("DBSIZE")[1:])
                for start in range(0, 50000, 1000):
                    request = b"".join(encode("SET", f"brief:{i}", "x" * 100, "PX", 300)
                                       for i in range(start, start + 1000))
                    self.assertEqual(set(connection.exchange(request, 1000)), {b"+OK\r\n"})
                servers.wait_until(lambda: int(connection.call("DBSIZE")[1:]) <= before + 2,
                                   "expired keys are gone without being asked for", 6 * WAIT)


class Harm:
    """See HostileTests.harm."""

    def __init__(self, case, bound_kib):
        self.case, self.bound_kib = case, bound_kib * MEMORY_FACTOR + MEMORY_EXTRA_KIB
        self.good = GoodClient(case.server.port)

    def __enter__(self):
        self.child = self.case.server.child
        self.good.__enter__()
        reset_peak(self.child)
        self.before = self.case.server.memory_kib()
        self.scheduled = scheduled(self.child.pid)
        self.started = time.monotonic()
        return self

    def __exit__(self, kind, *rest):
        self.good.__exit__(kind, *rest)
        if kind is not None:
            return
        seconds = time.monotonic() - self.started
        grown = peak_kib(self.child) - self.before
        ran, waited = (now - before for now, before in
                       zip(scheduled(self.child.pid), self.scheduled))
        times = 1 + waited / max(ran, 1)  # as long as it had taken alone
        took = self.good.took
        p99_ms = took[len(took) * 99 // 100]
        print(f"{self.case.id().rsplit('.', 1)[1]}: memory +{grown} KiB of {self.bound_kib}; "
              f"{seconds:.1f} s, {len(took)} good requests, p99 {p99_ms:.1f} ms, "
              f"longest {took[-1]:.1f} ms, {times:.1f} times as long as alone", flush=True)
        slow = sum(1 for ms in took if ms > P99_MS * times)
        self.case.assertLessEqual(grown, self.bound_kib, "KiB of memory more than before")
        self.case.assertLessEqual(slow, max(SLOW_MOST, len(took) // 100),
                                  f"requests of a good client that took more than {P99_MS} ms")
        self.case.assertLessEqual(took[-1], MOST_MS * times, "ms, the longest of a good client")


def garbage(chooser):
    """Something like requests, but broken."""
    good = [encode("SET", "a", "b"), encode("GET", "a"), b"PING\r\n", encode("LPUSH", "l", "x"),
            encode("INCR", "n"), b"*0\r\n", b"*-1\r\n", b"\r\n", b'ECHO "a b"\r\n']
    data = bytearray(b"".join(chooser.choice(good) for _ in range(chooser.randrange(1, 20))))
    way = chooser.randrange(5)
    if way == 0:
        return chooser.randbytes(chooser.randrange(1, 3000))
    if way == 1:
        return bytes(data[:chooser.randrange(len(data))])
    for _ in range(chooser.randrange(1, 6) if len(data) > 60 else 1):
        at = chooser.randrange(len(data))
        if way == 2:
            data[at] = chooser.randrange(256)
        elif way == 3:
            data[at:at] = chooser.choice([b"\r\n", b"*", b"$", b"-1", b"9999999999", b"\0", b'"'])
        else:
            del data[at:at + chooser.randrange(1, 10)]
    return bytes(data)
