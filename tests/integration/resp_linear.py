# SPDX-License-Identifier: MIT
"""Is there an order of these operations on one key that explains every result?

It must respect time (what ended before another began comes first) and each connection's order
(pipelined requests take effect in the order sent). Keys are independent of each other: a history is
linearizable if that of each key is.

Where results tell the order, checking takes n log n time:
  counter   INCR and GET: the results are the order
  log       APPEND of tokens of the same size, and GET: the lengths are the order
  register  SET, GETSET and GET with values that are never written twice: everything about one
            value stands together; what GETSET replaced stands right before. These groups must have
            an order, which is looked for greedily
For all operations mixed, DEL included, check_mixed searches (Wing and Gong, with the configurations
seen kept, as Lowe does it): exact, but only for moderate concurrency; CONFIGURATIONS_MAX bounds it.
"""
import heapq
from collections import defaultdict
from dataclasses import dataclass

CONFIGURATIONS_MAX = 3000000
INT64_MAX = (1 << 63) - 1
SMALL_DIGITS = 5
NOT_A_NUMBER = "error"  # the result of INCR on what is not one


@dataclass
class Operation:
    """One request and its reply. start and end are nanoseconds of one clock."""

    client: int
    kind: str  # SET GET GETSET INCR APPEND DEL
    argument: bytes
    result: object  # bytes or None for GET and GETSET, int for INCR, APPEND and DEL
    start: int
    end: int


class Undecided(AssertionError):
    """The search became too large."""


def by_client(operations):
    """Lists of each client's operations, in the order sent."""
    clients = defaultdict(list)
    for operation in operations:
        clients[operation.client].append(operation)
    return list(clients.values())


def check_ranked(operations, ranks):
    """None if time and connections agree with the ranks, else what is wrong. Operations of the
    same rank may come in any order."""
    pairs = list(zip(operations, ranks))
    last_of = {}  # client -> its operation before
    for operation, rank in pairs:
        before = last_of.get(operation.client)
        if before is not None and before[1] > rank:
            return f"{before[0]} was sent before {operation}"
        last_of[operation.client] = (operation, rank)
    starting = sorted(pairs, key=lambda pair: pair[0].start)
    ending = sorted(pairs, key=lambda pair: pair[0].end)
    at, last = 0, None
    for operation, rank in starting:
        while ending[at][0].end < operation.start:
            if last is None or ending[at][1] > last[1]:
                last = ending[at]
            at += 1
        if last is not None and last[1] > rank:
            return f"{last[0]} had ended before {operation} began"
    return None


def check_counter(operations):
    """INCR and GET of a key that was missing at the beginning."""
    added = sorted(o.result for o in operations if o.kind == "INCR")
    if added != list(range(1, len(added) + 1)):
        return "the results of INCR are not 1, 2, 3, ..."
    ranks = []
    for operation in operations:
        value = int(operation.result or 0)
        if not 0 <= value <= len(added):
            return f"{operation} saw what was never there"
        ranks.append((value, operation.kind != "INCR"))
    return check_ranked(operations, ranks)


def check_log(operations, token_size):
    """APPEND of tokens and GET of a key that was missing at the beginning."""
    added = sorted((o.result, o.argument) for o in operations if o.kind == "APPEND")
    if [size for size, _ in added] != [token_size * (i + 1) for i in range(len(added))]:
        return "the results of APPEND are not the lengths one after the other"
    whole = b"".join(token for _, token in added)
    ranks = []
    for operation in operations:
        if operation.kind == "APPEND":
            ranks.append((operation.result, False))
            continue
        seen = operation.result or b""
        if len(seen) % token_size or not whole.startswith(seen):
            return f"{operation.kind} of client {operation.client} saw {seen[-80:]!r} at its end"
        ranks.append((len(seen), True))
    return check_ranked(operations, ranks)


# ---- registers -----------------------------------------------------------------------------------


class Chain:
    """Values that followed each other for sure, and all operations that wrote or read them."""

    def __init__(self, values):
        self.values = values
        self.operations = []
        self.ranks = []
        self.first_end = None  # of the operation that ended first
        self.last_start = None  # of the one that began last
        self.before = 0  # chains that come earlier by a connection's order, and are not placed yet
        self.after = []

    def add(self, operation, rank):
        """An operation; ranks are places in this chain."""
        self.operations.append(operation)
        self.ranks.append(rank)
        self.first_end = min(operation.end, self.first_end or operation.end)
        self.last_start = max(operation.start, self.last_start or operation.start)


def chains_of(operations):
    """Groups values by what GETSET said it replaced. Returns (value -> (chain, place), chains), or
    what is wrong."""
    written = [o.argument for o in operations if o.kind != "GET"]
    if len(set(written)) != len(written):
        raise ValueError("a value was written twice: no test of a register")
    next_value = {}
    for operation in operations:
        if operation.kind == "GETSET":
            if operation.result in next_value:
                return f"{operation} replaced what another GETSET had replaced"
            next_value[operation.result] = operation.argument
    places, chains = {}, []
    for value in [None, *(set(written) - set(next_value.values()))]:
        values = [value]
        while values[-1] in next_value:
            values.append(next_value[values[-1]])
        chains.append(Chain(values))
        places.update({value: (chains[-1], i) for i, value in enumerate(values)})
    if len(places) != len(written) + 1:
        return "values that replaced each other in a circle, or what was never written"
    return places, chains


def check_register(operations):
    """SET, GET and GETSET of a key that was missing at the beginning."""
    found = chains_of(operations)
    if isinstance(found, str):
        return found
    places, chains = found
    at = {}
    for number, operation in enumerate(operations):
        value = operation.result if operation.kind == "GET" else operation.argument
        if value not in places:
            return f"{operation} saw what was never written"
        chain, place = places[value]
        chain.add(operation, (place, operation.kind == "GET"))
        at[number] = chain
    for chain in chains:
        wrong = check_ranked(chain.operations, chain.ranks)
        if wrong:
            return wrong
    last = {}
    for number, operation in enumerate(operations):
        before = last.get(operation.client)
        if before is not None and before is not at[number]:
            before.after.append(at[number])
            at[number].before += 1
        last[operation.client] = at[number]
    return order_chains(chains)


def order_chains(chains):
    """None when the chains can be put into an order, the first being that of the missing key. A
    chain can come next if none of the others holds an operation that ended before one of its own
    began, nor must come earlier by a connection's order."""
    first = chains[0]
    if first.before:
        return "the missing key was seen after a value by the same connection"
    chains = [first, *(chain for chain in chains[1:] if chain.operations)]
    ends = [(chain.first_end, i) for i, chain in enumerate(chains) if chain.operations]
    heapq.heapify(ends)
    placed = [False] * len(chains)
    number = {id(chain): i for i, chain in enumerate(chains)}
    free = []  # those without an earlier one by connection, the one that began earliest first
    for i, chain in enumerate(chains):
        if chain.before == 0 and i > 0:
            heapq.heappush(free, (chain.last_start, i))

    def can_be_next(i):
        if placed[i] or chains[i].before or not chains[i].operations:
            return False
        own = heapq.heappop(ends) if ends[0][1] == i else None
        drop_placed()
        fits = not ends or chains[i].last_start <= ends[0][0]
        if own is not None:
            heapq.heappush(ends, own)
        return fits

    def drop_placed():
        while ends and placed[ends[0][1]]:
            heapq.heappop(ends)

    def place(i):
        placed[i] = True
        drop_placed()
        for later in chains[i].after:
            later.before -= 1
            if later.before == 0 and not placed[number[id(later)]]:
                heapq.heappush(free, (later.last_start, number[id(later)]))

    if first.operations and not can_be_next(0):
        return "the missing key was seen after a value had been written"
    place(0)
    while ends:
        while free and placed[free[0][1]]:
            heapq.heappop(free)
        candidates = ([free[0][1]] if free else []) + [ends[0][1]]
        chosen = next((i for i in candidates if can_be_next(i)), None)
        if chosen is None:
            shown = chains[candidates[0]].values[:3]
            return f"no order of writes: {shown} has to come before and after another value"
        place(chosen)
    return None


# ---- everything mixed ----------------------------------------------------------------------------


def apply(state, operation):
    """The state after an operation, in a tuple; None if its result does not fit."""
    kind, result = operation.kind, operation.result
    if kind == "GET":
        return (state,) if result == state else None
    if kind == "SET":
        return (operation.argument,)
    if kind == "GETSET":
        return (operation.argument,) if result == state else None
    if kind == "DEL":
        return (None,) if result == (state is not None) else None
    if kind == "APPEND":
        after = (state or b"") + operation.argument
        return (after,) if result == len(after) else None
    assert kind == "INCR", kind
    text = state if state is not None else b"0"
    number = int(text) if text.isdigit() and len(text) < 20 else -1
    if b"%d" % number != text or number > INT64_MAX:
        return (state,) if result == NOT_A_NUMBER else None
    return (b"%d" % (number + 1),) if result == number + 1 else None


def value_seen(operation):
    """The state that an operation must have found, as far as its result says so."""
    if operation.kind in ("GET", "GETSET"):
        return operation.result
    if operation.kind == "INCR" and operation.result != NOT_A_NUMBER:
        return b"%d" % (operation.result - 1)
    return None


class Search:
    """The operations of one key, by client. A configuration is how many of each client's operations
    have taken effect, and the state."""

    def __init__(self, operations):
        self.clients = by_client(operations)
        self.seen_by = defaultdict(list)  # value -> those that found it, as (client, number)
        for i, mine in enumerate(self.clients):
            for number, operation in enumerate(mine):
                self.seen_by[value_seen(operation)].append((i, number))

    def never_again(self, state):
        """Whether a state cannot come back: all but the missing key and the small numbers that
        INCR makes of it, as no value is written twice."""
        return state is not None and not (state.isdigit() and len(state) <= SMALL_DIGITS)

    def still_to_be_seen(self, state, heads, besides):
        """Whether another one than `besides`, that has not taken effect, found this state."""
        return any(number >= heads[i] and (i, number) != besides
                   for i, number in self.seen_by.get(state, ()))

    def candidates(self, heads, state):
        """Which clients' next operation can take effect now: [(client, new state)]. One that leaves
        the state as it is can be taken at once: nothing is lost by it."""
        pending = [(mine[at], i) for i, (mine, at) in enumerate(zip(self.clients, heads))
                   if at < len(mine)]
        first_end = min(operation.end for operation, _ in pending)
        unique = self.never_again(state)
        found = []
        for operation, i in pending:
            if operation.start > first_end:
                continue
            after = apply(state, operation)
            if after is None:
                continue
            if after[0] == state and operation.kind != "SET":
                return [(i, state)]
            if not (unique and self.still_to_be_seen(state, heads, (i, heads[i]))):
                found.append((operation.end, i, after[0]))
        found.sort(key=lambda item: item[:2], reverse=True)  # the last is tried first
        return [(i, after) for _, i, after in found]


def check_mixed(operations, configurations_max=CONFIGURATIONS_MAX):
    """All operations on a key that was missing at the beginning. Values that are written must be
    different from each other, more than SMALL_DIGITS long if they are numbers, and so far apart
    that INCR does not lead from one to the next."""
    search = Search(operations)
    heads = (0,) * len(search.clients)
    done = tuple(len(mine) for mine in search.clients)
    if heads == done:
        return None
    seen = {(heads, None)}
    stack = [(heads, search.candidates(heads, None))]
    furthest = 0
    while stack:
        heads, candidates = stack[-1]
        if not candidates:
            stack.pop()
            continue
        client, state = candidates.pop()
        heads = heads[:client] + (heads[client] + 1,) + heads[client + 1:]
        if heads == done:
            return None
        if (heads, state) in seen:
            continue
        seen.add((heads, state))
        furthest = max(furthest, len(stack))
        if len(seen) > configurations_max:
            raise Undecided(f"more than {configurations_max} configurations; {furthest} of "
                            f"{len(operations)} operations explained so far")
        stack.append((heads, search.candidates(heads, state)))
    return f"at most {furthest} of {len(operations)} operations can be explained"
