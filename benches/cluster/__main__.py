"""How far several phpws on one Redis go: writes benches/results/cluster.json and the pages made of it.

    python3 benches/cluster run      measures and writes them (less than 5 minutes; a quiet machine)
    python3 benches/cluster smoke    one short round; writes nothing

Needs redis-server, and `cargo build --release --bins --examples`. Everything runs on this machine, over loopback,
and ends with the script. CPU time is read from /proc, Redis' traffic from its INFO.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import claims
import page
from processes import Cluster, Failed, about, load_command

BENCHES = Path(__file__).resolve().parents[1]
PROCESSES = (0, 1, 2, 4, 8)
SCENARIOS = {
    "feedback": "feedback /web -c 200 --senders 20",
    "feedback, resuming": "feedback /web?resume= -c 200 --senders 20",
    "broadcast": "broadcast /web -c 500 --senders 1 --rate 100",
    "broadcast, resuming": "broadcast /web?resume= -c 500 --senders 1 --rate 100",
}


def main(arguments):
    tasks = {"run": run, "smoke": smoke}
    if len(arguments) != 1 or arguments[0] not in tasks:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return tasks[arguments[0]]()
    except Failed as failure:
        print(f"cluster: {failure}", file=sys.stderr)
        return 1


def run():
    results = measure(PROCESSES, 3, 2.0)
    (BENCHES / "results/cluster.json").write_text(json.dumps(results, indent=1) + "\n")
    return subprocess.call([sys.executable, str(BENCHES / "compare"), "pages"])


def smoke():
    results = measure((0, 2), 1, 0.8)
    print(page.text(results))
    return 0


def measure(counts, rounds, seconds):
    began = time.monotonic()
    results = {"about": about(rounds, seconds), "cells": []}
    for name, words in SCENARIOS.items():
        for count in counts:
            figures = []
            for _ in range(rounds):
                with Cluster(count) as cluster:
                    figures.append(cell(cluster, words, seconds))
            middle = {key: statistics.median(figure[key] for figure in figures) for key in figures[0]}
            results["cells"].append({"scenario": name, "load": words, "processes": count, **middle})
            print(f"{time.monotonic() - began:4.0f} s  {name}, {count}: {middle}", file=sys.stderr)
    results["clients"] = {name: clients(path) for name, path in (("plain", "/web"), ("resuming", "/web?resume="))}
    with Cluster(2) as cluster:
        results["claims"] = claims.measure(cluster)
    results["about"]["took_seconds"] = round(time.monotonic() - began)
    return results


def cell(cluster, words, seconds):
    """The load's own figures, and what Redis did in the middle of it."""
    command = load_command(cluster, words, seconds)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)
    before = cluster.sample()
    time.sleep(max(seconds - 0.7, 0.3))
    after = cluster.sample()
    printed, complaint = process.communicate(timeout=seconds + 60)
    try:
        result = json.loads(printed)
    except json.JSONDecodeError:
        raise Failed(complaint.strip() or "the load said nothing") from None
    if result["errors"]:
        raise Failed(f"{words}: {complaint}")
    span = after["time"] - before["time"]
    gained = {key: (after[key] - before[key]) / span for key in after}
    gained["out"] -= before["asked"] / span
    per_second = result.get("broadcasts_per_second") or result["per_second"]
    return {
        "per_second": per_second,
        "received_per_second": result["per_second"],
        "p50_us": result["latency_us"]["p50"],
        "p99_us": result["latency_us"]["p99"],
        "phpws_percent": gained["phpws_ns"] / 1e7,
        "redis_percent": gained["redis_ns"] / 1e7,
        "phpws_us": gained["phpws_ns"] / 1e3 / per_second,
        "redis_us": gained["redis_ns"] / 1e3 / per_second,
        "redis_in": gained["in"] / per_second,
        "redis_out": gained["out"] / per_second,
        "scripts": gained["scripts"] / per_second,
    }


def clients(path):
    """What idle clients cost Redis: memory for each, and CPU time to renew their keys."""
    count = 4000
    with Cluster(2) as cluster:
        before = cluster.info()["used_memory"]
        command = load_command(cluster, f"idle {path} -c {count} --dialog", 8, warmup=1)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        with contextlib.ExitStack() as stack:
            stack.callback(process.kill)
            deadline = time.monotonic() + 30
            while cluster.clients() < count:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise Failed("the idle clients did not come")
                time.sleep(0.1)
            memory = cluster.info()["used_memory"] - before
            time.sleep(1.0)
            first = cluster.sample()
            time.sleep(4.0)
            last = cluster.sample()
        process.wait()
    span = last["time"] - first["time"]
    return {
        "count": count,
        "redis_bytes": memory / count,
        "redis_us_per_second": (last["redis_ns"] - first["redis_ns"]) / 1e3 / span / count,
        "phpws_us_per_second": (last["phpws_ns"] - first["phpws_ns"]) / 1e3 / span / count,
        "redis_in_per_second": (last["in"] - first["in"]) / span / count,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
