"""What `make bench` measures: the table of scenarios, and the targets that are read from its figures."""

from dataclasses import dataclass

from measure import Scenario
from peers import PHP_PEERS, RUST_PEERS, WS_PEERS

RAW = ("floor", "phpws", *WS_PEERS)
SERVERS = ("phpws", *WS_PEERS)
TLS = ("phpws", *RUST_PEERS)
ORIGINAL = ("phpws", *PHP_PEERS)
FEEDBACK = (10, 100, 1000, 10000, 15000)

SCENARIOS = (
    Scenario("echo-50", "raw echo of 20 bytes, 50 connections", "echo -c 50 --size 20", RAW),
    Scenario("echo-500", "raw echo of 20 bytes, 500 connections", "echo -c 500 --size 20", RAW),
    Scenario("echo-pipelined", "the same, 50 connections, 16 messages under way on each", "echo -c 50 --size 20 --depth 16", RAW),
    Scenario("echo-1m", "echo of 1 MiB, 4 connections", "large -c 4", RAW),
    Scenario("connect", "handshakes, 50 at a time", "connect --concurrency 50", SERVERS),
    Scenario("wss-echo-50", "wss: echo of 20 bytes, 50 connections", "echo -c 50 --size 20", TLS, tls=True),
    Scenario("wss-echo-1m", "wss: echo of 1 MiB, 4 connections", "large -c 4", TLS, tls=True),
    Scenario("wss-connect", "wss: handshakes, 50 at a time", "connect --concurrency 50", TLS, tls=True),
    Scenario("dialog-50", "dialog, echo, 50 ordinary clients", "dialog -c 50", ORIGINAL, "dialog"),
    Scenario("dialog-50-quickack", "dialog, echo, 50 clients that acknowledge at once", "dialog -c 50 --quickack", ORIGINAL, "dialog"),
    Scenario("dialog-60k", "dialog, echo of 60 KB, one connection", "dialog -c 1 --size 60000 --quickack --spin", ORIGINAL, "dialog"),
    Scenario("feedback-50", "feedback, 50 ordinary browsers, 50 backends", "feedback -c 50 --senders 50", ORIGINAL, "dialog"),
    Scenario("feedback-50-quickack", "feedback, 50 browsers that acknowledge at once, 50 backends", "feedback -c 50 --senders 50 --quickack", ORIGINAL, "dialog"),
    Scenario("feedback-900", "feedback among 900 clients that acknowledge at once", "feedback -c 850 --senders 50 --quickack", ORIGINAL, "dialog"),
    Scenario("connect-50", "50 simultaneous connects", "connect --burst 50 --dialog", ORIGINAL, "dialog"),
    Scenario("broadcast-900", "broadcast to 900 receivers", "broadcast -c 900", ("floor", *ORIGINAL), "broadcast"),
    Scenario("broadcast-n-to-n", "100 clients broadcast to each other", "broadcast -c 1 --senders 99", ("floor", *ORIGINAL), "broadcast"),
    *(Scenario(f"feedback-{n}", f"feedback among {n:,} clients", f"feedback -c {n} --senders 10", ("floor", "phpws"), "dialog") for n in FEEDBACK),
    Scenario("idle", "memory of idle connections", "idle -c 5000", SERVERS, rounds=1),
    Scenario("idle-dialog", "memory of idle clients of the dialog", "idle -c 5000 --dialog", ("phpws",), "dialog", rounds=1),
    Scenario("idle-php", "memory of idle clients of the dialog", "idle -c 900 --dialog", ("php",), "dialog", rounds=1),
    Scenario("wss-idle", "wss: memory of idle connections", "idle -c 2000", TLS, tls=True, rounds=1),
)

RATE = "per_second"
USER = "server.user_us_per_message"
CPU = "server.cpu_us_per_message"
MEMORY = "bytes_per_connection"


@dataclass(frozen=True)
class Target:
    """`value` is the figure of phpws over that of `over`, the best of them; the other way round with `inverse`. With no
    `over` it is the figure itself. It is met if it is at least, or at most, `limit`."""

    text: str
    scenario: str
    metric: str
    over: tuple
    limit: float
    at_least: bool = True
    inverse: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Verdict:
    """A target, what it came to, and against whom; `value` is None where there is nothing to compare with."""

    target: Target
    value: float | None
    low: float | None
    high: float | None
    over: str
    mine: float | None
    theirs: float | None

    @property
    def met(self):
        if self.value is None:
            return None
        return self.value >= self.target.limit if self.target.at_least else self.value <= self.target.limit


def _echo_targets():
    for key, name in (("echo-50", "50 connections"), ("echo-500", "500 connections"), ("echo-pipelined", "50 connections, 16 under way")):
        yield Target(f"raw echo, 20 B, {name}: of the floor", key, RATE, ("floor",), 0.95)
        yield Target(f"raw echo, 20 B, {name}: of the best peer", key, RATE, WS_PEERS, 1.0)
        yield Target(f"server CPU per echoed message, {name}: of the floor", key, CPU, ("floor",), 1.10, at_least=False)


def _original_targets():
    for key, name in (("dialog-50", "echo"), ("feedback-50", "feedback")):
        yield Target(f"{name} in closed loop, 50 ordinary clients: of PHP", key, RATE, ("php",), 50)
    for key, name in (("dialog-50-quickack", "echo"), ("feedback-50-quickack", "feedback")):
        yield Target(f"{name}, clients that acknowledge at once: of PHP", key, RATE, ("php",), 1.0)
        yield Target(f"{name}, user CPU per round: of PHP's", key, USER, ("php",), 0.25, at_least=False)
    yield Target("60 KB echo, one connection: of PHP", "dialog-60k", RATE, ("php",), 20)
    yield Target("50 simultaneous connects: of PHP", "connect-50", "burst_ms.p50", ("php",), 100, inverse=True)
    yield Target("feedback with 900 clients, rounds: of PHP", "feedback-900", RATE, ("php",), 5)
    yield Target("feedback with 900 clients, user CPU saved: of PHP", "feedback-900", USER, ("php",), 50, inverse=True)


TARGETS = (
    *_echo_targets(),
    *_original_targets(),
    Target("broadcast to 900: CPU per delivered frame of the bare sends", "broadcast-900", CPU, ("floor",), 1.10, at_least=False),
    Target("broadcast to 900: user time per delivered frame", "broadcast-900", USER, (), 0.2, at_least=False, unit="µs"),
    Target("broadcast, 100 to 100: CPU per delivered frame of the bare sends", "broadcast-n-to-n", CPU, ("floor",), 1.0, at_least=False),
    *(
        Target(f"feedback among {n:,} clients: CPU of that among 10", f"feedback-{n}", CPU, ("phpws@feedback-10",), 1.10, at_least=False)
        for n in FEEDBACK[1:]
    ),
    *(
        Target(f"feedback among {n:,} clients: CPU of the bare writes", f"feedback-{n}", CPU, ("floor",), 1.10, at_least=False)
        for n in FEEDBACK
    ),
    Target("1 MiB echo: of the best peer", "echo-1m", RATE, WS_PEERS, 1.0),
    Target("handshakes a second: of the best peer", "connect", "handshakes_per_second", WS_PEERS, 1.0),
    Target("memory per idle plain client with its record", "idle-dialog", MEMORY, (), 600, at_least=False, unit="bytes"),
    Target("memory per idle connection over TLS", "wss-idle", MEMORY, (), 16384, at_least=False, unit="bytes"),
    Target("wss echo, 20 B, 50 connections: of the best Rust peer", "wss-echo-50", RATE, RUST_PEERS, 1.0),
    Target("wss echo, 1 MiB: of the best Rust peer", "wss-echo-1m", RATE, RUST_PEERS, 1.0),
    Target("wss handshakes a second: of the best Rust peer", "wss-connect", "handshakes_per_second", RUST_PEERS, 1.0),
)


def verdicts(results):
    return [verdict(target, results) for target in TARGETS]


def verdict(target, results):
    mine = results.rounds(target.scenario, "phpws", target.metric)
    if not mine:
        return Verdict(target, None, None, None, "", None, None)
    if not target.over:
        value = results.value(target.scenario, "phpws", target.metric)
        return Verdict(target, value, min(mine), max(mine), "", value, None)
    rival = best(target, results)
    if rival is None:
        return Verdict(target, None, None, None, "", results.value(target.scenario, "phpws", target.metric), None)
    return compared(target, results, rival)


def place(target, over):
    """Peer and scenario of what is compared with: another scenario where it is written `peer@scenario`."""
    peer, _, scenario = over.partition("@")
    return scenario or target.scenario, peer, target.metric


def best(target, results):
    """The strongest of those to compare with."""
    there = [over for over in target.over if results.value(*place(target, over))]
    lower_is_better = target.inverse or not target.at_least
    order = min if lower_is_better else max
    return order(there, key=lambda over: results.value(*place(target, over)), default=None)


def compared(target, results, rival):
    where = place(target, rival)
    turn = (lambda mine, theirs: theirs / mine) if target.inverse else (lambda mine, theirs: mine / theirs)
    mine, theirs = results.value(target.scenario, "phpws", target.metric), results.value(*where)
    if not mine:
        return Verdict(target, None, None, None, rival, mine, theirs)
    pairs = zip(results.rounds(target.scenario, "phpws", target.metric), results.rounds(*where))
    ratios = [turn(*pair) for pair in pairs if all(pair)] or [turn(mine, theirs)]
    return Verdict(target, turn(mine, theirs), min(ratios), max(ratios), rival, mine, theirs)
