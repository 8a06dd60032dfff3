# SPDX-License-Identifier: MIT
"""Random commands of the Redis protocol, from a seed: right ones, and wrong ones on purpose.

A step is a few commands that belong together. Each command says by which rule its replies of two
servers are compared (resp_differential.py) and how many there are. The same seed makes the same
steps, whatever the servers answer: a server that lacks a command is not sent the steps with it.

Three things would make two servers of the same program differ, and are therefore not generated:
expiry times that a slower machine would reach, or that two commands could set to the same
millisecond; ranges by lexical order over members with different scores, whose result Redis leaves
open; and names of commands with a zero byte, which Redis takes for the command in front of it when
both happen to have the same place in its table, whose hash has another key in each process.
"""
import random
from collections import namedtuple

Command = namedtuple("Command", "arguments rule replies pushes")
Step = namedtuple("Step", "commands rule")

REQUIRED = """PING ECHO SET GET GETSET GETDEL GETEX SETNX SETEX MSET MGET DEL EXISTS INCR DECR
    INCRBY DECRBY INCRBYFLOAT APPEND STRLEN GETRANGE SETRANGE EXPIRE PEXPIRE TTL PTTL PERSIST TYPE
    LPUSH RPUSH LPOP RPOP LLEN LRANGE LINDEX HSET HGET HDEL HGETALL HINCRBY HLEN SADD SREM
    SISMEMBER SMEMBERS SCARD SPOP ZADD ZSCORE ZRANGE ZPOPMIN ZREM ZCARD SUBSCRIBE UNSUBSCRIBE
    PUBLISH DBSIZE FLUSHALL INFO COMMAND CONFIG CLIENT SELECT QUIT HELLO""".split()
EXTRA = """UNLINK TOUCH PSETEX SUBSTR EXPIREAT PEXPIREAT EXPIRETIME PEXPIRETIME LPUSHX RPUSHX LSET
    LREM LTRIM LINSERT HMSET HSETNX HMGET HKEYS HVALS HEXISTS HINCRBYFLOAT HSTRLEN SMISMEMBER
    SRANDMEMBER ZMSCORE ZINCRBY ZRANGEBYSCORE ZREVRANGE ZRANK ZREVRANK ZCOUNT ZPOPMAX FLUSHDB RESET
    AUTH KEYS TIME""".split()

RULES = {"SMEMBERS": "unordered", "HKEYS": "unordered", "HVALS": "unordered", "KEYS": "unordered",
         "HGETALL": "pairs", "TTL": "seconds", "EXPIRETIME": "seconds", "PTTL": "milliseconds",
         "PEXPIRETIME": "milliseconds"}

INTEGERS = [b"0", b"1", b"-1", b"2", b"-2", b"3", b"5", b"10", b"100", b"-100", b"2147483647",
            b"2147483648", b"4294967295", b"4294967296", b"9223372036854775806",
            b"9223372036854775807", b"-9223372036854775808", b"-9223372036854775807"]
NOT_INTEGERS = [b"9223372036854775808", b"-9223372036854775809", b"18446744073709551616", b"", b"a",
                b" 1", b"1 ", b"+1", b"01", b"-0", b"--1", b"1.0", b"1e3", b"0x10", b"1\0", b"-",
                b"99999999999999999999999999", b"\xd9\xa3", b"nan", b"1\r\n"]
FLOATS = [b"0", b"1", b"-1", b"1.5", b"-0.0", b"0.1", b"3.0e2", b"1e15", b"1e17", b"1e21",
          b"123456789.123456789", b"5e-324", b"1e-5", b"1.7976931348623157e308", b"-1e308", b"+2",
          b".5", b"5.", b"0x1p3", b"1e-400", b"4503599627370497.5", b"9007199254740993", b"100",
          b"0.30000000000000004", b"1e100", b"-7.25", b"33"]
ODD_FLOATS = [b"inf", b"-inf", b"+inf", b"infinity", b"-Infinity", b"INF", b"nan", b"NaN", b"1e400",
              b"-1e400", b" 1", b"1 ", b"", b"abc", b"1,5", b"1e", b"--1", b"1_0", b"0x", b"1\0",
              b"1" * 300, b"0." + b"1" * 250]
ODD_KEYS = [b"", b"\0", b"\r\n", b"\xff\xfe\0\x80", b"a b", b"{tag}", b"k" * 24, b"k" * 300,
            b"k" * 5000, b"\n", b"*1", b"$", "ключ".encode()]
PATTERNS = [b"*", b"s:*", b"?:1", b"[snl]:*", b"[^s]:*", b"[a-m]:[0-4]", b"*:1*", b"\\*", b"", b"[",
            b"s:[", b"**1", b"any:?", b"a*y*7", b"[z-a]:3", b"*\xff*", b"s\\:1", b"[\\s]:2", b"???",
            b"large:*", b"[^", b"*" * 20 + b"x", b"[s:1", b"S:*"]
UNKNOWN = [b"FOO", b"", b"GETX", b"SE", b"x" * 200, b"\xff\xfe", b"foo bar", b"G\nT",
           b"HSETT", b"zad", b"GET|SET", b"config|get"]
YEAR_2100 = 4102444800


class Values:
    """Arguments: mostly sensible, often at an edge, sometimes wrong."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, of_thousand):
        """True in so many of 1000 cases."""
        return self.random.random() * 1000 < of_thousand

    def pick(self, sequence):
        """One of them."""
        return sequence[int(self.random.random() * len(sequence))]

    def below(self, limit):
        """A number from 0 to limit - 1."""
        return int(self.random.random() * limit)

    def several(self, make, most=4):
        """Between one and `most` of what make() makes."""
        return [make() for _ in range(1 + self.below(most))]

    def key(self, kind):
        """A key, mostly one whose value is of this kind: s, n, l, h, t, z, and b for large ones."""
        case = self.below(100)
        if case < 78:
            return b"%s:%d" % (kind.encode(), self.below(10))
        if case < 90:
            return b"any:%d" % self.below(8)
        if case < 96:
            return b"%s:%d" % (self.pick([b"s", b"n", b"l", b"h", b"t", b"z"]),
                               self.below(10))
        if case < 98:
            return b"missing:%d" % self.below(1000000)
        return self.pick(ODD_KEYS)

    def value(self):
        """Any bytes."""
        case = self.below(100)
        if case < 40:
            return b"value-%d" % self.below(100000)
        if case < 60:
            return self.integer()
        if case < 68:
            return self.float()
        if case < 72:
            return b""
        if case < 85:
            return self.random.randbytes(1 + self.below(60))
        if case < 97:
            return b"x" * self.pick([1, 7, 8, 15, 22, 23, 24, 25, 43, 44, 45, 63, 64, 65, 127, 128])
        return self.random.randbytes(self.pick([200, 223, 224, 225, 255, 256, 1000, 4096, 9000]))

    def integer(self):
        """An integer, rarely something else."""
        case = self.below(100)
        if case < 55:
            return b"%d" % (self.below(40) - 10)
        if case < 75:
            return b"%d" % (self.below(2000000) - 1000000)
        return self.pick(INTEGERS) if case < 92 else self.pick(NOT_INTEGERS)

    def index(self):
        """A position in something short."""
        return b"%d" % (self.below(24) - 8) if self.chance(880) else self.integer()

    def float(self):
        """A number with a fraction, rarely something else."""
        case = self.below(100)
        if case < 40:
            return b"%.*f" % (self.below(6), self.random.uniform(-100, 100))
        if case < 60:
            return b"%d" % (self.below(40) - 10)
        return self.pick(FLOATS) if case < 88 else self.pick(ODD_FLOATS)

    def field(self):
        """A member of a hash, set or sorted set."""
        case = self.below(100)
        if case < 80:
            return b"f%d" % self.below(20)
        if case < 90:
            return b"%d" % self.below(30)
        return self.value()

    def case(self, word):
        """The word, in capitals or not."""
        case = self.below(10)
        if case < 5:
            return word
        if case < 8:
            return word.lower()
        return "".join(self.pick([a.upper(), a.lower()]) for a in word)

    def pick_range(self):
        """An offset and what goes there; nothing that makes a string of 512 MiB."""
        if self.chance(600):
            return [b"%d" % self.below(60), self.value()]
        return [self.pick([b"0", b"5", b"-1", b"536870910", b"536870911", b"536870912", b"x",
                           b"4294967296", b"9223372036854775807"]), self.pick([b"", b"abc"])]

    def seconds(self):
        """A time to live: far away, never the same twice, or wrong, or over."""
        case = self.below(100)
        if case < 75:
            return b"%d" % self.random.randrange(10**5, 10**8)
        if case < 82:
            return b"%d" % -self.random.randrange(1, 10**6)
        return self.pick([b"0", b"-1", b"9223372036854775807", b"9223372036854775",
                          b"-9223372036854775808", b"9223372036854776", b"-9223372036854776",
                          *NOT_INTEGERS])

    def milliseconds(self):
        """The same in milliseconds."""
        text = self.seconds()
        return text + b"000" if text.isdigit() and len(text) in range(5, 10) else text

    def moment(self, unit=1):
        """A time of the clock."""
        case = self.below(100)
        if case < 70:
            return b"%d" % ((YEAR_2100 + self.below(50)) * unit)
        if case < 80:
            return b"%d" % (self.below(2000000) * unit)
        return self.seconds() if self.chance(300) else self.pick(NOT_INTEGERS + INTEGERS[-4:])

    def bound(self):
        """One end of a range of scores."""
        text = self.float() if self.chance(800) else self.pick([b"-inf", b"+inf"])
        return b"(" + text if self.chance(250) else text

    def lexical(self):
        """One end of a range of members."""
        if self.chance(250):
            return self.pick([b"-", b"+", b"", b"x", b"(", b"[", b"-x", b"++"])
        return self.pick([b"(", b"["]) + self.field()

    def options(self, *choices):
        """Some of the options, in any order and case; each is a list of words."""
        taken = [choice for choice in choices if self.chance(600 / (1 + len(choices)))]
        if self.chance(30):
            taken.append([self.pick(["FOO", "", "EX", "NX", "XX", "GT", "LIMIT", "COUNT", "1"])])
        if taken and self.chance(20):
            taken.append(self.pick(taken))
        self.random.shuffle(taken)
        words = []
        for choice in taken:
            words += [self.case(word) if isinstance(word, str) else word for word in choice]
        if words and self.chance(20):
            words.pop()
        return words

    def expiry(self, *more):
        """Options that set a time to live. Not to a moment that is over: SET with one leaves a key
        that DBSIZE still counts for a while. The step `past` does that."""
        year = YEAR_2100 + self.below(50)
        return [["EX", self.seconds()], ["PX", self.milliseconds()], ["EXAT", b"%d" % year],
                ["PXAT", b"%d000" % year], *more]


def string_commands(v):
    """How the arguments of commands on strings are made; the numbers are weights."""
    text, number = lambda: v.key("s"), lambda: v.key("n")
    return {
        "SET": (60, lambda: [text(), v.value(), *v.options(*v.expiry(
            ["NX"], ["XX"], ["GET"], ["KEEPTTL"]))]),
        "GET": (60, lambda: [text()]),
        "GETSET": (15, lambda: [text(), v.value()]),
        "GETDEL": (10, lambda: [text()]),
        "GETEX": (15, lambda: [text(), *v.options(*v.expiry(
            ["PERSIST"], ["EXAT", v.moment()], ["PXAT", v.moment(1000)]))]),
        "SETNX": (10, lambda: [text(), v.value()]),
        "SETEX": (10, lambda: [text(), v.seconds(), v.value()]),
        "PSETEX": (6, lambda: [text(), v.milliseconds(), v.value()]),
        "MSET": (10, lambda: [x for _ in range(1 + v.below(5)) for x in (text(), v.value())]),
        "MGET": (15, lambda: v.several(lambda: v.key(v.pick("snlhtz")), 8)),
        "INCR": (20, lambda: [number()]),
        "DECR": (10, lambda: [number()]),
        "INCRBY": (12, lambda: [number(), v.integer()]),
        "DECRBY": (12, lambda: [number(), v.integer()]),
        "INCRBYFLOAT": (20, lambda: [number(), v.float()]),
        "APPEND": (15, lambda: [text(), v.value()]),
        "STRLEN": (10, lambda: [text()]),
        "GETRANGE": (15, lambda: [text(), v.index(), v.index()]),
        "SUBSTR": (5, lambda: [text(), v.index(), v.index()]),
        "SETRANGE": (10, lambda: [text(), *v.pick_range()]),
    }


def key_commands(v):
    """Commands on keys of any type."""
    some = lambda: v.key(v.pick("snlhtz"))
    when = lambda: v.options(["NX"], ["XX"], ["GT"], ["LT"])
    return {
        "DEL": (25, lambda: v.several(some)),
        "UNLINK": (5, lambda: v.several(some)),
        "EXISTS": (20, lambda: v.several(some)),
        "TOUCH": (5, lambda: v.several(some)),
        "TYPE": (15, lambda: [some()]),
        "EXPIRE": (15, lambda: [some(), v.seconds(), *when()]),
        "PEXPIRE": (10, lambda: [some(), v.milliseconds(), *when()]),
        "EXPIREAT": (10, lambda: [some(), v.moment(), *when()]),
        "PEXPIREAT": (10, lambda: [some(), v.moment(1000), *when()]),
        "TTL": (10, lambda: [some()]),
        "PTTL": (10, lambda: [some()]),
        "EXPIRETIME": (5, lambda: [some()]),
        "PEXPIRETIME": (5, lambda: [some()]),
        "PERSIST": (10, lambda: [some()]),
    }


def list_commands(v):
    """Commands on lists."""
    key = lambda: v.key("l")
    element = lambda: v.field() if v.chance(700) else v.value()
    return {
        "LPUSH": (20, lambda: [key(), *v.several(element)]),
        "RPUSH": (25, lambda: [key(), *v.several(element)]),
        "LPUSHX": (5, lambda: [key(), *v.several(element)]),
        "RPUSHX": (5, lambda: [key(), *v.several(element)]),
        "LPOP": (15, lambda: [key(), *([v.index()] if v.chance(400) else [])]),
        "RPOP": (15, lambda: [key(), *([v.index()] if v.chance(400) else [])]),
        "LLEN": (10, lambda: [key()]),
        "LRANGE": (20, lambda: [key(), v.index(), v.index()]),
        "LINDEX": (15, lambda: [key(), v.index()]),
        "LSET": (10, lambda: [key(), v.index(), element()]),
        "LREM": (10, lambda: [key(), v.index(), element()]),
        "LTRIM": (5, lambda: [key(), v.index(), v.index()]),
        "LINSERT": (10, lambda: [key(), v.case(v.pick(["BEFORE", "AFTER", "BEFORE", "AFTER", "X"])),
                                 element(), element()]),
    }


def hash_commands(v):
    """Commands on hashes."""
    key, field = lambda: v.key("h"), v.field
    pairs = lambda: [x for _ in range(1 + v.below(5))
                     for x in (field(), v.value() if v.chance(500) else v.integer())]
    return {
        "HSET": (30, lambda: [key(), *pairs()]),
        "HMSET": (5, lambda: [key(), *pairs()]),
        "HSETNX": (8, lambda: [key(), field(), v.value()]),
        "HGET": (20, lambda: [key(), field()]),
        "HMGET": (10, lambda: [key(), *v.several(field, 6)]),
        "HDEL": (15, lambda: [key(), *v.several(field)]),
        "HGETALL": (12, lambda: [key()]),
        "HKEYS": (5, lambda: [key()]),
        "HVALS": (5, lambda: [key()]),
        "HEXISTS": (8, lambda: [key(), field()]),
        "HINCRBY": (15, lambda: [key(), field(), v.integer()]),
        "HINCRBYFLOAT": (12, lambda: [key(), field(), v.float()]),
        "HLEN": (8, lambda: [key()]),
        "HSTRLEN": (6, lambda: [key(), field()]),
    }


def set_commands(v):
    """Commands on sets; those that answer at random are in Generator."""
    key, member = lambda: v.key("t"), v.field
    return {
        "SADD": (30, lambda: [key(), *v.several(member, 6)]),
        "SREM": (15, lambda: [key(), *v.several(member)]),
        "SISMEMBER": (12, lambda: [key(), member()]),
        "SMISMEMBER": (8, lambda: [key(), *v.several(member, 6)]),
        "SMEMBERS": (12, lambda: [key()]),
        "SCARD": (10, lambda: [key()]),
    }


def zset_commands(v):
    """Commands on sorted sets; keys y:N are those whose members all have the score 0."""
    key, member = lambda: v.key("z"), v.field
    conditions = lambda: v.options(["NX"], ["XX"], ["GT"], ["LT"], ["CH"], ["INCR"])
    pairs = lambda: [x for _ in range(1 + v.below(2) * v.below(4)) for x in (v.float(), member())]
    limit = lambda: ["LIMIT", v.index(), v.index()]
    with_scores = lambda: [v.case("WITHSCORES")] if v.chance(500) else v.options()
    same_score = lambda: b"y:%d" % v.below(5) if v.chance(970) else b"s:%d" % v.below(5)
    return {
        "ZADD": (40, lambda: [key(), *conditions(), *pairs()]),
        "ZADD y": (8, lambda: [b"y:%d" % v.below(5), *(
            x for _ in range(1 + v.below(4)) for x in (b"0", member()))]),
        "ZSCORE": (12, lambda: [key(), member()]),
        "ZMSCORE": (8, lambda: [key(), *v.several(member, 6)]),
        "ZINCRBY": (12, lambda: [key(), v.float(), member()]),
        "ZRANGE": (15, lambda: [key(), v.index(), v.index(), *v.options(
            ["WITHSCORES"], ["REV"], *([limit()] if v.chance(100) else []))]),
        "ZRANGE s": (15, lambda: [key(), v.bound(), v.bound(), *v.options(
            ["BYSCORE"], ["BYSCORE"], ["WITHSCORES"], ["REV"], limit())]),
        "ZRANGE y": (15, lambda: [same_score(), v.lexical(), v.lexical(), v.case("BYLEX"),
                                  *v.options(["REV"], limit(), *(
                                      [["WITHSCORES"], ["BYSCORE"]] if v.chance(100) else []))]),
        "ZRANGEBYSCORE": (12, lambda: [key(), v.bound(), v.bound(),
                                       *v.options(["WITHSCORES"], limit())]),
        "ZREVRANGE": (8, lambda: [key(), v.index(), v.index(), *with_scores()]),
        "ZRANK": (8, lambda: [key(), member()]),
        "ZREVRANK": (8, lambda: [key(), member()]),
        "ZCOUNT": (10, lambda: [key(), v.bound(), v.bound()]),
        "ZPOPMIN": (10, lambda: [key(), *([v.index()] if v.chance(400) else [])]),
        "ZPOPMAX": (8, lambda: [key(), *([v.index()] if v.chance(400) else [])]),
        "ZREM": (15, lambda: [key(), *v.several(member)]),
        "ZCARD": (8, lambda: [key()]),
    }


def keyless_commands(v):
    """Commands that need no key, and answer every time the same."""
    return {
        "PING": (10, lambda: [v.value()] if v.chance(400) else []),
        "ECHO": (8, lambda: [v.value()]),
        "SELECT": (4, lambda: [v.pick([b"0", b"0", b"1", b"16", b"-1", b"a", b"", b"00",
                                       b"99999999999"])]),
        "AUTH": (2, lambda: v.pick([[b"secret"], [b"default", b"x"], [b"nobody", b"x"],
                                    [b"a", b"b", b"c"]])),
        "PUBLISH": (8, lambda: [b"nobody:%d" % v.below(9), v.value()]),
        "DBSIZE": (3, lambda: []),
        "FLUSHALL": (0.5, lambda: v.pick([[], [], [b"sync"], [b"ASYNC"], [b"foo"],
                                          [b"sync", b"x"]])),
        "FLUSHDB": (0.3, lambda: v.pick([[], [b"SYNC"], [b"foo"]])),
        "KEYS": (2, lambda: [v.pick(PATTERNS)]),
    }


TEXTS = [  # commands whose reply is a text about the server: only its kind is compared
    ["INFO"], ["INFO", "server"], ["info", "KEYSPACE"], ["INFO", "all"], ["INFO", "nosuch"],
    ["COMMAND", "COUNT"], ["CONFIG", "GET", "save"], ["config", "get", "appendonly"],
    ["CONFIG", "GET", "max*"], ["CLIENT", "ID"], ["CLIENT", "INFO"], ["CLIENT", "LIST"],
    ["TIME"], ["COMMAND", "DOCS", "get"], ["COMMAND", "INFO", "get", "nosuch"], ["COMMAND"],
    ["CLIENT", "HELP"], ["client", "help"], ["CONFIG", "HELP"], ["COMMAND", "Help"],
    ["COMMAND", "LIST"], ["COMMAND", "LIST", "FILTERBY", "ACLCAT", "hash"],
    ["COMMAND", "LIST", "FILTERBY", "PATTERN", "*e*"], ["COMMAND", "DOCS"], ["COMMAND", "INFO"]]
SUBCOMMANDS = [  # but these have an exact reply
    ["CLIENT", "SETNAME", "name-1"], ["CLIENT", "GETNAME"], ["client", "setname", "a b"],
    ["CLIENT", "SETNAME", ""], ["CLIENT", "SETNAME"], ["CLIENT", "FOO"], ["CLIENT"], ["CONFIG"],
    ["CONFIG", "FOO"], ["CONFIG", "GET"], ["CONFIG", "GET", "no-such-parameter"],
    ["COMMAND", "FOO"], ["Client", "NO-EVICT", "on"], ["CLIENT", "NO-EVICT", "x"],
    ["CLIENT", "GETNAME", "x"], ["CLIENT", "ID", "x"], ["COMMAND", "COUNT", "x"],
    ["CLIENT", "HELP", "x"], ["CONFIG", "HELP", "x"], ["COMMAND", "HELP", "x"],
    ["CLIENT", "INFO", "x"], ["CLIENT", "NO-EVICT"], ["CLIENT", "NO-EVICT", "OFF"],
    ["CONFIG", "RESETSTAT"], ["CONFIG", "RESETSTAT", "x"], ["CONFIG", "SET"],
    ["CONFIG", "SET", "no-such-parameter", "x"], ["COMMAND", "INFO", "nosuch"],
    ["COMMAND", "DOCS", "nosuch"], ["COMMAND", "LIST", "x"], ["COMMAND", "LIST", "FILTERBY"],
    ["COMMAND", "LIST", "FILTERBY", "PATTERN"], ["COMMAND", "LIST", "FILTERBY", "ACLCAT"],
    ["COMMAND", "LIST", "FILTERBY", "FOO", "x"], ["COMMAND", "LIST", "FOO", "PATTERN", "x"],
    ["COMMAND", "LIST", "FILTERBY", "PATTERN", "get", "x"],
    ["COMMAND", "LIST", "FILTERBY", "PATTERN", "g?t"],
    ["command", "list", "filterby", "pattern", "HSTR[L]*"],
    ["COMMAND", "LIST", "FILTERBY", "PATTERN", "no-such*"],
    ["COMMAND", "LIST", "FILTERBY", "MODULE", "nosuch"],
    ["COMMAND", "LIST", "FILTERBY", "ACLCAT", "nosuch"]]
HELLOS = [["HELLO"], ["HELLO", "2"], ["HELLO", "3"], ["HELLO", "3"], ["hello", "3", "SETNAME", "n"],
          ["HELLO", "2", "setname", "m"], ["HELLO", "4"], ["HELLO", "1"], ["HELLO", "x"],
          ["HELLO", ""], ["HELLO", "3", "SETNAME"], ["HELLO", "3", "SETNAME", "a b"],
          ["HELLO", "3", "FOO"], ["HELLO", "3", "AUTH", "nobody", "x"], ["HELLO", "3", "AUTH", "x"],
          ["HELLO", "3", "AUTH", "default", "x"], ["HELLO", "9223372036854775808"]]
HELLO_WORKS = [2, 3, 4, 5, 1, 15]  # of the list above: those that set a protocol


class Generator:
    """Steps without end, from a seed."""

    def __init__(self, seed):
        self.values = Values(seed)
        self.protocol = 2
        self.plain = {}
        for make in (string_commands, key_commands, list_commands, hash_commands, set_commands,
                     zset_commands, keyless_commands):
            self.plain.update(make(self.values))
        self.special = {self.pops: 14, self.random_members: 6, self.texts: 3, self.subcommands: 8,
                        self.unknown: 8, self.hello: 2, self.reset: 0.5, self.quit: 0.3,
                        self.past: 3, self.channels: 5,
                        self.large_value: 0.7, self.large_collection: 3,
                        self.wrong_number: 25}
        self.choices = [*self.plain, *self.special]
        self.weights = [self.plain[c][0] if isinstance(c, str) else self.special[c]
                        for c in self.choices]

    def steps(self):
        """Forever."""
        while True:
            for choice in self.values.random.choices(self.choices, self.weights, k=1000):
                if callable(choice):
                    yield choice()
                else:
                    yield Step([self.command(choice)], None)

    def command(self, name):
        """A plain command with arguments."""
        arguments = self.plain[name][1]()
        name = name.split(" ")[0]
        return Command([self.values.case(name), *arguments], RULES.get(name, "exact"), 1, 0)

    def exact(self, *arguments):
        """A command with these words."""
        return Command(list(arguments), "exact", 1, 0)

    # ---- steps -----------------------------------------------------------------------------------

    def wrong_number(self):
        """A command with too few arguments, or with more than it wants."""
        v = self.values
        command = self.command(v.pick([c for c in self.plain if c != "KEYS"]))
        if v.chance(700):
            del command.arguments[1 + v.below(len(command.arguments)):]
        else:
            command.arguments.extend(v.several(v.field, 3))
        return Step([command], None)

    def pops(self):
        """Members leave at random: looked at before and after, then all of them go."""
        v = self.values
        key = v.key("t")
        count = [v.index()] if v.chance(600) else []
        return Step([Command(["SMEMBERS", key], "unordered", 1, 0),
                     Command([v.case("SPOP"), key, *count], "any", 1, 0),
                     Command(["SMEMBERS", key], "any", 1, 0), self.exact("DEL", key),
                     self.exact("SADD", key, *v.several(v.field, 6)),
                     Command(["SPOP", key, b"1000"], "unordered", 1, 0) if v.chance(100) else
                     self.exact("SCARD", key)], "spop")

    def random_members(self):
        """Members are shown at random."""
        v = self.values
        key = v.key("t")
        count = [b"%d" % (v.below(60) - 30)] if v.chance(600) else []
        return Step([Command(["SMEMBERS", key], "unordered", 1, 0),
                     Command([v.case("SRANDMEMBER"), key, *count], "any", 1, 0),
                     self.exact("SRANDMEMBER", key, v.pick(NOT_INTEGERS)),
                     self.exact("SCARD", key)], "srandmember")

    def texts(self):
        """What a server says about itself."""
        return Step([Command(list(self.values.pick(TEXTS)), "kind", 1, 0)], None)

    def subcommands(self):
        """Subcommands with exact replies."""
        return Step([self.exact(*self.values.pick(SUBCOMMANDS))], None)

    def unknown(self):
        """No such command."""
        v = self.values
        arguments = [v.value() for _ in range(v.below(5))]
        return Step([self.exact(v.pick(UNKNOWN), *arguments)], None)

    def hello(self):
        """The other protocol, or not."""
        which = self.values.below(len(HELLOS))
        if which in HELLO_WORKS:
            self.protocol = int(HELLOS[which][1])
        return Step([Command(list(HELLOS[which]), "hello", 1, 0),
                     self.exact("CLIENT", "GETNAME")], None)

    def reset(self):
        """Back to the beginning of a connection."""
        self.protocol = 2
        return Step([self.exact("RESET"), self.exact("CLIENT", "GETNAME")], None)

    def past(self):
        """Values whose time is over when they are set."""
        v = self.values
        key = v.key("s")
        option = v.pick([["EXAT", b"1"], ["PXAT", b"1"], ["pxat", b"1700000000000"],
                         ["EXAT", b"-1"], ["PXAT", b"0"]])
        return Step([self.exact("SET", key, v.value(), *option), self.exact("GET", key),
                     self.exact("EXISTS", key, key), self.exact("TYPE", key),
                     self.exact("DEL", key)], None)

    def quit(self):
        """The end of the connection; the next step has a new one."""
        self.protocol = 2
        return Step([self.exact(self.values.case("QUIT"))], "quit")

    def channels(self):
        """A subscription, with what is allowed meanwhile, and its end."""
        v = self.values
        names = [b"channel:%d" % v.below(5) for _ in range(1 + v.below(3))]
        known = sorted(set(names))
        answers = len(names)
        if self.protocol == 2:
            subscribe = Command([v.case("SUBSCRIBE"), *names], "exact", answers, 0)
            between = [self.plain_in_channel() for _ in range(v.below(6))]
        else:
            subscribe = Command([v.case("SUBSCRIBE"), *names], "exact", 0, answers)
            between = [Command(["PUBLISH", v.pick(known), v.value()], "exact", 1, 1)
                       for _ in range(v.below(4))]
            between += [self.exact("PUBLISH", b"nobody", b"x"), self.exact("PING"),
                        self.exact("SET", b"s:1", v.value())]
        return Step([self.exact("UNSUBSCRIBE", b"channel:none")._replace(
            replies=int(self.protocol == 2), pushes=int(self.protocol == 3)), subscribe,
            *between, self.unsubscribe(known)], None)

    def plain_in_channel(self):
        """RESP2 forbids nearly everything to subscribers."""
        v = self.values
        return self.exact(*v.pick([
            ["PING"], ["PING", v.value()], ["ping", b"a", b"b"], ["GET", b"s:1"], ["GET"],
            ["SET", b"s:1", v.value()], ["INCR", b"n:1"], ["ECHO", b"x"], ["nosuch", b"x"],
            ["PUBLISH", b"channel:1", b"x"], ["DBSIZE"], ["INFO"], ["SELECT", b"0"],
            ["SUBSCRIBE"], ["CONFIG", "GET", "save"], ["CLIENT", "ID"], ["HELLO", "9"]]))

    def unsubscribe(self, known):
        """From all of them: each by name, or all at once, whose order is open."""
        v = self.values
        if v.chance(500):
            names, rule = list(known), "exact"
            v.random.shuffle(names)
        else:
            names, rule = [], "unsubscribed"
        count = len(known)
        return Command([v.case("UNSUBSCRIBE"), *names], rule, count if self.protocol == 2 else 0,
                       0 if self.protocol == 2 else count)

    def large_value(self):
        """More bytes than any buffer holds at once."""
        v = self.values
        size = v.pick([16383, 16384, 16385, 65535, 65536, 100000, 300000])
        size = 2000000 if v.chance(50) else size
        data = v.random.randbytes(size)
        return Step([self.exact("SET", b"b:1", data), self.exact("GET", b"b:1"),
                     self.exact("ECHO", data[::2]), self.exact("APPEND", b"b:1", data[:100]),
                     self.exact("GETRANGE", b"b:1", b"%d" % (size - 50), b"-1"),
                     self.exact("STRLEN", b"b:1"), self.exact("RPUSH", b"b:2", data, b"x", data),
                     self.exact("LRANGE", b"b:2", b"1", b"-1"), self.exact("DEL", b"b:1", b"b:2")],
                    None)

    def large_collection(self):
        """Collections that have outgrown the representation for small ones."""
        v = self.values
        name = lambda: b"%d" % v.below(3000) if v.chance(700) else b"member:%d" % v.below(3000)
        some = lambda make: [x for _ in range(40) for x in make()]
        kind = v.below(4)
        key = b"large:%d" % kind
        if kind == 0:
            commands = [["HSET", key, *some(lambda: (name(), name()))], ["HGET", key, name()],
                        ["HDEL", key, *v.several(name, 20)], ["HLEN", key]]
        elif kind == 1:
            commands = [["SADD", key, *some(lambda: (name(),))], ["SISMEMBER", key, name()],
                        ["SREM", key, *v.several(name, 20)], ["SCARD", key]]
        elif kind == 2:
            commands = [["ZADD", key, *some(lambda: (b"%d" % v.below(500), name()))],
                        ["ZRANGE", key, b"%d" % v.below(2000), b"%d" % v.below(2000)],
                        ["ZREM", key, *v.several(name, 20)], ["ZCARD", key],
                        ["ZPOPMIN", key, b"5"], ["ZRANGE", key, b"100", b"130", "BYSCORE"]]
        else:
            commands = [[v.pick(["RPUSH", "LPUSH"]), key, *some(lambda: (name(),))],
                        ["LINDEX", key, b"%d" % v.below(2000)], ["LLEN", key],
                        ["LRANGE", key, b"%d" % v.below(2000), b"%d" % v.below(2000)],
                        [v.pick(["RPOP", "LPOP"]), key, b"%d" % v.below(30)]]
        whole = {0: "HGETALL", 1: "SMEMBERS"}.get(kind)
        commands = [self.exact(*words) for words in commands]
        if whole and v.chance(150):
            commands.append(Command([whole, key], RULES[whole], 1, 0))
        return Step(commands, None)
