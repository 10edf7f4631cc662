"""A pooler in transaction mode, as small as can be: between two transactions a session changes its backend.

It speaks just enough of PostgreSQL's protocol to see where a transaction ends.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_TLS, _GSS, _CANCEL = 80877103, 80877104, 80877102
_REFUSAL = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"


@dataclass
class Pooler:
    """Backends of the server at `path`; with `refuses_options`, sessions that ask for options are refused."""

    path: str
    refuses_options: bool = False
    free: list["Backend"] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, startup: bytes) -> "Backend":
        """The backend that was free last, as a pooler gives it."""
        with self.lock:
            if self.free:
                return self.free.pop()
        return Backend(self.path, startup)

    def give(self, backend: "Backend") -> None:
        with self.lock:
            self.free.append(backend)


class Backend:
    """A connection to the server."""

    def __init__(self, path: str, startup: bytes) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._socket.sendall(startup)
        self.greeting, self.status = self.answer()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> tuple[bytes, bytes]:
        """All that it says until it is ready, and the state of its transaction then."""
        said = b""
        while True:
            kind, body = read_message(self._socket)
            said += kind + struct.pack("!I", len(body) + 4) + body
            if kind == b"Z" or (kind == b"E" and not hasattr(self, "greeting")):
                return said, body

    def close(self) -> None:
        self._socket.close()


def read(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise ConnectionError("the other side has closed")
        found += part
    return found


def read_message(connection: socket.socket) -> tuple[bytes, bytes]:
    kind, length = struct.unpack("!cI", read(connection, 5))
    return kind, read(connection, length - 4)


def read_startup(client: socket.socket) -> bytes | None:
    while True:
        head = read(client, 8)
        length, code = struct.unpack("!II", head)
        if code == _CANCEL:
            return None
        if code in (_TLS, _GSS):
            client.sendall(b"N")
            continue
        return head + read(client, length - 8)


def serve(pooler: Pooler, client: socket.socket) -> None:
    with suppress(OSError), client:
        startup = read_startup(client)
        if startup is None:
            return
        if pooler.refuses_options and b"options\0" in startup:
            client.sendall(b"E" + struct.pack("!I", len(_REFUSAL) + 4) + _REFUSAL)
            return
        first = Backend(pooler.path, startup)
        client.sendall(first.greeting)
        pooler.give(first)
        backend, asked = None, b""
        while True:
            kind, body = read_message(client)
            if kind == b"X":
                return
            asked += kind + struct.pack("!I", len(body) + 4) + body
            if kind not in b"SQ":
                continue
            backend = backend or pooler.take(startup)
            backend.send(asked)
            answer, status = backend.answer()
            asked = b""
            if status == b"I":
                pooler.give(backend)
                backend = None
            client.sendall(answer)


@contextmanager
def pooler(path: str, *, refuses_options: bool = False) -> Iterator[int]:
    """The port on loopback of a pooler before the server whose socket has this path."""
    middle = Pooler(path, refuses_options)
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=serve, args=(middle, client), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        # Ends a wait in `accept`, which `close` alone does not.
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for backend in middle.free:
            backend.close()
