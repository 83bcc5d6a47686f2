"""benches/results/benchmarks.md from its template and the results."""

from pathlib import Path
from string import Template

import tables
from peers import TITLES
from scenarios import MEMORY, SCENARIOS, verdicts
from tables import figure, spread

TEMPLATE = Path(__file__).with_name("benchmarks.template.md")

# What is worth showing, where a scenario has it: the metric, its heading, and in which unit.
COLUMNS = (
    ("per_second", "messages/s"),
    ("handshakes_per_second", "handshakes/s"),
    ("burst_ms.p50", "all open after, ms"),
    ("latency_us.p50", "p50 µs"),
    ("latency_us.p99", "p99 µs"),
    ("latency_us.p999", "p99.9 µs"),
    ("server.user_us_per_message", "user µs"),
    ("server.system_us_per_message", "system µs"),
    ("server.cpu_percent", "server CPU %"),
    ("load_cpu_percent", "load CPU %"),
    (MEMORY, "bytes each"),
)


def text(results):
    return Template(TEMPLATE.read_text()).substitute(
        date=results.about["date"],
        commit=results.about["commit"],
        machine=tables.machine(results.about),
        rounds=results.about["rounds"],
        seconds=figure(results.about["seconds"]),
        took=figure(results.about["took_seconds"] / 60),
        versions=tables.versions(results.about),
        commands=tables.commands(results.about),
        targets=targets(results),
        summary=summary(results),
        scenarios="\n\n".join(section for section in map(lambda s: scenario(s, results), SCENARIOS) if section),
        failures=tables.failures(results),
    )


def summary(results):
    all_of_them = verdicts(results)
    met = sum(verdict.met is True for verdict in all_of_them)
    unmet = [verdict for verdict in all_of_them if verdict.met is False]
    unknown = len(all_of_them) - met - len(unmet)
    return f"Of {len(all_of_them)} targets {met} are met, {len(unmet)} are not, and {unknown} could not be measured here."


def targets(results):
    rows = []
    for verdict in verdicts(results):
        target = verdict.target
        sign = "≥" if target.at_least else "≤"
        wanted = f"{sign} {target.limit:g}{'×' if target.over else ' ' + target.unit}"
        state = {True: "met", False: "**not met**", None: "not measured"}[verdict.met]
        got = figure(verdict.value) + ("×" if target.over and verdict.value is not None else "")
        between = spread([verdict.low, verdict.high]) if verdict.value is not None else ""
        rows.append([target.text, wanted, got, between, figure(verdict.mine), rival(verdict), state])
    header = ["Target", "Wanted", "Ratio or figure", "Rounds", "phpws", "Compared with", ""]
    return tables.table(header, rows, right=(1, 2, 3, 4))


def rival(verdict):
    if not verdict.over:
        return "–" if verdict.met is not None or verdict.mine is None else "absent"
    peer, _, scenario = verdict.over.partition("@")
    return f"{TITLES[peer]}{', ' + scenario if scenario else ''}: {figure(verdict.theirs)}"


def scenario(scenario, results):
    """A table of its peers, with the columns that any of them has."""
    there = [peer for peer in scenario.peers if any(c["scenario"] == scenario.key and c["peer"] == peer for c in results.cells)]
    if not there:
        return ""
    columns = [(metric, name) for metric, name in COLUMNS if any(results.value(scenario.key, peer, metric) for peer in there)]
    rate = next((metric for metric, _ in columns if metric in ("per_second", "handshakes_per_second", "burst_ms.p50", MEMORY)), None)
    rows = [row(scenario, peer, columns, rate, results) for peer in scenario.peers if peer in there or peer in results.about["absent"]]
    header = ["Server", *(name for _, name in columns), "rounds"]
    title = f"### {scenario.title[0].upper()}{scenario.title[1:]}\n\n`load {scenario.load}`"
    return f"{title}\n\n{tables.table(header, rows, right=range(1, len(header)))}"


def row(scenario, peer, columns, rate, results):
    if peer in results.about["absent"]:
        return [TITLES[peer], "absent", *[""] * len(columns)]
    values = results.rounds(scenario.key, peer, rate) if rate else []
    if not values:
        return [TITLES[peer], "failed", *[""] * len(columns)]
    return [TITLES[peer], *(figure(results.value(scenario.key, peer, metric)) for metric, _ in columns), spread(values)]
