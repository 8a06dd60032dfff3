# SPDX-License-Identifier: MIT
"""The same random commands to two servers, whose replies must be the same bytes.

    resp_differential.py [--seed N] [--count N] [--shrink] [--ours PORT] [--theirs PORT]
    resp_differential.py --self-test

Without ports it starts a redis-server of its own for each side. Replies may differ where Redis
leaves them open; these are all the exceptions:
  - unordered: SMEMBERS, HKEYS, HVALS, KEYS, HGETALL, UNSUBSCRIBE of everything at once
  - random: SPOP and SRANDMEMBER must give members of the set, as many as Redis, and SPOP must
    remove just these; the set is then made anew
  - clocks: TTL, PTTL, EXPIRETIME, PEXPIRETIME may be as far apart as the two servers were when they
    handled a batch, which is measured, and SLACK_SECONDS more
  - texts about the server itself: INFO, COMMAND, CONFIG GET, CLIENT ID, INFO and LIST must be of
    the same kind, HELLO must have the same fields, and the same values but for server, version, id
Several keys at once need no exception here: on one connection there is nobody to see the middle.

--self-test puts a proxy between and lets it change one reply in 10,000: each must be found. With
--times it changes half of the replies about times, by SHIFT_SECONDS.
"""
import argparse
import random
import socket
import sys
import threading
import time

import servers
from resp_client import PUSH, Connection, Redis, call, encode, parse, reply_end
from resp_commands import EXTRA, REQUIRED, Generator

SLACK_SECONDS = 2  # rounding to whole seconds, and a clock that is set a little
SHIFT_SECONDS = 8  # of a time that is changed on the way
TIME_UNITS = {"seconds": 1, "milliseconds": 1000}  # rules, and the unit in them
BATCH_BYTES = 1 << 20
BATCH_SIZES = (1, 2, 5, 20, 100, 300, 1000)
OWN_FIELDS = (b"server", b"version", b"id")  # of HELLO
KINDS_SHOWN = 20
COMMANDS_SHOWN = 20


# ---- rules ---------------------------------------------------------------------------------------


def same_items(ours, theirs):
    """Aggregates with the same items in any order."""
    return (ours[0] == theirs[0] and isinstance(ours[1], list) and isinstance(theirs[1], list) and
            sorted(map(repr, ours[1])) == sorted(map(repr, theirs[1])))


def paired(value):
    """An array or map as an aggregate of pairs."""
    kind, items = value
    if not isinstance(items, list) or len(items) % 2:
        return value
    return kind, list(zip(items[::2], items[1::2]))


def same_time(ours, theirs, tolerance):
    """Integers that are close, or the same if negative."""
    if ours[0] != ":" or theirs[0] != ":":
        return False
    left, right = int(ours[1]), int(theirs[1])
    return left == right or (min(left, right) >= 0 and abs(left - right) <= tolerance)


def same_hello(ours, theirs):
    """The greeting of the same protocol."""
    if ours[0] != theirs[0] or ours[0] not in "*%":
        return False
    left, right = paired(ours)[1], paired(theirs)[1]
    return ([pair[0] for pair in left] == [pair[0] for pair in right] and
            all(a == b or (a[0][1] in OWN_FIELDS and a[1][0] == b[1][0])
                for a, b in zip(left, right)))


def same(rule, ours, theirs, seconds):
    """Whether two raw replies to one command mean the same by its rule. Clocks may be so many
    seconds apart."""
    if ours == theirs or rule == "any":
        return True
    if rule == "exact":
        return False
    if rule == "kind":
        return ours[:1] == theirs[:1]
    ours, theirs = parse(ours), parse(theirs)
    if rule == "unordered":
        return same_items(ours, theirs)
    if rule == "pairs":
        return same_items(paired(ours), paired(theirs))
    if rule in TIME_UNITS:
        return same_time(ours, theirs, seconds * TIME_UNITS[rule])
    assert rule == "hello", rule
    return same_hello(ours, theirs)


def same_unsubscribed(ours, theirs):
    """Replies to an UNSUBSCRIBE of everything: channels in any order, the count going down."""
    columns = []
    for replies in (ours, theirs):
        rows = [parse(reply) for reply in replies]
        if any(row[0] not in "*>" or len(row[1]) != 3 for row in rows):
            return False
        columns.append(([row[0] for row in rows], [row[1][0] for row in rows],
                        sorted(row[1][1] for row in rows), [row[1][2] for row in rows]))
    return columns[0] == columns[1]


def members(reply):
    """What is in a set reply, or None when it is none."""
    kind, content = parse(reply)
    if kind not in "*~" or content is None:
        return None
    return [repr(item) for item in content]


def popped_well(replies):
    """SMEMBERS, SPOP, SMEMBERS on one server; None when it is right."""
    before, after = members(replies[0]), members(replies[2])
    if before is None or after is None:
        return None  # not a set: the rest is compared as bytes
    kind, content = parse(replies[1])
    if kind == "-" or content is None:
        gone = []
    else:
        gone = [repr((kind, content))] if kind == "$" else members(replies[1])
    if gone is None or len(set(gone)) != len(gone) or not set(gone) <= set(before):
        return "SPOP gave what was not in the set, or gave it twice"
    if sorted(after) != sorted(set(before) - set(gone)):
        return "SPOP did not remove just what it gave"
    return None


def shown_well(replies, command):
    """SMEMBERS, SRANDMEMBER on one server; None when it is right."""
    before, shown = members(replies[0]), members(replies[1])
    if before is None or shown is None:
        if before and repr(parse(replies[1])) not in before and replies[1][:1] != b"-":
            return "SRANDMEMBER gave what is not in the set"
        return None
    if not set(shown) <= set(before):
        return "SRANDMEMBER gave what is not in the set"
    if int(command.arguments[2]) >= 0 and len(set(shown)) != len(shown):
        return "SRANDMEMBER gave one twice"
    return None


def same_size(ours, theirs):
    """Replies that may show different members, but as many, and the same errors."""
    if ours[:1] != theirs[:1]:
        return False
    if ours[:1] == b"-":
        return ours == theirs
    left, right = parse(ours)[1], parse(theirs)[1]
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right)
    return (left is None) == (right is None)


# ---- running -------------------------------------------------------------------------------------


class Difference:
    """A reply that is not as it should be."""

    def __init__(self, index, commands, ours, theirs, why="the replies differ"):
        self.index, self.commands, self.why = index, commands, why
        self.ours, self.theirs = ours, theirs

    def kind(self):
        """Those with the same are most likely one mistake."""
        name = self.commands[-1][0]
        return str(name).upper(), self.ours[:20], self.theirs[:20], self.why

    def text(self, seed):
        """For people."""
        show = lambda data: repr(data if len(data) < 400 else data[:200] + b" ... " + data[-100:])
        lines = [f"seed {seed}, command {self.index}: {self.why}"]
        lines += [f"  after   {shown(c)}" for c in self.commands[:-1]]
        lines += [f"  command {shown(self.commands[-1])}", f"  ours    {show(self.ours)}",
                  f"  theirs  {show(self.theirs)}"]
        return "\n".join(lines)


def shown(arguments):
    """A command as one would type it, long arguments cut."""
    words = []
    for argument in arguments:
        text = argument if isinstance(argument, str) else repr(argument)[1:]
        words.append(text if len(text) < 120 else f"{text[:100]}...({len(argument)} bytes)")
    return " ".join(words)


class Side:
    """One of the two servers."""

    def __init__(self, port):
        self.port = port
        self.connection = Connection(port, servers.WAIT * 3)

    def ask(self, request, replies, pushes):
        """Lists of replies and of pushes."""
        if replies + pushes == 0:
            return [], []
        got = self.connection.exchange(request, replies + pushes)
        return ([r for r in got if r[0] != PUSH], [r for r in got if r[0] == PUSH])

    def again(self):
        """A new connection; False when the server had not ended the old one."""
        ended = self.connection.at_end()
        self.connection.close()
        self.connection = Connection(self.port, servers.WAIT * 3)
        return ended


class Comparison:
    """Sends steps to both sides, in batches, and collects differences.

    A key that lives until some time was given it in one batch and is asked about in another. In
    each of them the two servers were at most as far apart as the batch took with both, so what is
    left of its time differs by no more than the slowest batch of its life."""

    PROMISED = REQUIRED + EXTRA  # what our server may not lack

    def __init__(self, ours, theirs, seed):
        self.seed = seed
        self.random = random.Random(seed)
        self.missing = lacking(ours, self.PROMISED) | lacking(theirs, REQUIRED)
        self.slowest = 0.0  # seconds that a batch took with both, since they were last empty
        self.sides = (Side(ours), Side(theirs))
        self.differences = []
        self.kinds = {}  # the first difference of each kind
        self.index = 0  # of the first command of the batch
        self.started = [0, 0]  # replies before the batch, of any kind
        self.history = []  # since the last FLUSHALL

    def run(self, count):
        """So many commands; the differences."""
        steps = (step for step in Generator(self.seed).steps() if not self.lacks(step))
        while self.index < count and len(self.kinds) < KINDS_SHOWN:
            batch, quits = self.batch(steps)
            found = len(self.differences)
            complete = self.compare(batch)
            self.index += sum(len(step.commands) for step in batch)
            if not complete:
                break
            if quits and not all([side.again() for side in self.sides]):
                self.note(self.index, ["QUIT"], b"", b"", "the connection was not ended")
            if len(self.differences) > found:
                self.start_over()
        for side in self.sides:
            side.connection.close()
        return self.differences

    def lacks(self, step):
        """Whether a server would not know one of the commands."""
        return any(str(command.arguments[0]).upper() in self.missing for command in step.commands)

    def batch(self, steps):
        """Steps to send at once, and whether they end the connection."""
        batch, size, bytes_left = [], self.random.choice(BATCH_SIZES), BATCH_BYTES
        while size > 0 and bytes_left > 0:
            step = next(steps)
            batch.append(step)
            if step.rule == "quit":
                return batch, True
            size -= len(step.commands)
            bytes_left -= sum(len(a) for command in step.commands for a in command.arguments)
        return batch, False

    def compare(self, batch):
        """Sends a batch and compares; False when a side did not answer everything."""
        commands = [command for step in batch for command in step.commands]
        request = b"".join([encode(*command.arguments) for command in commands])
        replies = sum([command.replies for command in commands])
        pushes = sum([command.pushes for command in commands])
        started = time.monotonic()
        (ours, our_pushes), (theirs, their_pushes) = [
            side.ask(request, replies, pushes) for side in self.sides]
        took = time.monotonic() - started
        self.slowest = max(self.slowest, took)
        self.history.append(batch)
        at = number = 0
        emptied = False
        for step in batch:
            size = sum([command.replies for command in step.commands])
            emptied = emptied or empties(step, ours[at:at + 1], theirs[at:at + 1])
            self.compare_step(step, self.index + number, ours[at:at + size], theirs[at:at + size])
            at += size
            number += len(step.commands)
            if at > len(ours) or at > len(theirs):
                return False
        if emptied:
            self.slowest = took  # no key is older than this batch
        if pushes:
            self.compare_pushes(commands, our_pushes, their_pushes)
        if len(our_pushes) != len(their_pushes):
            return False
        return True

    def compare_step(self, step, index, ours, theirs):
        """The replies to one step."""
        at = 0
        done = []
        for command in step.commands:
            done.append(command.arguments)
            end = at + command.replies
            left, right = ours[at:end], theirs[at:end]
            if len(left) != command.replies or len(right) != command.replies:
                self.note(index, done, b"".join(left), b"".join(right),
                          f"{len(left)} and {len(right)} of {command.replies} replies")
                return
            if command.rule == "unsubscribed":
                if left != right and not same_unsubscribed(left, right):
                    self.note(index, done, b"".join(left), b"".join(right))
            else:
                for one, other in zip(left, right):
                    if one != other and not same(command.rule, one, other, self.tolerance()):
                        self.note(index, done, one, other)
            index += 1
            at = end
        if step.rule in ("spop", "srandmember"):
            self.compare_random(step, index - len(step.commands), ours, theirs)

    def tolerance(self):
        """How many seconds two clocks may be apart."""
        return self.slowest + SLACK_SECONDS

    def compare_random(self, step, index, ours, theirs):
        """Random replies must be right by themselves."""
        done = [command.arguments for command in step.commands]
        if not same_size(ours[1], theirs[1]):
            self.note(index + 1, done[:2], ours[1], theirs[1])
        if step.rule == "spop" and not same_size(ours[2], theirs[2]):
            self.note(index + 2, done[:3], ours[2], theirs[2])
        for replies in (ours, theirs):
            if step.rule == "spop":
                why = popped_well(replies)
            else:
                why = shown_well(replies, step.commands[1])
            if why:
                self.note(index + 1, done[:2], ours[1], theirs[1], why)

    def compare_pushes(self, commands, ours, theirs):
        """Pushes come in order for each channel; where between the replies is left open."""
        if ours == theirs:
            return
        if all(c.rule != "unsubscribed" for c in commands) or len(ours) != len(theirs):
            grouped = [by_channel(pushes) for pushes in (ours, theirs)]
        else:  # the counts of those that left in any order tell nothing
            grouped = [by_channel(pushes, counts=False) for pushes in (ours, theirs)]
        if grouped[0] != grouped[1]:
            words = next(c.arguments for c in commands if c.pushes)
            self.note(self.index, [words], b"".join(ours), b"".join(theirs),
                      "the pushes of the batch differ")

    def note(self, index, commands, ours, theirs, why="the replies differ"):
        """Keeps a difference."""
        difference = Difference(index, list(commands), ours, theirs, why)
        self.differences.append(difference)
        self.kinds.setdefault(difference.kind(), difference)

    def start_over(self):
        """Both servers empty again, so that one difference is not the reason of the next."""
        for side in self.sides:
            call(side.port, "FLUSHALL")
        self.slowest = 0.0


def empties(step, ours, theirs):
    """Whether a step has removed all keys from both servers."""
    return (str(step.commands[0].arguments[0]).upper() in ("FLUSHALL", "FLUSHDB") and
            ours == theirs == [b"+OK\r\n"])


def by_channel(pushes, counts=True):
    """Pushes of each channel, in order; without the counts of those who leave, if so wanted."""
    channels = {}
    for push in pushes:
        content = parse(push)[1]
        if not counts and content[0][1] == b"unsubscribe":
            content = content[:2]
        channels.setdefault(content[1][1], []).append(content)
    return channels


def lacking(port, promised):
    """Names of the commands that the server does not know; the promised ones must be there."""
    missing = set()
    for name in REQUIRED + EXTRA:
        arguments = [name] + (["x"] * 9 if name in ("FLUSHALL", "FLUSHDB", "RESET", "QUIT") else [])
        if name != "QUIT" and call(port, *arguments).startswith(b"-ERR unknown command"):
            missing.add(name)
    if missing & set(promised):
        raise AssertionError(f"unknown to the server: {sorted(missing & set(promised))}")
    return missing


# ---- the shortest way to a difference ------------------------------------------------------------


def differs(ours, theirs, commands):
    """Whether the last of the commands, on empty servers, is answered differently."""
    replies = []
    started = time.monotonic()
    for port in (ours, theirs):
        call(port, "FLUSHALL")
        with Connection(port) as connection:
            request = b"".join(encode(*c.arguments) for c in commands)
            count = sum(c.replies + c.pushes for c in commands)
            last = commands[-1].replies + commands[-1].pushes
            replies.append(connection.exchange(request, count)[-last:])
    seconds = time.monotonic() - started + SLACK_SECONDS
    return len(replies[0]) != len(replies[1]) or any(
        not same(commands[-1].rule, a, b, seconds) for a, b in zip(*replies))


def shrink(ours, theirs, commands, seconds=20):
    """As few of the commands as possible, with which the last is still answered differently."""
    deadline = time.monotonic() + seconds
    commands = [c for c in commands if str(c.arguments[0]).upper() != "QUIT"]
    if not commands or not differs(ours, theirs, commands):
        return None
    size = len(commands) // 2
    while size > 0 and time.monotonic() < deadline:
        at = 0
        while at < len(commands) - 1 and time.monotonic() < deadline:
            fewer = commands[:at] + commands[min(at + size, len(commands) - 1):]
            if differs(ours, theirs, fewer):
                commands = fewer
            else:
                at += size
        size //= 2
    return commands


def reproduction(comparison, difference, ours, theirs):
    """The commands since the servers were last empty, shortened."""
    commands, index = [], 0
    for batch in comparison.history:
        for step in batch:
            for command in step.commands:
                if index <= difference.index:
                    commands.append(command)
                index += 1
    short = shrink(ours, theirs, commands)
    if short is None:
        return "  (does not happen again on empty servers)"
    lines = [f"  shortest {shown(c.arguments)}" for c in short[-COMMANDS_SHOWN:]]
    if len(short) > COMMANDS_SHOWN:
        lines.insert(0, f"  ({len(short) - COMMANDS_SHOWN} commands before these)")
    return "\n".join(lines)


# ---- self-test -----------------------------------------------------------------------------------


def planted(reply, way, rule):
    """A reply that differs a little: another digit, letter, length, kind or order; a time that is
    only some seconds off."""
    kind, content = reply[:1], reply[1:-2]
    if kind == b":" and rule in TIME_UNITS and int(content) >= 0:
        shift = SHIFT_SECONDS * TIME_UNITS[rule]
        down = way == 0 and int(content) > shift
        return b":%d\r\n" % (int(content) + (-shift if down else shift))
    if kind in b":(":
        return kind + b"%d\r\n" % (int(content) + 100000000)
    if kind == b",":
        return b",123.25\r\n" if content != b"123.25" else b",1\r\n"
    if kind == b"_":
        return b"$0\r\n\r\n"
    if kind in b"+-#":
        return kind + content + b"x\r\n"
    if kind in b"$=":
        if reply[1:2] == b"-":
            return b"$0\r\n\r\n"
        head, body = reply.split(b"\r\n", 1)
        if len(body) == 2:
            return b"$-1\r\n"
        return head + b"\r\n" + bytes([body[0] ^ 0x80]) + body[1:]
    return planted_aggregate(reply, way, rule)


def planted_aggregate(reply, way, rule):
    """An array that lacks an item, has two in the wrong order, or has one that is different."""
    kind = reply[:1]
    at = reply.index(b"\r\n") + 2
    items = []
    while at < len(reply):
        end = reply_end(reply, at)
        items.append(reply[at:end])
        at = end
    if not items:
        return kind + b"1\r\n:1\r\n" if kind != b"%" else kind + b"1\r\n:1\r\n:1\r\n"
    if way == 0 and kind in b"*~":
        items.pop(0)
    elif way == 1 and kind == b"*" and rule == "exact" and items[0] != items[-1]:
        items[0], items[-1] = items[-1], items[0]
    else:
        items[-1] = planted(items[-1], way, "any")
    return kind + b"%d\r\n" % (len(items) // (1 + (kind == b"%"))) + b"".join(items)


class Proxy(threading.Thread):
    """Between a client and a server: changes the replies whose numbers are in the plan."""

    def __init__(self, port, plan):
        super().__init__(daemon=True)
        self.port, self.plan, self.number = port, plan, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.own_port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            with client, servers.connect("127.0.0.1", self.port) as server:
                self.pass_on(client, server)

    def pass_on(self, client, server):
        """Until one of them ends."""
        data = bytearray()
        to_server = threading.Thread(target=copy, args=(client, server), daemon=True)
        to_server.start()
        while piece := server.recv(1 << 20):
            data += piece
            client.sendall(self.changed(data))
        client.shutdown(socket.SHUT_RDWR)
        to_server.join(servers.WAIT)

    def changed(self, data):
        """Takes the complete replies out of data; what to send instead of them."""
        at, parts = 0, []
        while at < len(data) and (end := reply_end(data, at)) >= 0:
            reply = bytes(data[at:end])
            parts.append(self.planted(reply))
            self.number += 1
            at = end
        del data[:at]
        return b"".join(parts)

    def planted(self, reply):
        """The reply, or a changed one if the plan says so."""
        if self.number not in self.plan:
            return reply
        return planted(reply, self.number % 3, self.plan[self.number][1])


def copy(source, target):
    """Bytes from one socket to the other until the end."""
    try:
        while piece := source.recv(1 << 20):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Planted(Comparison):
    """A comparison that expects differences, and goes on after them: the servers are as before,
    only a reply was changed on the way."""

    PROMISED = REQUIRED

    def __init__(self, ours, theirs, seed, step_of):
        super().__init__(ours, theirs, seed)
        self.step_of = step_of  # command -> the first one of its step
        self.found = set()  # steps
        self.too_slow = set()  # steps whose clocks were so far apart that a shift is not seen

    def note(self, index, commands, ours, theirs, why="the replies differ"):
        self.found.add(self.step_of[index])

    def compare(self, batch):
        before = self.slowest
        complete = super().compare(batch)
        if max(before, self.slowest) + SLACK_SECONDS >= SHIFT_SECONDS:
            count = sum(len(step.commands) for step in batch)
            self.too_slow |= set(self.step_of[self.index:self.index + count])
        return complete

    def start_over(self):
        """Nothing has to be mended."""


def plan_of(seed, missing, count, one_in, times):
    """Reply numbers to change, each with the number of its step's first command and the rule it is
    compared by; and that first number for each command. None whose text may differ is changed. With
    `times` it is only replies about times."""
    chooser = random.Random(seed + 1)
    plan, number, index, due = {}, 0, 0, chooser.randrange(one_in)
    step_of = []
    for step in Generator(seed).steps():
        if any(str(c.arguments[0]).upper() in missing for c in step.commands):
            continue
        start = index
        for command in step.commands:
            total = command.replies + command.pushes
            fits = command.rule not in ("kind", "hello") and not command.pushes
            if times:
                fits = command.rule in TIME_UNITS and chooser.randrange(one_in) == 0
            if number >= due and total and fits:
                plan[number] = (start, command.rule)
                due = number + 1 + (0 if times else chooser.randrange(2 * one_in))
            number += total
            index += 1
            step_of.append(start)
        if index >= count + BATCH_SIZES[-1]:
            return plan, step_of


def self_test(seed, count, one_in=10000, times=False):
    """Plants differences and looks whether they are found, each at its step, and nothing else.
    Returns (number planted, what was missed, what was found without having been planted)."""
    servers_ = [Redis(), Redis()]
    try:
        missing = lacking(servers_[0].port, REQUIRED)
        plan, step_of = plan_of(seed, missing, count, one_in, times)
        proxy = Proxy(servers_[0].port, {})
        comparison = Planted(proxy.own_port, servers_[1].port, seed, step_of)
        proxy.number, proxy.plan = 0, plan
        comparison.run(count)
        expected = {index for index, _ in plan.values() if index < comparison.index}
        shifted = {index for index, rule in plan.values() if rule in TIME_UNITS}
        excused = shifted & comparison.too_slow
        return (len(expected - excused), sorted(expected - excused - comparison.found),
                sorted(comparison.found - expected))
    finally:
        for server in servers_:
            server.stop()


# --------------------------------------------------------------------------------------------------


def compare_servers(ours, theirs, seed, count, shorten=False):
    """Text about the differences, one of each kind; empty when there is none."""
    comparison = Comparison(ours, theirs, seed)
    comparison.run(count)
    texts = []
    for difference in comparison.kinds.values():
        texts.append(difference.text(seed))
        if shorten:
            texts.append(reproduction(comparison, difference, ours, theirs))
    return "\n".join(texts), comparison


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--ours", type=int, help="port of the server under test")
    parser.add_argument("--theirs", type=int, help="port of a redis-server")
    parser.add_argument("--shrink", action="store_true", help="look for the shortest way there")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--times", action="store_true", help="with --self-test")
    options = parser.parse_args()
    started = time.monotonic()
    if options.self_test:
        number, missed, wrong = self_test(options.seed, options.count,
                                           2 if options.times else 10000, options.times)
        print(f"{number} planted, missed {missed}, found besides {wrong}, "
              f"{time.monotonic() - started:.1f} s")
        return 1 if missed or wrong or number == 0 else 0
    own = []
    try:
        for name in ("ours", "theirs"):
            if getattr(options, name) is None:
                own.append(Redis())
                setattr(options, name, own[-1].port)
        for port in (options.ours, options.theirs):
            call(port, "FLUSHALL")
        text, comparison = compare_servers(options.ours, options.theirs, options.seed,
                                           options.count, options.shrink)
    finally:
        for server in own:
            server.stop()
    print(text + f"\n{comparison.index} commands, {len(comparison.differences)} differences, "
          f"{time.monotonic() - started:.1f} s; not known to both: {sorted(comparison.missing)}")
    return 1 if comparison.differences else 0


if __name__ == "__main__":
    sys.exit(main())
