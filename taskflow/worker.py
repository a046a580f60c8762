"""gunicorn's threaded worker, made so that no thread waits for a request.

gunicorn's own gives a connection to a thread before the request is there: a few clients that send
a byte now and then hold all threads. Here the dispatching thread looks at what has come, the
kernel keeps it until the request is whole, and a thread reads it at one go; after the answer, the
thread itself puts the connection back to wait, which saves a message to the dispatching thread.
An answer leaves in one segment, and sockets never block, so that none is told to at each request.

Three more things differ from gunicorn's own. Two kinds of requests have threads of their own:
probes of `/health`, which are answered when all others wait for the database, and what hashes a
password, which would leave no thread to others, and 19 MB in each. A stop serves the connections
that the kernel has taken already. And a connection that is to be closed is one of
those that are watched until the client has closed its side. What is missing here: TLS and HTTP/2,
which end at the router, and gunicorn's hooks around a request.
"""

import contextlib
import re
import select
import socket
import threading
import time
from functools import partial
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

from gunicorn import glogging, http
from gunicorn.http import wsgi
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from taskflow.wire import (
    MAX_REQUEST,
    PEEK,
    Response,
    Unreader,
    expects_continue,
    missing,
    send,
)

REQUEST_SECONDS = 10  # for a request to come in, once a connection has begun with it
ROOM = 128 * 1024  # bytes; two segments of the longest
LINGER = 64 * 1024  # bytes; what a client may still send on a connection that is being closed
PROBERS = 4  # threads
HASHERS = 4  # threads; they hash one password at a time, and wait for the database side by side

# As clients write them: who writes them in another way is served by the threads of the others.
_PROBE = re.compile(rb"(GET|HEAD) /health")
_HASH = re.compile(rb"(POST|PUT|DELETE) /api/v1/auth/(register|login|password|me)[ ?]")


class Logger(glogging.Logger):
    """gunicorn's logger, without a line for each request beside ours."""

    access_log_enabled = False


class Poller:
    """What gunicorn uses of `selectors`, by fewer steps."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Any] = {}

    def register(self, source: Any, _events: int, callback: Any) -> None:
        """Have a call made when a socket or a descriptor has something to read."""
        fd = source if isinstance(source, int) else source.fileno()
        self._callbacks[fd] = partial(callback, source)
        self._epoll.register(fd, select.EPOLLIN)

    def unregister(self, source: Any) -> None:
        """Watch a socket no more; raises `KeyError` where it was not."""
        fd = source.fileno()
        del self._callbacks[fd]
        self._epoll.unregister(fd)

    def dispatch(self, timeout: float) -> None:
        """Wait for so many seconds at the most, and make the calls that are due."""
        for fd, _ in self._epoll.poll(timeout):
            self._callbacks[fd]()

    def close(self) -> None:
        """Watch nothing any more."""
        self._epoll.close()


class Threads:
    """Threads that serve the connections of one queue."""

    def __init__(self, count: int, serve: Any) -> None:
        self._queue: SimpleQueue[TConn] = SimpleQueue()
        self._serve = serve
        self.put = self._queue.put
        for number in range(count):
            threading.Thread(target=self._run, name=f"server-{number}", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._serve(self._queue.get())

    def shutdown(self, wait: bool) -> None:
        """Let them be: they end with the process."""


class Worker(ThreadWorker):
    """gthread whose threads work and do not wait."""

    def init_process(self) -> None:
        """Start the threads, in the worker's own process."""
        # gunicorn asks for some thirty settings a request, by a function each time: 3 % of a GET.
        self.cfg.__dict__.update({name: found.get() for name, found in self.cfg.settings.items()})
        self._probers = Threads(PROBERS, self._serve)
        self._hashers = Threads(HASHERS, self._serve)
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop."""
        self.poller.close()
        self.poller: Any = Poller()
        super().run()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for so many seconds at the most, and do what is due."""
        self.poller.dispatch(timeout)

    def get_thread_pool(self) -> Threads:
        """Give the threads that serve the rest."""
        return Threads(self.cfg.threads, self._serve)

    def enqueue_req(self, conn: TConn) -> None:
        """Give a thread the next request of a connection, once it is there."""
        conn.start, conn.greeted, conn.whole = 0, False, False
        if conn.parser is None:
            conn.parser = http.get_parser(self.cfg, conn.sock, conn.client)
            conn.parser.unreader = Unreader(conn.sock)
        data = conn.parser.unreader.take()
        conn.ahead = len(data)
        if self._is_whole(conn, data):
            self._dispatch(conn, data)
            return
        seconds = REQUEST_SECONDS if self.alive else STOP_KEEPALIVE_LINGER
        self._wait(conn, seconds, self.on_pending_socket_readable)

    def on_pending_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Look at what has come; also called when nothing more will, or the kernel is full."""
        data = self._peek(conn)
        if len(data) - conn.ahead >= conn.wanted and not self._is_whole(conn, data):
            return
        self._end_wait(conn)
        with contextlib.suppress(OSError):  # the client is gone
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._dispatch(conn, data)

    def _wait(self, conn: TConn, seconds: float, callback: Any) -> None:
        """Wait for a client, and close the connection when it has not come so far in time."""
        conn.timeout = time.monotonic() + seconds
        self.pending_conns.append(conn)
        self._watch(conn, callback)

    def _end_wait(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)

    def _watch(self, conn: TConn, callback: Any) -> None:
        self.poller.register(conn.sock, select.EPOLLIN, partial(callback, conn))

    def _peek(self, conn: TConn) -> bytes:
        """Give what has come of a request: what was read ahead, and what the kernel has."""
        data: bytes = conn.parser.unreader.buf.getvalue()
        conn.ahead = len(data)
        with contextlib.suppress(OSError):  # nothing yet, or nobody there any more
            found = conn.sock.recv(PEEK, socket.MSG_PEEK)
            if len(found) == PEEK:
                found = conn.sock.recv(MAX_REQUEST, socket.MSG_PEEK)
            data += found
        return data

    def _is_whole(self, conn: TConn, data: bytes) -> bool:
        """Say whether a request is there; if not, let the kernel say when it may be."""
        more, conn.start = missing(data, conn.start)
        if more <= 0:
            conn.whole = more == 0
            return True
        conn.wanted = len(data) - conn.ahead + more
        with contextlib.suppress(OSError):
            # A buffer that is nearly full is readable too: the first makes it large enough.
            for size in (2 * conn.wanted + ROOM, conn.wanted):
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            if not conn.greeted:
                self._greet(conn, data)
        return False

    def _greet(self, conn: TConn, data: bytes) -> None:
        """Tell a client to go on that waits for it with its body; once the head is there."""
        head = data.find(b"\r\n\r\n") + 2
        conn.greeted = head >= 2
        if expects_continue(data, head):
            conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _dispatch(self, conn: TConn, data: bytes) -> None:
        threads = self.tpool
        if _PROBE.match(data):
            threads = self._probers
        elif _HASH.match(data):
            threads = self._hashers
        threads.put(conn)

    def _serve(self, conn: TConn) -> None:
        """Answer a request, and put the connection back to wait for the next; in a thread."""
        keep = self.handle(conn)
        if not keep or conn.parser.unreader.buf.getvalue():
            self.method_queue.defer(self._finish, conn, keep)
            return
        conn.timeout = time.monotonic() + self.cfg.keepalive
        self.keepalived_conns.append(conn)
        if not self.alive:  # asked after it was put there: a stop caps what it finds there
            conn.timeout = time.monotonic() + STOP_KEEPALIVE_LINGER
        self._watch(conn, self.on_client_socket_readable)

    def _finish(self, conn: TConn, keep: bool) -> None:
        """Go on with what has been read already, or end our side and wait for the client's."""
        try:
            if keep:
                self.enqueue_req(conn)
                return
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone
            self._close(conn)
            return
        conn.drained = 0
        self._wait(conn, STOP_KEEPALIVE_LINGER, self._drain)

    def _drain(self, conn: TConn, client: socket.socket) -> None:
        """Read what nobody wants: to close with it unread would take the answer from the client."""
        data = b""
        with contextlib.suppress(OSError):
            data = client.recv(PEEK)
        conn.drained += len(data)
        if not data or conn.drained > LINGER:
            self._end_wait(conn)
            self._close(conn)

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()

    def handle(self, conn: TConn) -> bool:
        """Answer a request, and say whether the connection may serve another."""
        req = None
        try:
            req = next(conn.parser)
            answer, data = self.handle_request(req, conn)
        except (NoMoreData, StopIteration):  # the client is gone
            return False
        except Exception as error:
            self.handle_error(req, conn.sock, conn.client, error)
            return False
        try:
            send(conn.sock, data)
            keep = not answer.should_close() and conn.parser.finish_body()
            conn.parser.mesg = None  # whose body would be kept as long as the connection
            return keep
        except (OSError, ParseException):  # nobody reads, or a body that nobody read has an error
            return False

    def handle_request(self, req: Any, conn: TConn) -> tuple[Response, bytes]:
        """Let the application answer; the answer to a request that is not whole is the last one."""
        req._expected_100_continue = False  # who had to be told has been
        req.body = conn.parser.unreader.take_body(req.body.reader) or req.body
        segments: list[bytes] = []
        sender = SimpleNamespace(sendall=segments.append)
        answer, environ = wsgi.create(req, sender, conn.client, conn.server, self.cfg, Response)
        environ["wsgi.multithread"] = True
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive: bool = False
        if not (conn.whole and self.alive and len(self.keepalived_conns) < self.max_keepalived):
            answer.force_close()
        body = self.wsgi(environ, answer.start_response)
        try:
            for part in body:
                answer.write(part)
            answer.close()
        finally:
            if hasattr(body, "close"):
                body.close()
        return answer, b"".join(segments)

    def _cap_keepalive(self, deadline: float) -> None:
        # Copied, since threads append meanwhile; gunicorn would leave those that wait their time.
        for conn in (*self.keepalived_conns, *self.pending_conns):
            conn.timeout = min(conn.timeout, deadline)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Listen or not; a worker that stops never will again."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            for _ in range(self.cfg.backlog):
                taken = self.nr_conns
                with contextlib.suppress(OSError):  # as many as a process may have
                    self.accept(listener)
                if taken == self.nr_conns:  # nobody waits
                    break
            listener.close()
