"""What a request may hold, and how an answer is made: JSON in, JSON out, nothing ignored.

A body or a query parameter is understood or refused. Nothing here knows a route.
"""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl

import marshmallow
from flask import Request, Response, request
from marshmallow import fields
from webargs.flaskparser import FlaskParser

from taskflow.errors import ServiceError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MAX_BODY = 1024 * 1024  # bytes
_JSON_TYPES = ("application/json", "application/merge-patch+json")


class JSONResponse(Response):
    """An answer of JSON text, complete as it is: Werkzeug would copy it to look what is missing."""

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Give the answer to the server."""
        start_response(self.status, self.headers.to_wsgi_list())
        body: list[bytes] = self.response  # type: ignore[assignment]
        return () if environ["REQUEST_METHOD"] == "HEAD" else body


def json_response(text: str, status: int = 200, **headers: str) -> Response:
    """Answer with JSON text; a header's name is written with `_` for `-`."""
    response = JSONResponse(text, status, content_type="application/json")
    for name, value in headers.items():
        response.headers.add(name.replace("_", "-"), value)
    return response


def no_content() -> Response:
    """Answer 204, with neither a body nor its type."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def read_body(request: Request) -> bytes:
    """Give the body; raises `ServiceError` `payload_too_large` or `invalid_json`.

    From the server itself: Werkzeug's streams around it cost more than parsing a task.
    """
    length = request.content_length  # None where the body comes in chunks, or there is none
    if length is None and "wsgi.input_terminated" not in request.environ:
        return b""
    if length is not None and length > MAX_BODY:
        raise ServiceError("payload_too_large")
    try:
        body: bytes = request.environ["wsgi.input"].read(MAX_BODY + 1 if length is None else length)
    except Exception:  # of the server's own: a bad chunk, a client that fell silent
        raise ServiceError("invalid_json") from None
    if len(body) > MAX_BODY:
        raise ServiceError("payload_too_large")
    if len(body) != (length or len(body)):  # the client hung up
        raise ServiceError("invalid_json")
    return body


def load_json_object(request: Request) -> dict[str, Any]:
    """Parse the body as one JSON object (RFC 8259), strictly; once, who asks again gets the same.

    Raises `ServiceError` `payload_too_large`, `unsupported_media_type` or `invalid_json`.
    """
    value: dict[str, Any] | None = request.environ.get("taskflow.json_object")
    if value is None:
        value = _parse_object(request, read_body(request))
        request.environ["taskflow.json_object"] = value
    return value


def _parse_object(request: Request, body: bytes) -> dict[str, Any]:
    media_type = request.environ.get("CONTENT_TYPE", "").partition(";")[0]
    if media_type.strip().lower() not in _JSON_TYPES:
        raise ServiceError("unsupported_media_type")
    try:
        text = body.decode("utf-8")
        value = _decode(text)
    except (ValueError, RecursionError):  # also numbers of thousands of digits
        raise ServiceError("invalid_json") from None
    if not isinstance(value, dict):
        raise ServiceError("invalid_json")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is named twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


# Made once: json.loads() would make one for every body.
_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant).decode


def load_query(request: Request, lists: Iterable[str] = ()) -> dict[str, str | list[str]]:
    """Parse the query string; a parameter may stand twice only where it is one of `lists`.

    Raises `ServiceError` `validation_error`.
    """
    values: dict[str, list[str]] = {}
    # Latin-1 carries the bytes through the parser, which would replace broken UTF-8.
    raw = request.query_string.decode("latin-1")
    for name_bytes, value_bytes in parse_qsl(raw, keep_blank_values=True, encoding="latin-1"):
        name = name_bytes.encode("latin-1").decode(errors="replace")
        try:
            values.setdefault(name, []).append(value_bytes.encode("latin-1").decode())
        except UnicodeDecodeError:
            raise ServiceError("validation_error", [(name, "Must be UTF-8.")]) from None
        if len(values[name]) > 1 and name not in lists:
            raise ServiceError("validation_error", [(name, "May stand only once.")])
    return {name: found if name in lists else found[0] for name, found in values.items()}


def refuse_query(request: Request) -> None:
    """Refuse query parameters; raises `ServiceError` `validation_error`."""
    if request.query_string:
        _refuse_names(load_query(request))


def refuse_body(request: Request) -> None:
    """Refuse a body with fields in it; raises `ServiceError`.

    An empty body and an empty object are fine: some clients always send one.
    """
    if "CONTENT_LENGTH" in request.environ or "HTTP_TRANSFER_ENCODING" in request.environ:
        body = read_body(request)
        if body:
            _refuse_names(_parse_object(request, body))


def _refuse_names(names: Iterable[str]) -> None:
    details = [(name, "Unknown field.") for name in names]
    if details:
        raise ServiceError("validation_error", details)


def _flatten(messages: Any, path: str) -> Iterator[tuple[str, str]]:
    """Turn marshmallow's nested messages into (dotted field, message) pairs."""
    if isinstance(messages, dict):
        for key, nested in messages.items():
            yield from _flatten(nested, f"{path}.{key}")
    else:
        for message in messages:
            yield path, str(message)


class StrictParser(FlaskParser):
    """webargs, refusing what it would ignore: content types, duplicates, unknown parameters."""

    def parse(
        self,
        argmap: Any,
        req: Request | None = None,
        *,
        location: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Give what a schema makes of the body's object, or of the query parameters.

        In place of the library's own, which asks at each request what never changes. Raises
        `ServiceError`, for `validation_error` with every rule that was broken.
        """
        current = request._get_current_object()  # type: ignore[attr-defined]
        data: dict[str, Any]
        if location == "query":
            lists = [n for n, field in argmap.fields.items() if isinstance(field, fields.List)]
            data = load_query(current, lists)
        else:
            data = load_json_object(current)
        try:
            return argmap.load(data, unknown=marshmallow.RAISE)  # type: ignore[no-any-return]
        except marshmallow.ValidationError as error:
            details = [
                # A query parameter is named as the client wrote it, without the position in it.
                (name if location == "query" else path, message)
                for name, messages in error.messages_dict.items()
                for path, message in _flatten(messages, name)
            ]
            raise ServiceError("validation_error", details) from error
