"""Routes declare their own rules: authentication, input, rate limit and errors.

A route that declares nothing is protected, has no body and no query, and spends the budget of
requests. `hooks.before` enforces the declaration, and the OpenAPI document shows it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import flask_smorest
import marshmallow
from flask import Request, current_app
from werkzeug.routing import UnicodeConverter

from taskflow.http.parsing import StrictParser

View = Callable[..., Any]
BudgetName = Literal["requests", "passwords"]


@dataclass(frozen=True)
class Declaration:
    """The rules that a route declares.

    `budget` is the rate limit that a request counts against, or None. `database` says whether the
    view queries the database. `errors` are the codes that the route may answer with, besides those
    that are possible on every route.
    """

    public: bool = False
    budget: BudgetName | None = "requests"
    database: bool = True
    takes: frozenset[str] = frozenset()  # of "json" and "query"
    errors: tuple[str, ...] = ()


def declaration_of(view: View) -> Declaration:
    """Return the rules that a view declares, or the defaults."""
    return getattr(view, "declaration", Declaration())


def declare(**changes: Any) -> Callable[[View], View]:
    """Declare the rules of a route; the keywords are the fields of `Declaration`."""

    def decorator(view: View) -> View:
        view.declaration = replace(declaration_of(view), **changes)  # type: ignore[attr-defined]
        return view

    return decorator


def declared(request: Request) -> Declaration:
    """Return the rules of a request's route."""
    return declaration_of(current_app.view_functions[request.endpoint or ""])


class PathParameter(UnicodeConverter):
    """A path segment that is not the name of a sibling route: that route answers with 405."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.regex = f"(?!(?:batch|changes|summary)$){self.regex}"


class Blueprint(flask_smorest.Blueprint):
    """flask-smorest's blueprint, whose routes declare their rules."""

    ARGUMENTS_PARSER = StrictParser()

    def route(
        self,
        rule: str,
        *,
        public: bool = False,
        budget: BudgetName | None = "requests",
        database: bool = True,
        errors: tuple[str, ...] = (),
        **options: Any,
    ) -> Callable[[View], View]:
        """Register a view with its declaration; see `Declaration`."""
        register = super().route(rule, **options)
        facts = declare(public=public, budget=budget, database=database, errors=errors)
        return lambda view: register(facts(view))

    def arguments(
        self, schema: type[marshmallow.Schema], *, location: str = "json", **kwargs: Any
    ) -> Callable[[View], View]:
        """Validate the JSON body or the query string against a schema, and declare it.

        The schema is instantiated once; webargs would do so for every request.
        """
        parse = super().arguments(schema(), location=location, **kwargs)
        facts = declare(takes=frozenset({location}))
        return lambda view: facts(parse(view))
