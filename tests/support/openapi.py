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


def follow(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Return the component that an object refers to, or the object if it is not a reference."""
    while "$ref" in node:
        kind, name = node["$ref"].removeprefix("#/components/").split("/")
        node = document["components"][kind][name]
    return node


def parameters_of(document: dict[str, Any], path: str, method: str) -> list[dict[str, Any]]:
    """Return the parameters of an operation and of its path."""
    item = document["paths"][path]
    found = [*item.get("parameters", []), *item[method].get("parameters", [])]
    return [follow(document, parameter) for parameter in found]


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
    operation = document["paths"][path][method]
    described = operation["responses"][status]
    content = follow(document, described).get("content", {})
    assert set(content) == ({response.mimetype} if response.data else set())
    if response.is_json:
        validate_content(document, response.json, content[response.mimetype])
        if response.status_code >= 400 and "error" in response.json:
            assert response.json["error"]["code"] in operation["x-error-codes"]


def validate_content(document: dict[str, Any], value: Any, content: dict[str, Any]) -> None:
    """Assert that a value matches the schema of a media type object."""
    validate({**document, "x-schema": content["schema"]}, value, "x-schema")
