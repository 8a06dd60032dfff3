# SPDX-License-Identifier: MIT
"""Many pipelining connections on a few keys, and what each of them saw and when.

    resp_load.py PORT [SEED]     records and checks one history, by hand

The keys of a run are registers, counters, logs and mixed ones (resp_linear.py says which operations
each gets). Connections are spread over processes, so that requests really meet in the server; the
monotonic clock is one for all of them.
"""
import multiprocessing
import random
import select
import sys
import time

import servers
from resp_client import Connection, Ended, call, encode, parse, reply_end
from resp_linear import (NOT_A_NUMBER, Operation, check_counter, check_log, check_mixed,
                         check_register)

PROCESSES = 2
TOKEN_SIZE = 8
DEPTHS = (1, 2, 4, 8, 16)  # requests in flight of a connection
KINDS = {
    "register": ["SET", "SET", "GET", "GET", "GET", "GETSET"],
    "counter": ["INCR", "INCR", "GET"],
    "log": ["APPEND", "APPEND", "GET"],
    "mixed": ["SET", "GETSET", "GETSET", "GET", "GET", "GET", "INCR", "APPEND", "DEL", "DEL"],
}
KEYS = ["register:a", "register:b", "register:c", "counter:a", "counter:b", "log:a", "mixed:a",
        "mixed:b"]


class Client:
    """A connection that keeps some requests in flight."""

    def __init__(self, number, port, seed, count):
        self.number = number
        self.random = random.Random(seed * 1000 + number)
        self.connection = Connection(port)
        self.depth = self.random.choice(DEPTHS)
        self.left = count
        self.made = 0
        self.waiting = []
        self.history = []

    def operation(self):
        """A new operation: its key and itself, without times and result."""
        key = self.random.choice(KEYS)
        if key.startswith("mixed") and self.number % 2:
            key = self.random.choice(KEYS[:6])  # not all of them: checking is a search
        kind = self.random.choice(KINDS[key.split(":")[0]])
        self.made += 1
        argument = b""
        if kind == "APPEND":
            argument = b"+%02d%05d" % (self.number, self.made)
        elif kind in ("SET", "GETSET"):
            argument = b"%d%06d0000" % (self.number + 1, self.made)
            if key.startswith("mixed") and self.random.random() < 0.3:
                argument = b"text-" + argument
        return key, Operation(self.number, kind, argument, None, 0, 0)

    def send(self):
        """Fills the pipeline up; like a real client, not after every reply."""
        room = min(self.depth - len(self.waiting), self.left)
        if room <= 0 or (len(self.waiting) > self.depth // 2 and self.random.random() < 0.5):
            return
        batch = [self.operation() for _ in range(self.random.randint(1, room))]
        words = [(o.kind, key, o.argument) if o.argument else (o.kind, key) for key, o in batch]
        request = b"".join(encode(*w) for w in words)
        self.left -= len(batch)
        self.waiting += batch
        now = time.monotonic_ns()
        for _, operation in batch:
            operation.start = now
        self.connection.send(request)

    def receive(self):
        """Takes the replies that are there."""
        piece = self.connection.sock.recv(1 << 18)
        now = time.monotonic_ns()
        if not piece:
            raise Ended(f"connection {self.number} was ended by the server")
        data = self.connection.data
        data += piece
        at = 0
        while at < len(data) and (end := reply_end(data, at)) >= 0:
            key, operation = self.waiting.pop(0)
            operation.end = now
            operation.result = result_of(operation.kind, bytes(data[at:end]))
            self.history.append((key, operation))
            at = end
        del data[:at]


def result_of(kind, reply):
    """What the checkers want to know of a reply."""
    mark, content = parse(reply)
    if kind in ("GET", "GETSET") and mark == "$":
        return content
    if kind == "SET" and reply == b"+OK\r\n":
        return None
    if mark == ":" and kind in ("INCR", "APPEND", "DEL"):
        return int(content)
    if kind == "INCR" and reply.startswith(b"-ERR value is not an integer"):
        return NOT_A_NUMBER
    raise AssertionError(f"{kind} was answered {reply[:200]!r}")


def drive(port, seed, numbers, count):
    """Some connections in one process; the history of all of them."""
    clients = {}
    for number in numbers:
        client = Client(number, port, seed, count)
        clients[client.connection.sock.fileno()] = client
    poll = select.epoll()
    for descriptor, client in clients.items():
        poll.register(descriptor, select.EPOLLIN)
        client.send()
    busy = len(clients)
    deadline = time.monotonic() + 6 * servers.WAIT
    while busy:
        events = poll.poll(1)
        if time.monotonic() > deadline:
            raise AssertionError("requests were not answered in time")
        for descriptor, _ in events:
            client = clients[descriptor]
            client.receive()
            if client.left == 0 and not client.waiting:
                busy -= 1
                poll.unregister(descriptor)
            elif not client.waiting or client.left:
                while not client.waiting or client.random.random() < 0.5:
                    client.send()
                    if client.left == 0 or len(client.waiting) >= client.depth:
                        break
    return [pair for client in clients.values() for pair in client.history]


def drive_into(pipe, *arguments):
    """drive() in a child process."""
    try:
        pipe.send((None, drive(*arguments)))
    except Exception as error:  # pylint: disable=broad-except # told to the parent
        pipe.send((repr(error), []))
    pipe.close()


def record(port, seed, connections=50, count=800):
    """Key -> operations of so many connections, each with so many requests."""
    for key in KEYS:
        call(port, "DEL", key)
    context = multiprocessing.get_context("fork")
    children = []
    for part in range(PROCESSES):
        mine, theirs = context.Pipe(False)
        numbers = range(part, connections, PROCESSES)
        child = context.Process(target=drive_into, args=(theirs, port, seed, numbers, count))
        child.start()
        theirs.close()
        children.append((child, mine))
    history, errors = {key: [] for key in KEYS}, []
    for child, pipe in children:
        if pipe.poll(8 * servers.WAIT):
            error, pairs = pipe.recv()
        else:
            error, pairs = "the load did not end in time", []
            child.kill()
        errors += [error] if error else []
        for key, operation in pairs:
            history[key].append(operation)
        child.join(servers.WAIT)
    if errors:
        raise AssertionError("; ".join(errors))
    return history


def check(key, operations):
    """None if the key's operations can be explained."""
    kind = key.split(":")[0]
    if kind == "register":
        return check_register(operations)
    if kind == "counter":
        return check_counter(operations)
    if kind == "log":
        return check_log(operations, TOKEN_SIZE)
    return check_mixed(operations)


def overlap(operations):
    """How many operations were under way at a time, on average."""
    if not operations:
        return 0
    busy = sum(o.end - o.start for o in operations)
    return busy / max(1, max(o.end for o in operations) - min(o.start for o in operations))


def main():
    """The command line."""
    started = time.monotonic()
    history = record(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    print(f"recorded in {time.monotonic() - started:.1f} s")
    status = 0
    for key, operations in history.items():
        started = time.monotonic()
        wrong = check(key, operations)
        status |= wrong is not None
        print(f"{key}: {len(operations)} operations, {overlap(operations):.1f} at a time, "
              f"{wrong or 'ok'}, checked in {time.monotonic() - started:.2f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
