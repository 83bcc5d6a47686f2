"""A browser's page, as far as the server can tell: one WebSocket that answers pings and keeps what it hears."""

import base64
import json
import os
import socket
import struct
import threading

PATIENCE = 10


class Page:
    def __init__(self, resource="/web", headers=""):
        self.heard, self.ended, self.news = [], False, threading.Condition()
        stream = socket.create_connection(("127.0.0.1", 8095), PATIENCE)
        stream.sendall(
            f"GET {resource} HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{headers}"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n".encode()
        )
        self.stream, self.input = stream, stream.makefile("rb")
        head = self.input.readline()
        while not head.endswith(b"\r\n\r\n") and (line := self.input.readline()):
            head += line
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(head.decode())
        stream.settimeout(None)
        threading.Thread(target=self._listen, daemon=True).start()
        self.ready = self.next()
        self.uuid = json.loads(self.ready).get("uuid", "")

    def say(self, text):
        self._send(1, text.encode())

    def next(self, seconds=PATIENCE):
        """The next message, or None at the end."""
        with self.news:
            if not self.news.wait_for(lambda: self.heard or self.ended, seconds):
                raise TimeoutError("the server says nothing")
            return self.heard.pop(0) if self.heard else None

    def until(self, part):
        """Waits for a message that contains this."""
        while (text := self.next()) is not None:
            if part in text:
                return text
        raise ConnectionError(f"the connection ended before a message with {part}")

    def close(self):
        self.stream.close()

    def _send(self, opcode, payload):
        mask = os.urandom(4)
        length = len(payload)
        size = bytes([0x80 | length]) if length < 126 else bytes([0xFE]) + struct.pack(">H", length)
        body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.stream.sendall(bytes([0x80 | opcode]) + size + mask + body)

    def _listen(self):
        try:
            while (frame := self._frame()) is not None:
                opcode, payload = frame
                if opcode == 9:
                    self._send(10, payload)
                elif opcode == 8:
                    break
                elif opcode == 1:
                    with self.news:
                        self.heard.append(payload.decode())
                        self.news.notify_all()
        except OSError:
            pass
        with self.news:
            self.ended = True
            self.news.notify_all()

    def _frame(self):
        head = self.input.read(2)
        if len(head) < 2:
            return None
        length = head[1]
        if length > 125:
            length = int.from_bytes(self.input.read(2 if length == 126 else 8), "big")
        return head[0] & 15, self.input.read(length)
