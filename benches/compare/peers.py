"""The servers that are compared: how each is built, started and stopped, and what it is called.

A peer that can't run here (no Node, no PHP checkout) is absent, with the reason; it is never left out in silence.
"""

import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benches" / "peers"
SERVER_CORE, LOAD_CORE = 0, 1

TITLES = {
    "floor": "floor",
    "phpws": "phpws",
    "tungstenite": "tungstenite",
    "fastwebsockets": "fastwebsockets",
    "node": "Node ws",
    "php": "PHP original",
    "php-jit": "PHP original with JIT",
}
RUST_PEERS = ("tungstenite", "fastwebsockets")
WS_PEERS = RUST_PEERS + ("node",)
PHP_PEERS = ("php", "php-jit")
JIT = ["-d", "opcache.enable_cli=1", "-d", "opcache.jit=tracing", "-d", "opcache.jit_buffer_size=64M"]


class Failed(Exception):
    """Something that ends the run, in one line with the way out."""


def say(line):
    print(line, flush=True)


def pinned(core, command):
    """The command on one core, where there are two."""
    return ["taskset", "-c", str(core), *command] if (os.cpu_count() or 1) > 1 else command


def target_dir(package=ROOT):
    return Path(os.environ.get("CARGO_TARGET_DIR", package / "target"))


def release(name, package=ROOT):
    return str(target_dir(package) / "release" / name)


class Peers:
    """All peers of this machine: which are there, their versions, and a certificate for wss."""

    def __init__(self, scratch):
        self.scratch = Path(scratch)
        self.absent = {}
        self.versions = {}
        self.cert = ROOT / "target" / "tls" / "cert.pem"
        self.key = self.cert.with_name("key.pem")
        self.php_server = os.environ.get("PHPWS_PHP_SERVER", "")

    def build(self):
        cargo = ["cargo", "build", "--release", "--locked", "--quiet"]
        run([*cargo, "--bins", "--example", "echo", "--example", "load"], ROOT)
        run(cargo, PEERS)
        if not self.cert.exists():
            run(["make", "--no-print-directory", "cert"], ROOT)
        self.versions["floor"] = f"mio {locked_version('mio')}"
        self.versions["phpws"] = f"{output([release('phpws'), '--version'])}, {commit(ROOT)}"
        self.versions["tungstenite"] = f"tokio-tungstenite {locked_version('tokio-tungstenite')}, tokio {locked_version('tokio')}"
        self.versions["fastwebsockets"] = f"{locked_version('fastwebsockets')}, hyper {locked_version('hyper')}"
        self._node()
        self._php()

    def _node(self):
        folder = PEERS / "node"
        if not shutil.which("node") or not shutil.which("npm"):
            self.absent["node"] = "Node is not installed"
            return
        if not (folder / "node_modules" / "ws").exists():
            run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], folder)
        ws = re.search(r'"version": "(.*?)"', (folder / "node_modules/ws/package.json").read_text())[1]
        self.versions["node"] = f"ws {ws}, Node {output(['node', '--version'])}"

    def _php(self):
        reason = None
        if not self.php_server:
            reason = "PHPWS_PHP_SERVER names no checkout of napengam/phpWebSocketServer"
        elif not Path(self.php_server, "server/runSocketServer.php").exists():
            raise Failed(f"PHPWS_PHP_SERVER={self.php_server} has no server/runSocketServer.php: name a checkout of 2026")
        elif not shutil.which("php"):
            reason = "php is not installed (apt-get install php-cli php-mbstring)"
        if reason:
            self.absent.update({peer: reason for peer in PHP_PEERS})
            return
        php = output(["php", "-r", "echo PHP_VERSION;"])
        self.versions["php"] = f"{commit(self.php_server)}, PHP {php}"
        self.versions["php-jit"] = f"the same with `{' '.join(JIT)}`"
        if output(["php", "-r", "echo (int) extension_loaded('Zend OPcache');"]) != "1":
            self.absent["php-jit"] = "PHP has no OPcache"

    def start(self, peer, mode, tls=False):
        """A running server. `mode` is echo, dialog or broadcast: what the load expects of it."""
        port = free_port()
        server = Server(*self._command(peer, mode, tls, port))
        server.shown = self._shown(peer, server.command, port)
        return server

    def _shown(self, peer, command, port):
        """The command as a reader would type it: no place or port that only this run knows."""
        line = " ".join(pinned(SERVER_CORE, command))
        ours = peer == "phpws"
        line = line.replace(str(target_dir() if ours else target_dir(PEERS)), "target" if ours else "benches/peers/target", 1)
        line = re.sub(rf"{re.escape(str(self.scratch))}/php-{port}[^/]*", "CHECKOUT", line).replace(f"{self.scratch}/", "")
        return line.replace(f"{ROOT}/", "").replace(str(port), "8095")

    def _command(self, peer, mode, tls, port):
        address = f"127.0.0.1:{port}"
        files = ["--cert", str(self.cert), "--key", str(self.key)] if tls else []
        scheme = "wss" if tls else "ws"
        url = f"{scheme}://{address}/"
        if peer == "floor":
            sends = mode != "echo"
            return [release("floor-send" if sends else "floor", PEERS), address], url if sends else f"tcp://{address}", port
        if peer in RUST_PEERS:
            return [release(peer, PEERS), address, *files], url, port
        if peer == "node":
            return ["node", str(PEERS / "node/server.mjs"), address], url, port
        if peer == "phpws" and mode == "echo":
            return [release("examples/echo"), "127.0.0.1", str(port), *files[1::2]], url, port
        if peer == "phpws":
            log = str(self.scratch / f"phpws-{port}.log")
            quiet = ["--console=off", "--log-file", log, "--ping-interval", "0"]
            return [release("phpws"), f"{scheme}://{address}", *files, *quiet], f"{url}web", port
        folder = self._php_copy(port)
        return ["php", *(JIT if peer == "php-jit" else []), str(folder / "server/runSocketServer.php")], f"{url}web", port

    def _php_copy(self, port):
        """The checkout is never written to: each server has its own copy and configuration."""
        # A port may come twice in a run.
        folder = Path(tempfile.mkdtemp(prefix=f"php-{port}-", dir=self.scratch))
        ignored = shutil.ignore_patterns(".git", "autoload_map.php", "*.JPG")
        shutil.copytree(self.php_server, folder, dirs_exist_ok=True, ignore=ignored)
        (folder / "autoload").mkdir(exist_ok=True)
        (folder / "config").mkdir(exist_ok=True)
        (folder / "config/config.ini").write_text(
            f"[websocketserver]\nadress='ws://127.0.0.1:{port}'\nlogfile={folder}/server.log\nconsole=false\n"
            "certFile=''\npkFile=''\n[jsauth]\nrequire=false\n[develop]\ndevelopsystem=true\n"
        )
        return folder


class Server:
    """A process on the servers' core; leaving the `with` ends it."""

    def __init__(self, command, url, port):
        self.url = url
        self.command = command
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            pinned(SERVER_CORE, command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors, cwd="/"
        )
        self.pid = self.process.pid
        try:
            self._await(port)
        except Failed:
            self.stop()
            raise

    def _await(self, port):
        deadline = time.monotonic() + 10
        while not is_listening(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.errors.seek(0)
                reason = self.errors.read().decode(errors="replace").strip() or "it does not listen"
                raise Failed(f"{' '.join(self.command)}: {reason}")
            time.sleep(0.01)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def is_listening(port):
    """Asks the system's table, so that the server sees no connection that is not the load's."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(table):
            with open(table) as lines:
                if any(row[1].endswith(wanted) and row[3] == "0A" for row in map(str.split, lines)):
                    return True
    return False


def free_port():
    """A port below the range of outgoing connections, so that none of them takes it meanwhile."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def run(command, folder):
    if subprocess.run(command, cwd=folder).returncode:
        raise Failed(f"`{' '.join(command)}` failed in {folder}")


def output(command, folder=None):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder):
    """The commit and its date, or that there is none."""
    line = output(["git", "log", "-1", "--format=%h of %cs"], folder)
    changed = output(["git", "status", "--porcelain", "--untracked-files=no"], folder)
    return (f"commit {line}" if line else "no commit") + (" with changes" if changed else "")


def locked_version(crate):
    lock = (PEERS / "Cargo.lock").read_text()
    return re.search(rf'name = "{crate}"\nversion = "(.*?)"', lock)[1]
