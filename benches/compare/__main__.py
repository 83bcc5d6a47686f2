"""Side by side: `python3 benches/compare bench`, `growth`, `smoke`; `page` and `growth-page` remake a page of its results.

BENCH_ROUNDS and BENCH_SECONDS set the rounds and the length of each; BENCH_ONLY is a pattern for names of scenarios;
BENCH_OUT is the folder that is written to, docs by default; PHPWS_PHP_SERVER names a checkout of the PHP original.
"""

import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import capacity
import page
import plot
from measure import Results, measure
from peers import ROOT, TITLES, Failed, Peers, say
from scenarios import SCENARIOS, verdicts
from tables import figure


def main(arguments):
    """One word says what to do."""
    tasks = {"bench": bench, "growth": growth, "smoke": smoke, "page": remake_bench, "growth-page": remake_growth}
    if len(arguments) != 1 or arguments[0] not in tasks:
        say(f"usage: python3 benches/compare {'|'.join(tasks)}\n\n{__doc__}")
        return 2
    try:
        return tasks[arguments[0]]()
    except Failed as failure:
        print(f"compare: {failure}", file=sys.stderr)
        return 1


def bench():
    results = measured(only(SCENARIOS), rounds(3), seconds(2))
    return finish(results, "benchmarks.json", remake_bench)


def growth():
    results = measured(only(capacity.SCENARIOS), rounds(3), seconds(2))
    return finish(results, "capacity.json", remake_growth)


def smoke():
    """Everything once and shortly, into a folder that goes away: does it still work?"""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BENCH_OUT"] = folder
        results = measured(only(shortened(SCENARIOS)), 1, 0.3)
        status = finish(results, "benchmarks.json", remake_bench)
        made = (Path(folder) / "benchmarks.md").read_text()
        if "## Targets" not in made or not (Path(folder) / "benchmarks.svg").exists():
            raise Failed("the page was not made")
        named = made.count("**absent**")
        if named != len(Results.load(Path(folder) / "benchmarks.json").about["absent"]):
            raise Failed(f"the page names {named} absent peers, which are not all")
    return status


def shortened(scenarios):
    """With few connections: many take longer to open than to measure."""
    return [replace(scenario, load=re.sub(r"-c \d{4,}", "-c 500", scenario.load)) for scenario in scenarios]


def measured(scenarios, rounds, seconds):
    with tempfile.TemporaryDirectory(prefix="phpws-bench-") as scratch:
        peers = Peers(scratch)
        peers.build()
        return measure(scenarios, peers, rounds, seconds)


def finish(results, name, make_page):
    results.save(out() / name)
    make_page()
    failures = list(results.failures())
    for failure in failures:
        say(f"failed: {failure}")
    return 1 if failures else 0


def remake_bench():
    results = Results.load(out() / "benchmarks.json")
    page.write(results, out())
    bars = [(v.target.text, v.value, v.target.limit, v.met) for v in verdicts(results) if v.target.over]
    (out() / "benchmarks.svg").write_text(plot.ratios(f"phpws beside others, {results.about['date']}", bars, figure))
    say(page.summary(results))
    for verdict in verdicts(results):
        if verdict.met is False:
            sign = "at least" if verdict.target.at_least else "at most"
            over = TITLES.get(verdict.over.partition("@")[0], "")
            say(f"not met: {verdict.target.text} {over}: {figure(verdict.value)}, wanted {sign} {verdict.target.limit:g}")
    say(f"written: {out() / 'benchmarks.md'}")
    return 0


def remake_growth():
    capacity.write(Results.load(out() / "capacity.json"), out())
    say(f"written: {out() / 'capacity.md'}")
    return 0


def out():
    folder = Path(os.environ.get("BENCH_OUT", ROOT / "docs"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def only(scenarios):
    pattern = re.compile(os.environ.get("BENCH_ONLY", ""))
    return [scenario for scenario in scenarios if pattern.search(scenario.key)]


def rounds(default):
    return int(os.environ.get("BENCH_ROUNDS", default))


def seconds(default):
    return float(os.environ.get("BENCH_SECONDS", default))


sys.exit(main(sys.argv[1:]))
