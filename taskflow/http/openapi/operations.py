"""An apispec plugin that completes each operation with the declaration of its route.

The plugin adds the operation's name, authentication, errors, and the headers of every answer.
Headers, and the parameters in headers and paths, become components, because many operations share
them.
"""

from typing import Any

from apispec import APISpec, BasePlugin
from flask import Flask

from taskflow.errors import CATALOG
from taskflow.http.openapi.components import CORRELATION_ID, CSRF_TOKEN, RATE_LIMIT, response_name
from taskflow.http.routing import Declaration, declaration_of

Operation = dict[str, Any]

_ANY_ROUTE = (
    "validation_error",
    "invalid_json",
    "request_timeout",
    "payload_too_large",
    "unsupported_media_type",
    "internal_error",
)
_DATABASE = ("database_unavailable", "pool_exhausted", "query_timeout")
_PROTECTED = ("auth_missing", "auth_invalid", "auth_expired")


class DeclarationPlugin(BasePlugin):
    """Complete the operations of an application's routes."""

    def __init__(self, app: Flask) -> None:
        self._views = app.view_functions

    def init_spec(self, spec: APISpec) -> None:
        """Keep the components of the document."""
        self._components = spec.components

    def path_helper(
        self,
        path: str | None = None,
        operations: dict[str, Operation] | None = None,
        parameters: list[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Turn the parameters of a path into components."""
        if parameters:
            parameters[:] = map(self._share_parameter, parameters)

    def operation_helper(
        self,
        path: str | None = None,
        operations: dict[str, Operation] | None = None,
        **kwargs: Any,
    ) -> None:
        """Complete the operations of a route; flask-smorest passes the `rule`."""
        endpoint = kwargs["rule"].endpoint
        declaration = declaration_of(self._views[endpoint])
        for method, operation in (operations or {}).items():
            operation["operationId"] = _camel_case(endpoint.rpartition(".")[2])
            operation["summary"] = operation.get("summary", "").rstrip(".")
            if declaration.public:
                operation.setdefault("security", [])
            operation["x-error-codes"] = _error_codes(operation, method, declaration)
            self._complete_parameters(operation)
            self._complete_responses(operation, declaration)

    def _complete_parameters(self, operation: Operation) -> None:
        # flask-smorest would replace the parameters of a view's query by the view's own.
        parameters = [*operation.get("parameters", ()), *operation.pop("headers", ())]
        if "csrf_failed" in operation["x-error-codes"]:
            parameters.append(CSRF_TOKEN)
        if parameters:
            operation["parameters"] = list(map(self._share_parameter, parameters))

    def _complete_responses(self, operation: Operation, declaration: Declaration) -> None:
        common = {**CORRELATION_ID, **(RATE_LIMIT if declaration.budget else {})}
        responses = {int(status): answer for status, answer in operation["responses"].items()}
        for code in operation["x-error-codes"]:
            status = CATALOG[code].status
            responses[status.value] = response_name(status)
        for answer in responses.values():
            if isinstance(answer, dict):
                headers = {**answer.get("headers", {}), **common}
                answer["headers"] = {n: self._share_header(n, h) for n, h in headers.items()}
        operation["responses"] = dict(sorted(responses.items()))

    def _share_parameter(self, parameter: Any) -> Any:
        """Return the name of the component that a parameter has become, or the parameter.

        A parameter of a query remains as it is, as does one that differs from the component of the
        same name.
        """
        name, shared = parameter["name"], self._components.parameters
        if parameter["in"] not in ("header", "path"):
            return parameter
        if name not in shared:
            self._components.parameter(name, parameter["in"], parameter)
        return name if shared[name] == parameter else parameter

    def _share_header(self, name: str, header: dict[str, Any]) -> Any:
        """Return the name of the component that a header has become, or the header.

        A header that differs from the component of the same name remains as it is.
        """
        shared = self._components.headers
        if name not in shared:
            self._components.header(name, header)
        return name if shared[name] == header else header


def _error_codes(operation: Operation, method: str, declaration: Declaration) -> list[str]:
    """Return the codes that an operation may answer with, in the catalog's order."""
    codes = {*_ANY_ROUTE, *declaration.errors}
    if declaration.database:
        codes.update(_DATABASE)
    if declaration.budget:
        codes.add("rate_limited")
    if operation.get("security") != []:  # public routes may look for a token themselves
        codes.update(_PROTECTED)
        if method not in ("get", "head"):
            codes.add("csrf_failed")
    return [code for code in CATALOG if code in codes]


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
