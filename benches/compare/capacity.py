"""How the cost grows, and what follows from it: `make bench-growth` and benches/results/capacity.md.

The curves are measured. What one core and one GB hold, and what a fleet needs, is calculated from measured inputs by the formulas
that stand on the page.
"""

from dataclasses import dataclass
from pathlib import Path
from string import Template

import plot
import tables
from measure import Scenario
from tables import figure, spread

TEMPLATE = Path(__file__).with_name("capacity.template.md")

CONNECTIONS = (10, 100, 1000, 10000, 15000)
SIZES = (16, 128, 1024, 16384, 131072, 1048576, 4194304)
IDLE = (0, 1000, 15000)
HELD = 10000
HELD_TLS = 5000
BOTH = ("floor", "phpws")

SCENARIOS = (
    *(Scenario(f"connections-{n}", f"echo of 20 bytes, {n:,} connections", f"echo -c {n} --size 20", BOTH) for n in CONNECTIONS),
    *(Scenario(f"size-{n}", f"echo of {n:,} bytes, 10 connections", f"echo -c 10 --size {n}", BOTH) for n in SIZES),
    *(Scenario(f"idle-{n}", f"50 busy, {n:,} idle", "echo -c 50 --size 20", ("phpws",), idle=n) for n in IDLE),
    *(Scenario(f"receivers-{n}", f"broadcast to {n:,}", f"broadcast -c {n}", BOTH, "broadcast") for n in CONNECTIONS),
    Scenario("dialog", "dialog, echo, 1,000 clients", "dialog -c 1000", ("phpws",), "dialog"),
    Scenario("connect", "handshakes, 50 at a time", "connect --concurrency 50 --dialog", ("phpws",), "dialog"),
    Scenario("wss-dialog", "wss: dialog, echo, 1,000 clients", "dialog -c 1000", ("phpws",), "dialog", tls=True),
    Scenario("wss-connect", "wss: handshakes, 50 at a time", "connect --concurrency 50 --dialog", ("phpws",), "dialog", tls=True),
    *(Scenario(f"hold-{n}", f"{n:,} idle clients", f"idle -c {n} --dialog", ("phpws",), "dialog", rounds=1) for n in (1000, HELD, 15000)),
    Scenario("wss-hold", f"wss: {HELD_TLS:,} idle clients", f"idle -c {HELD_TLS} --dialog", ("phpws",), "dialog", tls=True, rounds=1),
)

RATE, CPU = "per_second", "server.cpu_us_per_message"
MEMORY, KERNEL = "bytes_per_connection", "kernel_bytes_per_connection"
# A core is not to be planned full: what bursts, and what is not measured, needs room.
LOAD_FACTOR = 0.7


@dataclass(frozen=True)
class Inputs:
    """The measured figures that the second half of the page is calculated from."""

    message_us: float
    tls_message_us: float
    frame_us: float
    handshakes: float
    tls_handshakes: float
    user: float
    tls_user: float
    kernel: float

    @staticmethod
    def of(results):
        """None if one of them is missing."""
        value = lambda scenario, metric: results.value(scenario, "phpws", metric)
        inputs = (
            value("dialog", CPU),
            value("wss-dialog", CPU),
            value("receivers-10000", CPU),
            value("connect", "handshakes_per_second"),
            value("wss-connect", "handshakes_per_second"),
            value(f"hold-{HELD}", MEMORY),
            value("wss-hold", MEMORY),
            value(f"hold-{HELD}", KERNEL),
        )
        return Inputs(*inputs) if all(inputs) else None


def text(results):
    return Template(TEMPLATE.read_text()).substitute(
        date=results.about["date"],
        commit=results.about["commit"],
        machine=tables.machine(results.about),
        rounds=results.about["rounds"],
        seconds=figure(results.about["seconds"]),
        connections=curve_table("connections", "Connections", CONNECTIONS, results),
        sizes=curve_table("size", "Bytes", SIZES, results),
        receivers=curve_table("receivers", "Receivers", CONNECTIONS, results),
        idle=idle_table(results),
        memory=memory_table(results),
        failures=tables.failures(results),
        **calculated(Inputs.of(results)),
    )


def curve_table(name, heading, points, results):
    rows = []
    for point in points:
        key = f"{name}-{point}"
        rates = {peer: results.value(key, peer, RATE) for peer in BOTH}
        ratio = rates["phpws"] / rates["floor"] if all(rates.values()) else None
        cells = [f"{point:,}", figure(rates["floor"]), figure(rates["phpws"]), spread(results.rounds(key, "phpws", RATE))]
        cells += [figure(ratio) + "×" if ratio else "–", figure(results.value(key, "phpws", CPU)), figure(results.value(key, "floor", CPU))]
        rows.append([*cells, figure(results.value(key, "phpws", "latency_us.p50")), figure(results.value(key, "phpws", "latency_us.p99"))])
    header = [heading, "floor/s", "phpws/s", "rounds", "ratio", "CPU µs", "floor's CPU µs", "p50 µs", "p99 µs"]
    return tables.table(header, rows, right=range(len(header)))


def idle_table(results):
    alone = results.value("idle-0", "phpws", RATE)
    rows = []
    for count in IDLE:
        rate = results.value(f"idle-{count}", "phpws", RATE)
        change = figure(100 * (rate / alone - 1)) + " %" if rate and alone else "–"
        rates = results.rounds(f"idle-{count}", "phpws", RATE)
        rows.append([f"{count:,}", figure(rate), spread(rates), change, figure(results.value(f"idle-{count}", "phpws", CPU))])
    many = results.value(f"idle-{IDLE[-1]}", "phpws", RATE)
    state = "not measured" if not (many and alone) else "met" if many / alone >= 0.95 else "**not met**"
    header = ["Idle clients", "messages/s of the 50 busy ones", "rounds", "change", "CPU µs"]
    return tables.table(header, rows, right=range(5)) + f"\n\nTarget: {IDLE[-1]:,} idle clients slow 50 busy ones by no more than 5 %: {state}."


def memory_table(results):
    rows = []
    for key, name in ((f"hold-{n}", f"{n:,} clients") for n in (1000, HELD, 15000)):
        rows.append(memory_row(key, name, results))
    rows.append(memory_row("wss-hold", f"{HELD_TLS:,} clients over TLS", results))
    return tables.table(["Idle", "user space each, bytes", "kernel each, both ends, bytes"], rows, right=(1, 2))


def memory_row(key, name, results):
    return [name, figure(results.value(key, "phpws", MEMORY)), figure(results.value(key, "phpws", KERNEL))]


def calculated(inputs):
    """The tables of what was not measured."""
    if inputs is None:
        return {"inputs": "Some input was not measured.", "one_core": "–", "one_gb": "–", "fleet": "–"}
    return {"inputs": inputs_table(inputs), "one_core": core_table(inputs), "one_gb": gb_table(inputs), "fleet": fleet_table(inputs)}


def inputs_table(inputs):
    rows = [
        ["c", "CPU of one message of the dialog with its `next` and echo", figure(inputs.message_us, "µs")],
        ["c_tls", "the same over TLS", figure(inputs.tls_message_us, "µs")],
        ["d", "CPU of one delivered frame of a broadcast to 10,000", figure(inputs.frame_us, "µs")],
        ["h", "handshakes a second on a full core", figure(inputs.handshakes)],
        ["h_tls", "the same over TLS", figure(inputs.tls_handshakes)],
        ["u", "user memory of an idle client", figure(inputs.user, "bytes")],
        ["u_tls", "the same over TLS", figure(inputs.tls_user, "bytes")],
        ["k", "kernel memory of a connection, the server's end: half of both ends", figure(inputs.kernel / 2, "bytes")],
        ["f", "how full a core is to be planned (chosen)", figure(LOAD_FACTOR)],
    ]
    return tables.table(["", "Input", "Value"], rows, right=(2,))


def core_table(inputs):
    budget = LOAD_FACTOR * 1e6
    rows = [
        ["messages of the dialog a second", "f · 10⁶ / c", figure(budget / inputs.message_us)],
        ["the same over TLS", "f · 10⁶ / c_tls", figure(budget / inputs.tls_message_us)],
        ["delivered frames of broadcasts a second", "f · 10⁶ / d", figure(budget / inputs.frame_us)],
        ["reconnects a second", "f · h", figure(LOAD_FACTOR * inputs.handshakes)],
        ["the same over TLS", "f · h_tls", figure(LOAD_FACTOR * inputs.tls_handshakes)],
    ]
    return tables.table(["One core does", "Formula", "Value"], rows, right=(2,))


def gb_table(inputs):
    gib, kernel = 1 << 30, inputs.kernel / 2
    rows = [
        ["idle clients", "2³⁰ / (u + k)", figure(gib / (inputs.user + kernel))],
        ["idle clients over TLS", "2³⁰ / (u_tls + k)", figure(gib / (inputs.tls_user + kernel))],
    ]
    return tables.table(["One GiB holds", "Formula", "Value"], rows, right=(2,))


def fleet_table(inputs):
    """Users who each send one message and get ten frames of broadcasts a minute, over TLS."""
    rows = []
    for users in (10_000, 100_000, 1_000_000, 10_000_000):
        cores = users / 60 * (1 * inputs.tls_message_us + 10 * inputs.frame_us) / 1e6 / LOAD_FACTOR
        memory = users * (inputs.tls_user + inputs.kernel / 2) / (1 << 30)
        processes = max(1, -(-cores // 1))
        back = users / processes / (LOAD_FACTOR * inputs.tls_handshakes)
        rows.append([f"{users:,}", figure(cores), f"{processes:,.0f}", figure(memory), figure(back)])
    header = ["Users", "cores", "processes", "GiB", "all back after a restart, s"]
    return tables.table(header, rows, right=range(5))


def plots(results):
    def lines(name, points, metric):
        pairs = ((peer, [(p, results.value(f"{name}-{p}", peer, metric)) for p in points]) for peer in BOTH)
        return [(peer, [pair for pair in curve if pair[1]]) for peer, curve in pairs]

    size = lines("size", SIZES, RATE)
    throughput = [(peer, [(x, y * x / 1e6) for x, y in curve]) for peer, curve in size]
    one, two = lines("connections", CONNECTIONS, CPU), lines("receivers", CONNECTIONS, CPU)
    cost = [(f"{peer}, echo", curve) for peer, curve in one] + [(f"{peer}, delivered frame", curve) for peer, curve in two]
    return plot.stack(
        plot.curves("Server CPU per message", "connections", "µs", cost),
        plot.curves("Echo by size, 10 connections", "bytes a message", "MB/s", throughput),
    )
