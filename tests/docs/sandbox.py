"""The machine that the pages' commands see: this one, with a file system whose changes go away at the end."""

import os
import re
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

PATIENCE = 60
STANDINS = {
    # There is no systemd to ask. It could be told of units that are no good, so they are verified.
    "systemctl": """#!/bin/sh
shift # what is to be done
for word; do
  case $word in -*) continue ;; *.socket) unit=$word ;; *) unit=${word%.service}.service ;; esac
  unit=$(echo "$unit" | sed 's/@[^.]*/@/') # an instance is one of its template
  [ -e "/etc/systemd/system/$unit" ] || { echo "there is no unit $unit" >&2; exit 5; }
  complaints=$(systemd-analyze verify --man=no "/etc/systemd/system/$unit" 2>&1) && [ -z "$complaints" ] && continue
  echo "$complaints" >&2
  exit 1
done
""",
}


class Failure(Exception):
    """What a page shows does not work."""


class Sandbox:
    def __init__(self, root, changes):
        """Lays `changes`, a folder in memory, over the project and the system's folders."""
        self.root, self.changes, self.servers = root, changes, []
        call("ip", "link", "set", "lo", "up")
        call("mount", "--make-rprivate", "/")
        call("mount", "-t", "tmpfs", "tmpfs", changes)
        for number, folder in enumerate(["/etc", "/usr", "/var", str(root)]):
            upper, work = changes / f"upper{number}", changes / f"work{number}"
            upper.mkdir()
            work.mkdir()
            call("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={folder},upperdir={upper},workdir={work}", folder)
        os.chdir(root)
        self.state, home, standins = changes / "state", changes / "home", changes / "bin"
        home.mkdir()
        standins.mkdir()
        for name, text in STANDINS.items():
            (standins / name).write_text(text)
            (standins / name).chmod(0o755)
        for name, folder in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")]:
            os.environ.setdefault(name, str(Path.home() / folder))
        for name in [name for name in os.environ if name.startswith("PHPWS_")]:
            del os.environ[name]
        os.environ.update(
            HOME=str(home), PATH=f"{standins}:{root}/target/release:{os.environ['PATH']}", CARGO_NET_OFFLINE="true"
        )

    def forget(self):
        """A page begins in the project's folder without the variables of the one before."""
        self.state.write_text(f"cd '{self.root}'\n")

    def run(self, command, extra=None):
        """Runs a command of shell to its end; variables and the folder stay for the next one."""
        script = f"set -aeu -o pipefail\n. '{self.state}'\n{command}\n{{ export -p; echo \"cd '$PWD'\"; }} > '{self.state}'\n"
        done = subprocess.run(
            ["bash", "-c", script], env={**os.environ, **(extra or {})}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=PATIENCE,
        )
        if done.returncode != 0:
            raise Failure(f"exit status {done.returncode}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        return done.stdout

    def serve(self, command, extra=None):
        """Starts a command that goes on, and waits until something answers on each of its ports."""
        command = command.removesuffix("&").strip()
        ports = ports_of(command)
        self.end(ports)
        output = open(self.changes / f"server-{time.monotonic_ns()}", "w+")
        child = subprocess.Popen(
            ["bash", "-c", f"set -aeu\n. '{self.state}'\n{command}"], env={**os.environ, **(extra or {})},
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )
        self.servers.append((child, ports))
        deadline = time.monotonic() + PATIENCE
        for port in ports:
            while not (is_taken(port) if command.startswith("redis-server") else speaks_http(port, "--proxy-protocol" in command)):
                if child.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    raise Failure(f"nothing answers on port {port}: {output.read()[-2000:]}")
                time.sleep(0.05)

    def end(self, ports=None):
        """Ends the servers on these ports, or all."""
        for child, theirs in [it for it in self.servers if ports is None or set(it[1]) & set(ports)]:
            self.servers.remove((child, theirs))
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                raise Failure(f"a server does not end on SIGTERM: {child.args[-1]}") from None
            deadline = time.monotonic() + 15
            while any(is_taken(port) for port in theirs):
                if time.monotonic() > deadline:
                    # In here nobody else's processes are seen.
                    os.kill(-1, signal.SIGKILL)
                    raise Failure(f"a server leaves processes behind: {child.args[-1]}")
                time.sleep(0.05)


def call(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise SystemExit(f"tests/docs/run: {' '.join(command)}: {done.stdout.strip()}")


def ports_of(command):
    """Where a server will listen, as its command says."""
    if command.startswith("redis-server"):
        return [6379]
    if command.startswith("make cluster"):
        return [8095]
    if command.startswith("make demo"):
        ports = re.findall(r":(\d+)", command)
        return [int(port) for port in ports] or [8095, 8080]
    for pattern in [r"-S \S+?:(\d+)", r"wss?://\S+?:(\d+)", r"127\.0\.0\.1[ :](\d+)"]:
        # An address behind an option is somebody else's.
        if port := re.search(pattern, re.sub(r"--(?!address)[a-z-]+[ =]\S*", "", command)):
            return [int(port[1])]
    return [8095]


def is_taken(port):
    with socket.socket() as stream:
        return stream.connect_ex(("127.0.0.1", port)) == 0


def speaks_http(port, behind_balancer):
    """Whether an HTTP request is answered there, with TLS or without."""
    for tls in [False, True]:
        try:
            stream = socket.create_connection(("127.0.0.1", port), 2)
            if behind_balancer:
                stream.sendall(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n")
            if tls:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                stream = context.wrap_socket(stream)
            stream.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            if stream.recv(5) == b"HTTP/":
                return True
        except OSError:
            pass
    return False
