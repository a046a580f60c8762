"""Valid and invalid requests, with the answers that they have to get.

The cases come from gunicorn's own corpus (tests/requests in its repository), from RFC 9110 and
RFC 9112, and from bytes of other protocols that often reach a port by mistake.
"""

from typing import NamedTuple

CHUNKED = b"Transfer-Encoding: chunked\r\n"


class Case(NamedTuple):
    """Bytes of a connection, the bodies of the answers to them, and whether the end is refused."""

    name: str
    data: bytes
    answers: tuple[bytes, ...] = ()
    refused: bool = False
    cut_off: bool = False  # the request is only incomplete, so it is refused at its end


def get(target: bytes = b"/", fields: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + target + b" " + version + b"\r\n" + fields + b"\r\n"


def post(fields: bytes, body: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"POST /p " + version + b"\r\n" + fields + b"\r\n" + body


def chunks(body: bytes, fields: bytes = CHUNKED) -> bytes:
    return post(fields, body)


def _valid(name: str, data: bytes, *answers: bytes) -> Case:
    return Case(name, data, answers)


def _refused(name: str, data: bytes, *answers: bytes, cut_off: bool = False) -> Case:
    return Case(name, data, answers, refused=True, cut_off=cut_off)


_TWO = get(b"/1"), get(b"/2")
_LONG = b"y" * 8100
# fmt: off
_VALID_HEADS = [
    _valid("no header", get(), b"GET / "),
    _valid("an empty line before", b"\r\n" + get(), b"GET / "),
    _valid("a name without a space after it", get(fields=b"aaaaaaa:++++\r\n"), b"GET / "),
    _valid("a name of other characters", get(fields=b"X.Custom|Pipe: ok\r\n"), b"GET / "),
    _valid("a name with an underscore", get(fields=b"Transfer_Encoding: odd\r\n"), b"GET / "),
    _valid("padding around a value", get(fields=b"X: \t value \t \r\n"), b"GET / "),
    _valid("bytes above ASCII in a value", get(fields=b"X: caf\xc3\xa9\r\n"), b"GET / "),
    _valid("a header twice", get(fields=b"If-Match: a\r\nIf-Match: b\r\n"), b"GET / "),
    _valid("a long header", get(fields=b"X: " + _LONG + b"\r\n"), b"GET / "),
    _valid("a long target", get(b"/" + _LONG), b"GET /" + _LONG + b" "),
    _valid("a query and a fragment", get(b"/a?b=1#c"), b"GET /a?b=1#c "),
    _valid("quotes in the target", get(b'/"a"?b="c"'), b'GET /"a"?b="c" '),
    _valid("slashes", get(b"///a"), b"GET ///a "),
    _valid("an absolute target", get(b"http://x.example/a?q=1"), b"GET http://x.example/a?q=1 "),
    _valid("an absolute https target", get(b"https://x.example/a"), b"GET https://x.example/a "),
    _valid("an absolute IPv6 target", get(b"http://[::1]:80/a"), b"GET http://[::1]:80/a "),
    _valid("a user in the target", get(b"http://u:p@x.example/"), b"GET http://u:p@x.example/ "),
    _valid("an asterisk", b"OPTIONS * HTTP/1.1\r\n\r\n", b"OPTIONS * "),
    _valid("a tunnel", b"CONNECT x:443 HTTP/1.1\r\n\r\n", b"CONNECT x:443 "),
    _valid("a tunnel by IPv6", b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n", b"CONNECT [::1]:443 "),
    _valid("an unknown method", b"-BLARGH / HTTP/1.1\r\n\r\n", b"-BLARGH / "),
]
_VALID_BODIES = [
    _valid("a length", post(b"Content-Length: 5\r\n", b"hello"), b"POST /p hello"),
    _valid("a length in HTTP/1.0", post(b"conTENT-Length: 5\r\n", b"hello", b"HTTP/1.0"),
           b"POST /p hello"),
    _valid("a body of a GET", get(fields=b"Content-Length: 5\r\n") + b"hello", b"GET / hello"),
    _valid("a length of 0", get(fields=b"Content-Length: 0\r\n"), b"GET / "),
    _valid("zeros before a length", post(b"Content-Length: 005\r\n", b"hello"), b"POST /p hello"),
    _valid("a chunk", chunks(b"5\r\nhello\r\n0\r\n\r\n"), b"POST /p hello"),
    _valid("two chunks", chunks(b"5\r\nhello\r\n6\r\n world\r\n000\r\n\r\n"),
           b"POST /p hello world"),
    _valid("a size in capitals", chunks(b"A\r\n0123456789\r\n0\r\n\r\n"), b"POST /p 0123456789"),
    _valid("zeros before a size", chunks(b"0005\r\nhello\r\n0\r\n\r\n"), b"POST /p hello"),
    _valid("trailers", chunks(b"5\r\nhello\r\n0\r\nVary: *\r\nX: y\r\n\r\n"), b"POST /p hello"),
    _valid("extensions", chunks(b"5; some; a=stuff\r\nhello\r\n0; b\r\n\r\n"), b"POST /p hello"),
    _valid("a quoted extension", chunks(b'5;a="b c"\r\nhello\r\n0\r\n\r\n'), b"POST /p hello"),
    _valid("no chunk", chunks(b"0\r\n\r\n"), b"POST /p "),
    *(_valid(f"coding {coding!a}", chunks(b"5\r\nhello\r\n0\r\n\r\n", coding), b"POST /p hello")
      for coding in (b"Transfer-Encoding: gzip\r\n" + CHUNKED,
                     b"Transfer-Encoding: gzip, chunked\r\n",
                     b"Transfer-Encoding: identity\r\n" + CHUNKED)),
]
_VALID_PAIRS = [
    _valid("two requests", b"".join(_TWO), b"GET /1 ", b"GET /2 "),
    _valid("two with chunks", chunks(b"5\r\nhello\r\n0\r\n\r\n") + get(), b"POST /p hello",
           b"GET / "),
    _valid("two in HTTP/1.0", get(b"/1", version=b"HTTP/1.0") + _TWO[1], b"GET /1 "),
    _valid("a kept HTTP/1.0", get(b"/1", b"Connection: Keep-Alive\r\n", b"HTTP/1.0") + _TWO[1],
           b"GET /1 ", b"GET /2 "),
    _valid("two with a close between", get(b"/1", b"Connection: Close\r\n") + _TWO[1], b"GET /1 "),
    _valid("a body that looks like a request", post(b"Content-Length: 19\r\n", _TWO[0]),
           b"POST /p " + _TWO[0]),
]
_REFUSED_LINES = [
    _refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    _refused("no request", b"EHLO x.example\r\n"),
    _refused("half a line", b"GET / HT", cut_off=True),
    _refused("half a head", b"GET / HTTP/1.1\r\nHost: x\r\n", cut_off=True),
    _refused("no target", b"GET HTTP/1.1\r\n"),
    _refused("bare LF", b"GET / HTTP/1.1\nHost: x\n\n"),
    _refused("bare LF in the line", b"GET\n/\nHTTP/1.1\r\n"),
    *(_refused(f"method {method!a}", method + b" / HTTP/1.1\r\n\r\n")
      for method in (b"bla:rgh", b"-bl", b"GET:", b"GET\0", b"GET\0PROXY", b"GET\xdf", b"GET\xff",
                     b"G", b"G" * 21)),
    *(_refused(f"version {version!a}", get(version=version))
      for version in (b"FTP/1.1", b"HTTP/111", b"HTTP/1" + b"1" * 90 + b".1", b"HTTP/0.99",
                      b"HTTP/0.9", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ")),
    *(_refused(f"target {target!a}", get(target))
      for target in (b"s://]ufd/:", b"*", b"x.example:443", b"a/b", b"/\xc3\xa9", b"/a\x7f",
                     b"/a b")),
    _refused("a line that is too long", get(b"/" + b"a" * 8190)),
]
_REFUSED_FIELDS = [
    *(_refused(f"field {field!a}", get(fields=field + b"\r\n"))
      for field in (b"ba\0z: bar", b"Content-Length : 3", b"Content-Length\t: 3", b"\xdf: 3",
                    b": x", b"chunked", b"X: a\r\n b", b"X: a\nb", b"X: a\rb", b"X: a\0b",
                    b"X: a\x07b", b"X: a\x7fb", b"Host: x\r\nHost: y",
                    b"Content-Type: a/b\r\nContent-Type: c/d",
                    b"Expect: 200-ok", b"X: " + b"y" * 8190)),
    _refused("101 fields", get(fields=b"X: y\r\n" * 101)),
    *(_refused(f"length {length!a}", post(b"Content-Length: " + length + b"\r\n", b"xyz"))
      for length in (b"-1", b"-0", b"+1", b"0_1", b"0 1", b"3 1", b"3, 3", b"bla", b"0x3", b"",
                     b"\xb2", b"3\r\nContent-Length: 3", b"3\r\nContent-Length: 2")),
    *(_refused(f"coding {coding!a}", chunks(b"5\r\nhello\r\n0\r\n\r\n", coding + b"\r\n"))
      for coding in (b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip",
                     b"Transfer-Encoding: xchunked", b"Transfer-Encoding: ",
                     b"Transfer-Encoding: identity\r\nContent-Length: 5",
                     b"Transfer-Encoding: chunked\r\nContent-Length: 5",
                     b"Content-Length: 5\r\nTransfer-Encoding: \tchunked",
                     b"Transfer-Encoding: identity, chunked, identity, chunked",
                     b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                     b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
                     b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
    _refused("chunks in HTTP/1.0", post(CHUNKED, b"0\r\n\r\n", b"HTTP/1.0")),
    _refused("no HTTP after a request", get() + b"hello\r\n", b"GET / "),
]
_REFUSED_BODIES = [
    _refused("half a chunk", chunks(b"5\r\nhell"), cut_off=True),
    _refused("no last chunk", chunks(b"5\r\nhello\r\n"), cut_off=True),
    _refused("no end of the trailers", chunks(b"5\r\nhello\r\n0\r\n"), cut_off=True),
    *(_refused(f"size {size!a}", chunks(b"5\r\nhello\r\n" + size + b"\r\nhello\r\n0\r\n\r\n"))
      for size in (b"6_0", b"5 ", b" 5", b"-5", b"+5", b"0x5", b"x", b"", b"\xb2", b"5\n;",
                   b" ;foo=bar", b"5;a=b\rc", b"5;\0", b"5;a\nb", b'5;a="', b"0" * 9000)),
    _refused("a chunk that is too long", chunks(b"5\r\nhello!\r\n0\r\n\r\n")),
    _refused("a chunk that ends in bare LF", chunks(b"5\r\nhello\n0\r\n\r\n")),
    _refused("bare LF between chunks", chunks(b"5\nhello\n0\n\n")),
    *(_refused(f"trailer {trailer!a}", chunks(b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n"))
      for trailer in (b"Content-Length: 9", b"Host: y", b"Transfer-Encoding: chunked", b"chunked",
                      b"X: a\nb")),
]
# fmt: on
CASES = (
    *_VALID_HEADS,
    *_VALID_BODIES,
    *_VALID_PAIRS,
    *_REFUSED_LINES,
    *_REFUSED_FIELDS,
    *_REFUSED_BODIES,
)
