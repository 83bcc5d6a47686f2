"""How long a page takes that comes back to another process, and what it costs Redis that its messages are kept."""

import base64
import json
import os
import socket
import statistics
import time
import urllib.request

from processes import Failed, cpu

PAGES = 100
MISSED = 50
TEXT = "x" * 100


class Page:
    """A client that resumes, as far as it must for this."""

    def __init__(self, port, query="resume="):
        self.wire = socket.create_connection(("127.0.0.1", port), 5)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        head = "Host: x\r\nOrigin: http://x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        self.wire.sendall(f"GET /web?{query} HTTP/1.1\r\n{head}Sec-WebSocket-Key: {key}\r\n\r\n".encode())
        self.bytes = b""
        while b"\r\n\r\n" not in self.bytes:
            self.read()
        self.bytes = self.bytes.split(b"\r\n\r\n", 1)[1]
        self.ready = self.message()

    def read(self):
        data = self.wire.recv(65536)
        if not data:
            raise Failed("a page was closed")
        self.bytes += data

    def message(self):
        """The next text, of up to 64 KiB."""
        while True:
            length = self.bytes[1] if len(self.bytes) > 1 else None
            start = 2 if length is not None and length < 126 else 4
            if length is not None and len(self.bytes) >= start:
                length = length if start == 2 else int.from_bytes(self.bytes[2:4], "big")
                if len(self.bytes) >= start + length:
                    opcode, payload = self.bytes[0] & 15, self.bytes[start : start + length]
                    self.bytes = self.bytes[start + length :]
                    if opcode == 1:
                        return json.loads(payload)
                    continue
            self.read()


def publish(port, uuid, count):
    body = json.dumps([{"uuid": uuid, "message": TEXT}] * count).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/publish", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def measure(cluster):
    """Pages whose connection breaks, each with messages that it missed; then each comes back, to either process."""
    pages = [Page(cluster.port) for _ in range(PAGES)]
    last = pages[0].ready
    for page in pages:
        page.wire.close()
    time.sleep(0.3)
    memory, before = cluster.info()["used_memory"], cpu(cluster.redis.pid)
    for page in pages:
        publish(cluster.port, page.ready["uuid"], MISSED)
    stored = cluster.info()["used_memory"] - memory
    storing = cpu(cluster.redis.pid) - before
    times, moved, before = [], 0, cpu(cluster.redis.pid)
    for page in pages:
        start = time.monotonic()
        back = Page(cluster.port, f"resume={page.ready['uuid']}&seq={last['seq']}")
        for _ in range(MISSED):
            back.message()
        times.append(time.monotonic() - start)
        moved += back.ready["resume"] == "resumed"
        back.wire.close()
    if moved != PAGES:
        raise Failed(f"{PAGES - moved} pages did not resume")
    return {
        "pages": PAGES,
        "missed": MISSED,
        "text_bytes": len(TEXT),
        "p50_ms": statistics.median(times) * 1e3,
        "p99_ms": sorted(times)[len(times) * 99 // 100 - 1] * 1e3,
        "redis_us": (cpu(cluster.redis.pid) - before) / 1e3 / PAGES,
        "stored_bytes": stored / PAGES / MISSED,
        "stored_us": storing / 1e3 / PAGES / MISSED,
    }
