"""The OpenAPI document's operations, and validation against it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from werkzeug.test import TestResponse

METHODS = {"get", "post", "put", "patch", "delete"}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and description of every operation."""
    for path, item in document["paths"].items():
        for method in METHODS & set(item):
            yield path, method, item[method]


def validate(document: dict[str, Any], value: Any, *place: str) -> None:
    """Assert that a value is valid by the schema at a place of the document."""
    resource = Resource.from_contents(document, default_specification=DRAFT202012)
    registry = Registry().with_resource("urn:api", resource)
    pointer = "/".join(part.replace("~", "~0").replace("/", "~1") for part in place)
    jsonschema.Draft202012Validator(
        {"$ref": f"urn:api#/{quote(pointer)}"},
        registry=registry,
        format_checker=jsonschema.FormatChecker(),
    ).validate(value)


def matches(document: dict[str, Any], path: str, response: TestResponse) -> None:
    """Assert that an answer is documented for its path, method and status."""
    method, status = response.request.method.lower(), str(response.status_code)
    content = document["paths"][path][method]["responses"][status].get("content", {})
    assert set(content) == ({response.mimetype} if response.data else set())
    if response.is_json:
        place = ("paths", path, method, "responses", status, "content", response.mimetype)
        validate(document, response.json, *place, "schema")
