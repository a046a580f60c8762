"""The OpenAPI document, and the interactive page on /docs.

The page is Swagger UI from the files of flask-swagger-ui. It loads nothing from other hosts, and
its script is a file of its own, so that its policy can forbid all others.
"""

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, send_from_directory

from taskflow.errors import ServiceError
from taskflow.http.answers import json_response
from taskflow.http.routing import declare

FILES = Path(flask_swagger_ui.__file__).parent / "dist"
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline';"
    " object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="referrer" content="no-referrer">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>TaskFlow API</title>
  <link rel="icon" href="/docs/favicon-32x32.png">
  <link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
  <div id="api"></div>
  <script src="/docs/swagger-ui-bundle.js"></script>
  <script src="/docs/page.js"></script>
</body>
</html>
"""
SCRIPT = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
"""


def create_blueprint(document: str) -> Blueprint:
    """Create the routes that serve the document and the page."""
    blueprint = Blueprint("docs", __name__)

    @blueprint.get("/openapi.json")
    @declare(public=True)
    def get_document() -> Response:
        return json_response(document)

    @blueprint.get("/docs")
    @declare(public=True)
    def get_page() -> Response:
        response = Response(PAGE, mimetype="text/html")
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @blueprint.get("/docs/page.js")
    @declare(public=True)
    def get_script() -> Response:
        return Response(SCRIPT, mimetype="text/javascript")

    @blueprint.get("/docs/<name>")
    @declare(public=True)
    def get_asset(name: str) -> Response:
        if name not in ASSETS:
            raise ServiceError("not_found")
        return send_from_directory(FILES, name)

    return blueprint
