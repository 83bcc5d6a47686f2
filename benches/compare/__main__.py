"""Side by side: `python3 benches/compare bench`, `growth`, `smoke`; `pages` makes all pages anew from the results, `check` only compares.

BENCH_ROUNDS and BENCH_SECONDS set the rounds and the length of each; BENCH_ONLY is a pattern for names of scenarios;
BENCH_OUT is the folder that is written to, benches/results by default; PHPWS_PHP_SERVER names a checkout of the PHP original.
"""

import json
import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import capacity
import page
import plot
import summary
from measure import Results, measure
from peers import ROOT, TITLES, Failed, Peers, say
from scenarios import SCENARIOS, verdicts
from tables import figure

RESULTS = ROOT / "benches/results"


def main(arguments):
    """One word says what to do."""
    tasks = {"bench": bench, "growth": growth, "smoke": smoke, "pages": remake, "check": check}
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
    return finish(results, "benchmarks.json")


def growth():
    results = measured(only(capacity.SCENARIOS), rounds(3), seconds(2))
    return finish(results, "capacity.json")


def smoke():
    """Everything once and shortly, into a folder that goes away: does it still work?"""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BENCH_OUT"] = folder
        results = measured(only(shortened(SCENARIOS)), 1, 0.3)
        status = finish(results, "benchmarks.json")
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


def finish(results, name):
    results.save(out() / name)
    remake()
    if name == "benchmarks.json":
        tell(results)
    failures = list(results.failures())
    for failure in failures:
        say(f"failed: {failure}")
    return 1 if failures else 0


def remake():
    for path, text in pages():
        path.write_text(text)
        say(f"written: {path}")
    return 0


def check():
    """Are the pages those that the results give?"""
    others = [path for path, text in pages() if path.read_text() != text]
    for path in others:
        say(f"{path} is not what its results give: python3 benches/compare pages")
    return 1 if others else 0


def pages():
    """Each page and picture whose results are there, with its text."""
    folder = out()
    if (folder / "benchmarks.json").exists():
        results = Results.load(folder / "benchmarks.json")
        bars = [(v.target.text, v.value, v.target.limit, v.met) for v in verdicts(results) if v.target.over]
        yield folder / "benchmarks.md", page.text(results)
        yield folder / "benchmarks.svg", plot.ratios(f"phpws beside others, {results.about['date']}", bars, figure)
    if (folder / "capacity.json").exists():
        results = Results.load(folder / "capacity.json")
        yield folder / "capacity.md", capacity.text(results)
        yield folder / "capacity.svg", capacity.plots(results)
    if (folder / "cluster.json").exists():
        yield folder / "cluster.md", summary.cluster_page().text(json.loads((folder / "cluster.json").read_text()))
    if folder == RESULTS:
        yield ROOT / "docs/benchmarks.md", summary.text(folder)


def tell(results):
    say(page.summary(results))
    for verdict in verdicts(results):
        if verdict.met is False:
            sign = "at least" if verdict.target.at_least else "at most"
            over = TITLES.get(verdict.over.partition("@")[0], "")
            say(f"not met: {verdict.target.text} {over}: {figure(verdict.value)}, wanted {sign} {verdict.target.limit:g}")


def out():
    folder = Path(os.environ.get("BENCH_OUT", RESULTS))
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
