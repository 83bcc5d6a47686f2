"""Rounds of measurements: one cell is one scenario against one peer, and each round goes over all cells in turn, so that
whatever disturbs the machine disturbs all peers alike. A cell's figure is the median of its rounds."""

import json
import os
import platform
import re
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from peers import LOAD_CORE, Failed, commit, output, pinned, release, say, ROOT


@dataclass(frozen=True)
class Scenario:
    """What the load does, and to whom."""

    key: str
    title: str
    load: str
    peers: tuple
    mode: str = "echo"
    tls: bool = False
    # Connections that do nothing meanwhile, held by another process.
    idle: int = 0
    # Some figures, memory for one, do not vary: fewer rounds do.
    rounds: int = 99


@dataclass
class Results:
    """What was measured, as it is kept in the JSON file."""

    about: dict
    cells: list = field(default_factory=list)

    def add(self, scenario, peer, result):
        cell = self._cell(scenario.key, peer)
        if cell is None:
            cell = {"scenario": scenario.key, "title": scenario.title, "load": scenario.load, "peer": peer, "rounds": []}
            self.cells.append(cell)
        cell["rounds"].append(result)

    def _cell(self, scenario, peer):
        return next((cell for cell in self.cells if (cell["scenario"], cell["peer"]) == (scenario, peer)), None)

    def rounds(self, scenario, peer, metric):
        """The figure of each round; empty if it is not there."""
        cell = self._cell(scenario, peer)
        values = [dig(result, metric) for result in cell["rounds"]] if cell else []
        return [value for value in values if value is not None]

    def value(self, scenario, peer, metric):
        """The median, or None."""
        values = self.rounds(scenario, peer, metric)
        return statistics.median(values) if values else None

    def failures(self):
        for cell in self.cells:
            for result in cell["rounds"]:
                if result.get("failed") or result.get("errors"):
                    reason = result.get("failed") or f"{result['errors']} errors"
                    yield f"{cell['scenario']} against {cell['peer']}: {reason}"

    def save(self, path):
        rows = ",\n".join("  " + json.dumps(cell) for cell in self.cells)
        path.write_text(f'{{"about": {json.dumps(self.about, indent=1)},\n"cells": [\n{rows}\n]}}\n')

    @staticmethod
    def load(path):
        return Results(**json.loads(path.read_text()))


def dig(result, metric):
    """The value at `latency_us.p50` and the like; nothing where the round failed."""
    for key in metric.split("."):
        result = result.get(key) if isinstance(result, dict) else None
    return result


def measure(scenarios, peers, rounds, seconds):
    """Goes over all cells `rounds` times."""
    results = Results(about(peers, rounds, seconds))
    for peer, reason in peers.absent.items():
        say(f"absent: {peer}, {reason}")
    began = time.monotonic()
    for number in range(1, rounds + 1):
        for scenario in (scenario for scenario in scenarios if number <= scenario.rounds):
            for peer in (peer for peer in scenario.peers if peer not in peers.absent):
                result = cell(scenario, peer, peers, seconds, results.about["commands"])
                results.add(scenario, peer, result)
                say(f"{number}/{rounds} {time.monotonic() - began:4.0f} s  {scenario.key:24} {peer:15} {brief(result)}")
    results.about["took_seconds"] = round(time.monotonic() - began)
    return results


def cell(scenario, peer, peers, seconds, commands):
    """One scenario against one fresh server."""
    try:
        with peers.start(peer, scenario.mode, scenario.tls) as server:
            commands.setdefault(f"{peer} ({scenario.mode}{', wss' * scenario.tls})", server.shown)
            if scenario.idle:
                with Idle(server, scenario.idle):
                    return load(scenario.load, server, seconds)
            return load(scenario.load, server, seconds)
    except (Failed, subprocess.TimeoutExpired) as failure:
        return {"failed": str(failure)}


def load_command(words, url, pid, seconds):
    scenario, *options = words.split()
    timed = ["--seconds", str(seconds), "--warmup", str(min(0.5, seconds / 2))]
    return [release("examples/load"), scenario, url, *options, *timed, "--pid", str(pid), "--json", "--quiet"]


def load(words, server, seconds):
    """Runs the load generator on its core and reads what it says."""
    command = pinned(LOAD_CORE, load_command(words, server.url, server.pid, seconds))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        kernel = kernel_memory(words, server, process) if words.startswith("idle") else {}
        printed, complaint = process.communicate(timeout=seconds + 60)
    finally:
        process.kill()
        process.wait()
    try:
        return {**json.loads(printed), **kernel}
    except json.JSONDecodeError:
        raise Failed((complaint or f"load ended with {process.returncode}").strip().splitlines()[-1]) from None


def kernel_memory(words, server, process):
    """What the system's slabs grow by for each connection, while the load holds them. Socket buffers of idle connections are
    empty, so slabs are all there is; both ends are on this machine, and both are in it."""
    count = int(re.search(r"-c (\d+)", words)[1])
    before = slabs()
    await_connections(server, count, process)
    return {"kernel_bytes_per_connection": (slabs() - before) / count}


def slabs():
    return 1024 * int(re.search(r"^Slab: +(\d+)", Path("/proc/meminfo").read_text(), re.M)[1])


def await_connections(server, count, process):
    deadline = time.monotonic() + 60
    while descriptors(server.pid) < count:
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{count} idle connections could not be made")
        time.sleep(0.05)


class Idle:
    """Connections that are held and do nothing while something else is measured."""

    def __init__(self, server, count):
        command = load_command(f"idle -c {count}", server.url, server.pid, 600)
        self.process = subprocess.Popen(pinned(LOAD_CORE, command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await_connections(server, count, self.process)
        except Failed:
            self.__exit__()
            raise
        # The last handshakes and their garbage are not to be measured.
        time.sleep(0.5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def brief(result):
    """One line for the terminal."""
    if "failed" in result:
        return "FAILED: " + result["failed"]
    parts = []
    for metric, text in (
        ("per_second", "{:,.0f}/s"),
        ("handshakes_per_second", "{:,.0f} handshakes/s"),
        ("burst_ms.p50", "burst {:.1f} ms"),
        ("bytes_per_connection", "{:,.0f} bytes each"),
        ("latency_us.p50", "p50 {:,.0f} µs"),
        ("server.user_us_per_message", "user {:.3f}"),
        ("server.system_us_per_message", "system {:.3f} µs"),
    ):
        value = dig(result, metric)
        if value is not None:
            parts.append(text.format(value))
    return "  ".join(parts) + (f"  {result['errors']} ERRORS" if result.get("errors") else "")


def about(peers, rounds, seconds):
    """What a reader must know of the run."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(ROOT),
        "machine": machine(),
        "rounds": rounds,
        "seconds": seconds,
        "versions": peers.versions,
        "absent": peers.absent,
        "commands": {},
    }


def machine():
    model = output(["sh", "-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2"])
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "cpu": model.strip() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "kernel": f"{platform.system()} {platform.release()}",
        "rust": output(["rustc", "--version"]),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }
