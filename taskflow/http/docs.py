"""The OpenAPI document, and the interactive page on /docs.

The page is Swagger UI from the files of flask-swagger-ui. It loads nothing from other hosts. Its
script is a separate file, so that the page's policy can forbid all other scripts.
"""

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, redirect, request, send_from_directory
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from taskflow.errors import ServiceError, http_error_response
from taskflow.http.answers import json_response
from taskflow.http.routing import declare

PAGES = Path(__file__).parent / "pages"
SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
ASSETS = {
    "page.css": PAGES,
    "page.js": PAGES,
    "swagger-ui.css": SWAGGER_UI,
    "swagger-ui-bundle.js": SWAGGER_UI,
    "favicon-32x32.png": SWAGGER_UI,
}
POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline';"
    " object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def create_blueprint(document: str) -> Blueprint:
    """Create the routes that serve the document and the page."""
    blueprint = Blueprint("docs", __name__)
    page = (PAGES / "page.html").read_text()

    @blueprint.get("/openapi.json")
    @declare(public=True)
    def get_document() -> Response:
        """Return the OpenAPI document."""
        return json_response(document)

    @blueprint.get("/docs")
    @declare(public=True)
    def get_page() -> Response:
        """Return the page, with a policy that allows only files of this service."""
        response = Response(page, mimetype="text/html")
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @blueprint.get("/docs/<name>")
    @declare(public=True)
    def get_asset(name: str) -> Response:
        """Return a file of the page; raises `ServiceError` `not_found`."""
        if name not in ASSETS:
            raise ServiceError("not_found")
        return send_from_directory(ASSETS[name], name)

    blueprint.app_errorhandler(NotFound)(lead_browser_to_page)
    return blueprint


def lead_browser_to_page(error: NotFound) -> ResponseReturnValue:
    """Redirect a browser from `/` to the page; other unknown paths remain errors."""
    wanted = request.accept_mimetypes.best_match(["application/json", "text/html"])
    if (request.method, request.path, wanted) == ("GET", "/", "text/html"):
        return redirect("/docs")
    return http_error_response(error)
