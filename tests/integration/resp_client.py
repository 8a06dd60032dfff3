# SPDX-License-Identifier: MIT
"""The Redis protocol from the client's side: requests, replies as raw bytes, connections.

Replies are kept as the bytes that came, so that two servers can be compared byte by byte; parse()
makes a structure of them where a comparison has to look inside.
"""
import os
import select
import shutil
import socket
import tempfile
import time

import servers
from servers import WAIT

AGGREGATES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
BULKS = b"$=!"
LINES = b"+-:_#,("
PUSH = ord(">")


class ProtocolError(AssertionError):
    """The server sent what is not a reply."""


class Ended(AssertionError):
    """The server ended the connection before everything had been answered."""


def encode(*arguments):
    """A request, as clients send it."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if isinstance(argument, str):
            argument = argument.encode()
        elif isinstance(argument, int):
            argument = b"%d" % argument
        parts.append(b"$%d\r\n%b\r\n" % (len(argument), argument))
    return b"".join(parts)


def reply_end(data, at):
    """Where the reply that starts at `at` ends, or -1 as long as it is incomplete."""
    left = 1
    while left:
        line = data.find(b"\r\n", at)
        if line < 0:
            return -1
        kind = data[at]
        left -= 1
        if kind in BULKS:
            size = int(data[at + 1:line])
            at = line + 2 + (size + 2 if size >= 0 else 0)
            if at > len(data):
                return -1
            continue
        if kind in AGGREGATES:
            left += max(int(data[at + 1:line]), 0) * AGGREGATES[kind]
            left += kind == ord("|")
        elif kind not in LINES:
            raise ProtocolError(f"not a reply: {bytes(data[at:at + 80])!r}")
        at = line + 2
    return at


def parse(data):
    """A complete reply as (kind, content); content is bytes, None or a list of such pairs."""
    value, end = _parse_at(data, 0)
    if end != len(data):
        raise ProtocolError(f"bytes behind the reply: {bytes(data[end:end + 80])!r}")
    return value


def _parse_at(data, at):
    line = data.index(b"\r\n", at)
    kind, text, at = chr(data[at]), bytes(data[at + 1:line]), line + 2
    if kind in "$=!":
        size = int(text)
        if size < 0:
            return (kind, None), at
        if data[at + size:at + size + 2] != b"\r\n":
            raise ProtocolError("a bulk that does not end where it says")
        return (kind, bytes(data[at:at + size])), at + size + 2
    if ord(kind) not in AGGREGATES:
        return (kind, None if kind == "_" else text), at
    if int(text) < 0:
        return (kind, None), at
    items = []
    for _ in range(int(text) * AGGREGATES[ord(kind)]):
        item, at = _parse_at(data, at)
        items.append(item)
    return (kind, items), at


class Connection:
    """A connection that sends and receives at the same time, so that a server that stops reading
    until its replies are taken is no deadlock."""

    def __init__(self, port, seconds=WAIT):
        self.seconds = seconds
        self.sock = servers.connect("127.0.0.1", port)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.data = bytearray()
        self.at = 0  # of the first reply not yet returned

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """The end."""
        self.sock.close()

    def _take(self, replies, count):
        """Moves complete replies to the list."""
        while len(replies) < count:
            end = reply_end(self.data, self.at) if self.at < len(self.data) else -1
            if end < 0:
                break
            replies.append(bytes(self.data[self.at:end]))
            self.at = end
        if self.at == len(self.data):
            self.data, self.at = bytearray(), 0
        elif self.at > 1 << 20:
            del self.data[:self.at]
            self.at = 0

    def exchange(self, request, count):
        """Sends request; the next count replies. Fewer when the connection or the time ends
        before: the caller sees which one is missing."""
        replies = []
        sent = 0
        view = memoryview(request)
        deadline = time.monotonic() + self.seconds
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | (select.POLLOUT if request else 0))
        self._take(replies, count)
        while len(replies) < count or sent < len(request):
            left = deadline - time.monotonic()
            if left <= 0 or not (events := poll.poll(left * 1000)):
                break
            if events[0][1] & select.POLLOUT:
                try:
                    sent += self.sock.send(view[sent:sent + 262144])
                except ConnectionError:
                    sent = len(request)
                if sent == len(request):
                    poll.modify(self.sock, select.POLLIN)
            if events[0][1] & ~select.POLLOUT:
                if not self._receive():
                    self._take(replies, count)
                    break
                self._take(replies, count)
        return replies

    def _receive(self):
        """False when the peer has ended."""
        try:
            piece = self.sock.recv(1 << 20)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        self.data += piece
        return bool(piece)

    def send(self, data):
        """All of data, without reading."""
        self.sock.settimeout(self.seconds)
        try:
            self.sock.sendall(data)
        finally:
            self.sock.setblocking(False)

    def replies(self, count):
        """The next count replies."""
        return self.exchange(b"", count)

    def call(self, *arguments):
        """One command; its reply, raw."""
        replies = self.exchange(encode(*arguments), 1)
        if not replies:
            raise Ended(f"no reply to {arguments!r}"[:300])
        return replies[0]

    def at_end(self, seconds=WAIT):
        """True when the server ends the connection and sends nothing more before."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        deadline = time.monotonic() + seconds
        while self.at == len(self.data):
            if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
                return False
            if not self._receive():
                return True
        return False


def call(port, *arguments):
    """One command on a connection of its own."""
    with Connection(port) as connection:
        return connection.call(*arguments)


class Redis(servers.Process):
    """redis-server on a free port, with one database, as the example has one, and no files.

    Debian's package redis-tools has the program, under the name of another tool that it also is;
    the package redis-server only adds the name, and a service, which nobody wants who tests."""

    OPTIONS = ("--save", "", "--appendonly", "no", "--databases", "1", "--bind", "127.0.0.1")

    def __init__(self, *options):
        self.folder = tempfile.TemporaryDirectory()
        program = self.program()
        for _ in range(10):  # somebody else may take a port that was free a moment ago
            self.port = servers.free_port()
            super().__init__([program, "--port", str(self.port), *self.OPTIONS, "--dir",
                              self.folder.name, *options])
            try:
                self.wait_for("Ready to accept connections|in use", 3 * WAIT)
            except AssertionError:
                self.kill()
                raise
            if "Ready to accept connections" in self.text:
                return
            self.kill()
        raise AssertionError("every port is in use")

    def program(self):
        """Where it is; it looks at the name it is called by."""
        program = shutil.which("redis-server") or shutil.which("redis-check-rdb")
        if program is None:
            raise AssertionError("there is no redis-server (Debian: redis-tools)")
        path = os.path.join(self.folder.name, "redis-server")
        os.symlink(program, path)
        return path

    def stop(self):
        """Ends it; nothing is saved."""
        self.child.terminate()
        try:
            self.child.wait(WAIT)
        finally:
            self.kill()
            self.folder.cleanup()
