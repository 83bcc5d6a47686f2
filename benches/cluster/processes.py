"""One redis-server and some phpws on one shared port, and what they use."""

import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Failed(Exception):
    """The measurement can't go on."""


class Cluster:
    """So many processes on a Redis of their own; 0 is one process without Redis."""

    def __init__(self, count):
        self.count, self.phpws, self.redis = count, [], None

    def __enter__(self):
        try:
            self.dir = Path(tempfile.mkdtemp(prefix="phpws-cluster-"))
            self.redis_port, self.port = free_port(), free_port()
            words = ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            self.redis = subprocess.Popen([*words, "--dir", str(self.dir)], stdout=subprocess.DEVNULL)
            wait_for("redis-server", lambda: self.info())
            self.phpws = [self.start(number) for number in range(max(self.count, 1))]
            if self.count:
                wait_for("the processes", lambda: self.info()["connected_clients"] > self.count)
            return self
        except BaseException:
            self.__exit__()
            raise

    def start(self, number):
        backplane = ["--backplane", f"redis://127.0.0.1:{self.redis_port}"] if self.count else []
        log = self.dir / f"{number}.log"
        options = ["--reuse-port", "--ping-interval", "0", "--resume-time", "20", "--console=off", "--log-file", str(log)]
        process = subprocess.Popen([release("phpws"), *options, *backplane, f"ws://127.0.0.1:{self.port}"])
        wait_for("phpws", lambda: process.poll() is None and log.exists() and "initialized" in log.read_text())
        return process

    def __exit__(self, *_):
        for process in [*self.phpws, *([self.redis] if self.redis else [])]:
            process.kill()
            process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def ask(self, *words):
        """One command to Redis, whose answer is a bulk string or a number."""
        with socket.create_connection(("127.0.0.1", self.redis_port), 5) as wire:
            parts = [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
            wire.sendall("".join(parts).encode())
            reader = wire.makefile("rb")
            head = reader.readline()
            return reader.read(int(head[1:])).decode() if head[:1] == b"$" else int(head[1:])

    def info(self, answer=""):
        answer = answer or self.ask("INFO", "everything")
        lines = [line.split(":", 1) for line in answer.splitlines() if ":" in line]
        return {key: int(value) if value.isdigit() else value for key, value in lines}

    def clients(self):
        """Keys of clients, and a few others."""
        return self.ask("DBSIZE")

    def sample(self):
        """The answer to this question itself is not counted as Redis' traffic."""
        answer = self.ask("INFO", "everything")
        info = self.info(answer)
        scripts = info.get("cmdstat_evalsha", "calls=0").split("calls=")[1].split(",")[0]
        return {
            "time": time.monotonic(),
            "redis_ns": cpu(self.redis.pid),
            "phpws_ns": sum(cpu(process.pid) for process in self.phpws),
            "in": info["total_net_input_bytes"],
            "out": info["total_net_output_bytes"],
            "asked": len(answer),
            "scripts": int(scripts),
        }


def cpu(pid):
    """Nanoseconds on the CPU, of all threads."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def load_command(cluster, words, seconds, warmup=0.5):
    scenario, path, *options = words.split()
    timed = ["--seconds", str(seconds), "--warmup", str(warmup)]
    pids = [word for process in cluster.phpws for word in ("--pid", str(process.pid))]
    url = f"ws://127.0.0.1:{cluster.port}{path}"
    return [release("examples/load"), scenario, url, *options, *timed, *pids, "--json", "--quiet"]


def release(name):
    path = ROOT / "target/release" / name
    if not path.exists():
        raise Failed(f"{path} is missing: cargo build --release --bins --examples")
    return str(path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, is_there):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if is_there():
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise Failed(f"waited in vain for {what}")


def output(*words):
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def about(rounds, seconds):
    models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": output("git", "rev-parse", "--short", "HEAD"),
        "rounds": rounds,
        "seconds": seconds,
        "machine": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "redis": output("redis-server", "--version").split(" sha")[0].replace(" server v=", " "),
        "load": ", ".join(f"{value:.2f}" for value in os.getloadavg()),
    }
