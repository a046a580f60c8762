"""The base of the schemas that requests are validated against."""

from marshmallow import RAISE, Schema


class InputSchema(Schema):
    """A schema that refuses unknown fields, and says so in the OpenAPI document."""

    class Meta:
        """Refuse unknown fields."""

        unknown = RAISE
