"""docs/benchmarks.md: the main figures of all runs, for readers. The full tables are pages beside the results."""

import importlib.util
import json
import re
from pathlib import Path
from string import Template

import capacity
import tables
from measure import Results
from page import summary
from peers import TITLES, WS_PEERS
from tables import figure

TEMPLATE = Path(__file__).with_name("summary.template.md")
CLUSTER_PAGE = Path(__file__).resolve().parents[1] / "cluster/page.py"
RATE, BURST, HANDSHAKES = "per_second", "burst_ms.p50", "handshakes_per_second"

PEERS = (
    ("messages of 20 bytes a second, 50 connections", "echo-50", RATE),
    ("the same, 500 connections", "echo-500", RATE),
    ("the same, 50 connections, 16 messages under way on each", "echo-pipelined", RATE),
    ("messages of 1 MiB a second, 4 connections", "echo-1m", RATE),
    ("handshakes a second", "connect", HANDSHAKES),
    ("over TLS: messages of 20 bytes a second, 50 connections", "wss-echo-50", RATE),
    ("over TLS: messages of 1 MiB a second", "wss-echo-1m", RATE),
    ("over TLS: handshakes a second", "wss-connect", HANDSHAKES),
    ("memory of an idle connection, bytes", "idle", "bytes_per_connection"),
    ("the same over TLS", "wss-idle", "bytes_per_connection"),
)
ORIGINAL = (
    ("echo, 50 ordinary clients", "dialog-50", RATE),
    ("echo, 50 clients that acknowledge at once", "dialog-50-quickack", RATE),
    ("echo of 60 KB, one connection", "dialog-60k", RATE),
    ("feedback, 50 ordinary browsers", "feedback-50", RATE),
    ("feedback, 50 browsers that acknowledge at once", "feedback-50-quickack", RATE),
    ("feedback among 900 clients that acknowledge at once", "feedback-900", RATE),
    ("broadcast to 900 receivers, delivered frames", "broadcast-900", RATE),
    ("50 connects at once: milliseconds until all are open", "connect-50", BURST),
)


def text(folder):
    bench = Results.load(folder / "benchmarks.json")
    growth = Results.load(folder / "capacity.json")
    cluster = json.loads((folder / "cluster.json").read_text())
    inputs = capacity.Inputs.of(growth)
    return Template(TEMPLATE.read_text()).substitute(
        runs=runs(bench.about, growth.about, cluster["about"]),
        targets=summary(bench),
        peers=peers(bench),
        original=original(bench),
        connections=connections(growth),
        idle=idle(growth),
        rounds=bench.about["rounds"],
        seconds=f"{bench.about['seconds']:g}",
        one_core=without_formula(capacity.core_table(inputs)),
        one_gb=without_formula(capacity.gb_table(inputs)),
        fleet=capacity.fleet_table(inputs),
        feedback=feedback(cluster),
        million=without_formula(million(cluster)),
    )


def without_formula(table):
    """The second column is for the full page, which says what its letters mean."""
    return re.sub(r"^(\|[^|]*)\|[^|]*", r"\1", table, flags=re.M)


def runs(bench, growth, cluster):
    """Which command made what, where and when."""
    rows = [
        ["beside other servers", "`make bench`", *made(bench), "[all figures](../benches/results/benchmarks.md)"],
        ["growth and capacity", "`make bench-growth`", *made(growth), "[all figures](../benches/results/capacity.md)"],
        [
            "several processes", "`make bench-cluster`", cluster["date"], cluster["commit"],
            f"{cluster['machine'].split(',')[0]}, {cluster['redis']}", "[all figures](../benches/results/cluster.md)",
        ],
    ]
    return tables.table(["Part", "Command", "Date", "Commit", "Machine", "Data"], rows)


def made(about):
    return [about["date"], about["commit"].split()[1], about["machine"]["cpu"]]


def peers(results):
    names = ("floor", "phpws", *WS_PEERS)
    rows = [[what, *(figure(results.value(key, peer, metric)) for peer in names)] for what, key, metric in PEERS]
    return tables.table(["Figure", *(TITLES[peer] for peer in names)], rows, right=range(1, 6))


def original(results):
    rows = []
    for what, key, metric in ORIGINAL:
        ours, theirs, jit = (results.value(key, peer, metric) for peer in ("phpws", "php", "php-jit"))
        ratio = None if not (ours and theirs) else theirs / ours if metric == BURST else ours / theirs
        rows.append([what, figure(ours), figure(theirs), figure(jit), figure(ratio) + "×"])
    return tables.table(["Messages a second", "phpws", "PHP original", "with JIT", "phpws is better by"], rows, right=range(1, 5))


def connections(results):
    rows = []
    for count in capacity.CONNECTIONS:
        value = lambda peer, metric: figure(results.value(f"connections-{count}", peer, metric))
        cells = (("floor", RATE), ("phpws", RATE), ("floor", capacity.CPU), ("phpws", capacity.CPU), ("phpws", "latency_us.p99"))
        rows.append([f"{count:,}", *(value(*cell) for cell in cells)])
    header = ["Connections", "floor/s", "phpws/s", "floor's CPU µs", "phpws' CPU µs", "p99 µs"]
    return tables.table(header, rows, right=range(6))


def idle(results):
    most = capacity.IDLE[-1]
    alone, beside = (results.value(f"idle-{count}", "phpws", RATE) for count in (0, most))
    return f"50 busy clients exchanged {figure(alone)} messages a second alone, and {figure(beside)} beside {most:,} idle clients."


def cluster_page():
    spec = importlib.util.spec_from_file_location("cluster_page", CLUSTER_PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def feedback(results):
    number, rows = cluster_page().number, []
    for cell in (cell for cell in results["cells"] if cell["scenario"].startswith("feedback")):
        kind = "that resume" if "resuming" in cell["scenario"] else "plain"
        redis = number(cell["redis_us"]) if cell["processes"] else "–"
        rows.append([kind, cell["processes"], number(cell["per_second"]), number(cell["p50_us"]), number(cell["phpws_us"]), redis])
    header = ["Browsers", "Processes", "messages/s", "p50 µs", "phpws µs each", "Redis µs each"]
    return tables.table(header, rows, right=range(1, 6))


def million(results):
    page = cluster_page()
    values = {name: value for name, (_, value, _, _) in page.inputs(results).items()}
    return page.cases(values).split("\n\n", 1)[1]
