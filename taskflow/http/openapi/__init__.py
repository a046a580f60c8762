"""The OpenAPI document: flask-smorest's settings, and the names of its schemas.

flask-smorest documents schemas, parameters and answers. `operations.py` adds what follows from the
declarations of the routes, and `components.py` has the parts that operations share.
"""

from collections.abc import Iterable
from typing import Any

import flask_smorest
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin, resolver
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask
from marshmallow import Schema, fields

from taskflow.config import VERSION, Config
from taskflow.http.answers import compact_json
from taskflow.http.fields import Choice
from taskflow.http.openapi import components
from taskflow.http.openapi.operations import DeclarationPlugin

_DESCRIPTION = """Accounts, sessions and tasks of a task manager.

Every error has the same format and one of the codes that the schema `ErrorCode` explains. An
operation lists its codes as `x-error-codes`.
"""


class Api(flask_smorest.Api):
    """flask-smorest's API without its own error responses."""

    ERROR_SCHEMA = components.ErrorResponseSchema
    DEFAULT_ERROR_RESPONSE_NAME = None


def settings(config: Config) -> dict[str, Any]:
    """Return flask-smorest's settings."""
    return {
        "API_TITLE": "TaskFlow",
        "API_VERSION": VERSION,
        "OPENAPI_VERSION": "3.1.0",
        "API_SPEC_OPTIONS": {
            "info": {
                "description": _DESCRIPTION,
                "contact": {"name": "the TaskFlow authors"},
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": "/", "description": "The host that serves this document."}],
            "security": [{"bearerAuth": []}, {"cookieAuth": []}],
            "components": {"securitySchemes": components.security_schemes(config.cookie_names)},
        },
    }


def register(app: Flask, blueprints: Iterable[flask_smorest.Blueprint]) -> str:
    """Register the blueprints and return the OpenAPI document as JSON text."""
    plugins = {"marshmallow_plugin": SchemaPlugin(), "extra_plugins": [DeclarationPlugin(app)]}
    api = Api(app, spec_kwargs=plugins)
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    return compact_json(api.spec.to_dict())


class SchemaPlugin(MarshmallowPlugin):
    """apispec's plugin for marshmallow, which makes a named component of each `Choice`."""

    def __init__(self) -> None:
        super().__init__(schema_name_resolver=_schema_name)

    def init_spec(self, spec: APISpec) -> None:
        """Prepare the conversion of schemas, and register the errors."""
        super().init_spec(spec)
        if self.converter:
            self.converter.add_attribute_function(  # type: ignore[no-untyped-call]
                _refer_to_choice
            )
        components.register_errors(spec)


def _schema_name(schema: type[Schema]) -> str:
    name = resolver(schema)
    # flask-smorest would add its own pagination, which no route uses. Without a name, a schema does
    # not become a component.
    return "" if name == "PaginationMetadata" else name


def _refer_to_choice(
    converter: OpenAPIConverter, field: fields.Field[Any], ret: dict[str, Any]
) -> dict[str, str]:
    """Replace type and values by a reference to a component, which the first use registers."""
    if not isinstance(field, Choice):
        return {}
    values = {"type": ret.pop("type"), "enum": ret.pop("enum")}
    if field.component not in converter.spec.components.schemas:
        converter.spec.components.schema(field.component, values)
    return {"$ref": f"#/components/schemas/{field.component}"}
