"""Strict input: a body, a query parameter or a field is understood or refused, never ignored."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import marshmallow
from flask import Request
from marshmallow import fields
from marshmallow.exceptions import SCHEMA
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from taskflow.errors import ServiceError

MAX_BODY = 1024 * 1024  # bytes
_JSON_TYPES = ("application/json", "application/merge-patch+json")


def read_body(request: Request) -> bytes:
    """Return the body; raises `ServiceError` `payload_too_large` or `invalid_json`."""
    # Werkzeug can't tell a chunked body of exactly its limit from a longer one.
    request.max_content_length = MAX_BODY + 1
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        raise ServiceError("payload_too_large") from None
    except Exception:  # the server's own errors: a broken chunk, a client that hung up
        raise ServiceError("invalid_json") from None
    if len(body) > MAX_BODY:
        raise ServiceError("payload_too_large")
    return body


def load_json_object(request: Request) -> dict[str, Any]:
    """Parse the body as one JSON object (RFC 8259), without duplicate keys and constants.

    Raises `ServiceError` `payload_too_large`, `unsupported_media_type` or `invalid_json`.
    """
    body = read_body(request)
    if request.mimetype not in _JSON_TYPES:
        raise ServiceError("unsupported_media_type")
    try:
        value = _decode(body.decode("utf-8"))
    except (ValueError, RecursionError):  # ValueError also for numbers of thousands of digits
        raise ServiceError("invalid_json") from None
    if not isinstance(value, dict):
        raise ServiceError("invalid_json")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


# json.loads() would make a new decoder for every body.
_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant).decode


def query_pairs(request: Request) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the query string.

    Raises `ServiceError` `validation_error` for a value that is not UTF-8.
    """
    # Latin-1 carries the bytes through the parser, which would replace broken UTF-8.
    raw = request.query_string.decode("latin-1")
    for name_bytes, value_bytes in parse_qsl(raw, keep_blank_values=True, encoding="latin-1"):
        name = name_bytes.encode("latin-1").decode(errors="replace")
        try:
            yield name, value_bytes.encode("latin-1").decode()
        except UnicodeDecodeError:
            raise ServiceError("validation_error", [(name, "Must be UTF-8.")]) from None


def load_query(request: Request, lists: Iterable[str] = ()) -> dict[str, str | list[str]]:
    """Parse the query string; a parameter may be repeated only if `lists` names it.

    Raises `ServiceError` `validation_error`.
    """
    values: dict[str, list[str]] = {}
    for name, value in query_pairs(request):
        values.setdefault(name, []).append(value)
        if len(values[name]) > 1 and name not in lists:
            raise ServiceError("validation_error", [(name, "Must not be repeated.")])
    return {name: found if name in lists else found[0] for name, found in values.items()}


def refuse_query(request: Request) -> None:
    """Raise `ServiceError` `validation_error` if the request has query parameters."""
    if request.query_string:
        _refuse_names(load_query(request))


def refuse_body(request: Request) -> None:
    """Raise `ServiceError` if the request has a body with fields in it.

    An empty body and an empty object are accepted, because some clients always send one.
    """
    has_length = "CONTENT_LENGTH" in request.environ
    if (has_length or request.headers.get("Transfer-Encoding")) and read_body(request):
        _refuse_names(load_json_object(request))


def _refuse_names(names: Iterable[str]) -> None:
    details = [(name, "Unknown field.") for name in names]
    if details:
        raise ServiceError("validation_error", details)


class StrictParser(FlaskParser):
    """A webargs parser that refuses content types, duplicates and fields which webargs ignores."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION = {"json": marshmallow.RAISE, "query": marshmallow.RAISE}

    def load_json(self, req: Request, schema: marshmallow.Schema) -> dict[str, Any]:
        """Return the body's object; raises as `load_json_object` does."""
        return load_json_object(req)

    def load_querystring(
        self, req: Request, schema: marshmallow.Schema
    ) -> Mapping[str, str | list[str]]:
        """Return the query parameters; raises as `load_query` does."""
        lists = [name for name, field in schema.fields.items() if isinstance(field, fields.List)]
        return load_query(req, lists)

    def handle_error(
        self, error: marshmallow.ValidationError, *_args: Any, **_kwargs: Any
    ) -> NoReturn:
        """Raise `ServiceError` `validation_error` with a detail for every broken rule."""
        [(location, messages)] = error.messages_dict.items()
        details = [
            # A query parameter is named as the client wrote it, without a position in its list.
            (name if location == "query" else path, message)
            for name, nested in messages.items()
            for path, message in _flatten(nested, name)
        ]
        raise ServiceError("validation_error", details) from error


def _flatten(messages: Any, path: str) -> Iterator[tuple[str, str]]:
    """Turn marshmallow's nested messages into (dotted field, message) pairs."""
    if isinstance(messages, dict):
        for key, nested in messages.items():
            # The key SCHEMA stands for a list's item that is not an object.
            yield from _flatten(nested, path if key == SCHEMA else f"{path}.{key}")
    else:
        for message in messages:
            yield path, str(message)
