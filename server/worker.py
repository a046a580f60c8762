"""gunicorn's threaded worker, changed so that no thread waits for a client.

The main thread collects the bytes of a request, and passes the request to a pool's thread once it
is complete. That thread answers the request, and passes the connection back.
"""

import contextlib
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE
from types import SimpleNamespace

from gunicorn import glogging
from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.message import Request
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn

from server.answers import Outbox, encode, seconds_to_take, send
from server.checks import find_problem
from server.framing import BodyTooLarge, RequestReader, copy_settings
from server.settings import Settings
from server.waiting import WaitingWorker

REQUEST_SECONDS = 10  # for a request to arrive completely
PIECE = 64 * 1024  # bytes that are read at a time
LARGE = 64 * 1024  # bytes; smaller incomplete requests and answers do not count towards MAX_HELD
MAX_HELD = 32 * 1024 * 1024  # bytes of large incomplete requests and answers in a worker
MAX_DRAINED = 64 * 1024  # bytes that a client may send after the last answer

Action = Callable[[], None]


class Worker(WaitingWorker):
    """gunicorn's gthread worker, except that no thread waits for a client."""

    settings: Settings

    @classmethod
    def check_config(cls, cfg: Config, log: glogging.Logger) -> None:
        """Exit with one line if a setting of gunicorn's would not be honoured."""
        if problem := find_problem(cfg):
            raise SystemExit(f"server: {problem}")
        super().check_config(cfg, log)

    def init_process(self) -> None:
        """Set up the worker in its own process, after the fork."""
        self._lanes = [
            (re.compile(lane.pattern), ThreadPoolExecutor(lane.threads))
            for lane in self.settings.lanes
        ]
        self._parser_settings = copy_settings(self.cfg)
        super().init_process()

    # Incoming requests. These methods run in the main thread.

    def enqueue_req(self, conn: TConn) -> None:
        """Start to read the next request of a connection."""
        if conn.parser is None:
            conn.parser, conn.rest = self._make_reader(conn), memoryview(b"")
        action = None if conn.parser.is_empty else self._take(conn, None)
        if action := action or self._read(conn):
            action()
            return
        seconds = REQUEST_SECONDS if self.alive else STOP_KEEPALIVE_LINGER
        self._wait(conn, seconds, self._on_more)

    def _make_reader(self, conn: TConn) -> RequestReader:
        return RequestReader(self._parser_settings, conn.client, self.settings.max_body)

    def _on_more(self, conn: TConn, _client: socket.socket) -> None:
        if action := self._read(conn):
            self._end_wait(conn)
            action()

    def _read(self, conn: TConn) -> Action | None:
        """Read the available bytes, and return the next action, or None to wait for more."""
        try:
            data = conn.sock.recv(PIECE)
        except BlockingIOError:
            return None
        except OSError:  # the client is gone
            return partial(self._close, conn)
        return self._take(conn, data)

    def _take(self, conn: TConn, data: bytes | None) -> Action | None:
        """Continue a request with new data; empty data means the end, and None no new data."""
        reader = conn.parser
        reader.feed(data or b"")
        try:
            request = reader.next_request()
        except ParseException as error:
            status = 413 if isinstance(error, BodyTooLarge) else 400
            return partial(self._refuse, conn, status, type(error).__name__)
        if request:
            return partial(self._dispatch, conn, request)
        if data == b"":
            return partial(self._end, conn)
        self._greet(conn)
        if reader.size > LARGE:
            self._make_room()
        return None

    def _end(self, conn: TConn) -> None:
        """End a connection whose client sends no more; an unfinished request is refused."""
        if conn.parser.is_empty:
            self._close(conn)
        else:
            self._refuse(conn, 400, NoMoreData.__name__)

    def _greet(self, conn: TConn) -> None:
        """Send 100 Continue if the client holds back its body until then (RFC 9110, 10.1.1)."""
        request = conn.parser.request
        if request and request._expected_100_continue:
            request._expected_100_continue = False
            with contextlib.suppress(OSError):  # the client is gone
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _make_room(self) -> None:
        """End the longest wait for a large request or answer, if all of them hold too much."""
        large = [conn for conn in self.pending_conns if _held_bytes(conn) > LARGE]
        if sum(map(_held_bytes, large)) > MAX_HELD:
            self._time_out(large[0])

    def _dispatch(self, conn: TConn, request: Request) -> None:
        request._expected_100_continue = False
        called = f"{request.method} {request.path}"
        pools = (pool for pattern, pool in self._lanes if pattern.match(called))
        next(pools, self.tpool).submit(self._serve, conn, request)

    def _refuse(self, conn: TConn, status: int, reason: str) -> None:
        """Answer a request that the application does not see, and end the connection."""
        with contextlib.suppress(OSError):  # the client is gone, or reads nothing
            conn.sock.send(self._refusal(conn, conn.parser.request, status, reason))
        self._linger(conn)

    def _refusal(self, conn: TConn, request: Request | None, status: int, reason: str) -> bytes:
        client = conn.client[0] if isinstance(conn.client, tuple) else ""
        headers = request.headers if request else ()
        answer = self.settings.refuse(status, reason, client, headers)
        return encode(*answer, with_body=not (request and request.method == "HEAD"))

    # Connections that wait or close. These methods run in the main thread too.

    def _time_out(self, conn: TConn) -> None:
        self._end_wait(conn)
        if conn.rest or conn.parser.is_empty:
            self._close(conn)
        else:
            self._refuse(conn, 408, "Timeout")

    def _finish(self, conn: TConn, keep: bool) -> None:
        """Close a connection after an answer, or wait for its next request.

        The client must have taken all of the answer first.
        """
        if conn.rest:
            conn.keep = keep
            self._wait(conn, seconds_to_take(len(conn.rest)), self._send_rest, EVENT_WRITE)
            self._make_room()
        elif not keep:
            self._linger(conn)
        elif not conn.parser.is_empty:
            self.enqueue_req(conn)
        else:
            self._keep(conn)

    def _send_rest(self, conn: TConn, client: socket.socket) -> None:
        try:
            conn.rest = send(client, conn.rest)
        except OSError:  # the client is gone
            self._end_wait(conn)
            self._close(conn)
            return
        if not conn.rest:
            self._end_wait(conn)
            self._finish(conn, conn.keep)

    def _keep(self, conn: TConn) -> None:
        seconds = self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER
        conn.timeout = time.monotonic() + seconds
        self.keepalived_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_client_socket_readable, conn))

    def _linger(self, conn: TConn) -> None:
        """Shut down our side, and close the connection once the client has done the same.

        Closing a connection with unread bytes resets it, and the client could lose the answer.
        """
        conn.parser, conn.drained = self._make_reader(conn), 0
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone
            self._close(conn)
        else:
            self._wait(conn, STOP_KEEPALIVE_LINGER, self._drain)

    def _drain(self, conn: TConn, client: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):  # the client is gone
            data = client.recv(PIECE)
        conn.drained += len(data)
        if not data or conn.drained > MAX_DRAINED:
            self._end_wait(conn)
            self._close(conn)

    # Complete requests. These methods run in the threads of a pool.

    def _serve(self, conn: TConn, request: Request) -> None:
        """Answer a request, and pass the connection back."""
        keep = False
        try:
            data, wants_more = self._answer(conn, request)
            conn.rest = send(conn.sock, memoryview(data))
            keep = wants_more
        except OSError:  # the client is gone
            self.log.debug("Closing a connection whose client does not take the answer")
        except Exception:
            self.log.exception("Error answering a request")
        finally:
            self.method_queue.defer(self._finish, conn, keep)

    def _answer(self, conn: TConn, request: Request) -> tuple[bytes, bool]:
        """Return the answer, and whether the connection may serve another request."""
        outbox = Outbox()
        end = SimpleNamespace(sock=outbox, client=conn.client, server=conn.server)
        try:
            keep = self.handle_request(request, end)
        except StopIteration:  # the application failed halfway, and gunicorn has logged it
            return self._refusal(conn, request, 500, "ApplicationError"), False
        except (Exception, SystemExit):
            self.log.exception("Error handling request %s %s", request.method, request.path)
            return self._refusal(conn, request, 500, "ApplicationError"), False
        return outbox.getvalue(), keep


def _held_bytes(conn: TConn) -> int:
    """Return the size of a connection's incomplete request and of its unsent answer."""
    return int(conn.parser.size) + len(conn.rest)


def build_worker_class(settings: Settings) -> type[Worker]:
    """Return the worker with an application's settings, for gunicorn's `worker_class`."""
    return type("BufferedWorker", (Worker,), {"settings": settings})
