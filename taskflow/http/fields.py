"""Field types that refuse what PostgreSQL can't store, for bodies and query parameters."""

import re
from datetime import UTC, date, datetime, time
from typing import Any

from marshmallow import fields

FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2999, 12, 31)

# RFC 3339 section 5.6. Python's fromisoformat() also accepts week dates and more.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(\.[0-9]{1,9})?([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)


class Text(fields.String):
    """A string of `least` to `most` code points without NUL and lone surrogates.

    With `trim`, white space at both ends is removed first.
    """

    default_error_messages = {
        "unicode": "Must not contain NUL or lone surrogates.",
        "length": "Must have {least} to {most} characters.",
    }

    def __init__(self, least: int, most: int, trim: bool = False, **kwargs: Any) -> None:
        pattern = r"^[^\u0000]*\S[^\u0000]*$" if trim else r"^[^\u0000]*$"
        schema = {"minLength": least, "maxLength": most, "pattern": pattern}
        kwargs["metadata"] = schema | kwargs.pop("metadata", {})
        super().__init__(**kwargs)
        self.least, self.most, self.trim = least, most, trim

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self.make_error("unicode") from None
        if "\0" in text:
            raise self.make_error("unicode")
        if self.trim:
            text = text.strip()
        if not self.least <= len(text) <= self.most:
            raise self.make_error("length", least=self.least, most=self.most)
        return text


class DayOrInstant(fields.Field[datetime | date]):
    """A plain day as a `date`, or an RFC 3339 instant as a `datetime` in UTC.

    Both must lie from 1970 to 2999 in UTC. Python ends at the year 9999, and an offset may cross
    that.
    """

    default_error_messages = {
        "invalid": "Must be a day (2026-12-01) or an instant with an offset (RFC 3339).",
        "range": "Must lie in the years 1970 to 2999 in UTC.",
    }

    def __init__(self, **kwargs: Any) -> None:
        schema = {"type": "string", "pattern": f"^({_DAY.pattern}|{_INSTANT.pattern})$"}
        kwargs["metadata"] = schema | kwargs.pop("metadata", {})
        super().__init__(**kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Any, **kwargs: Any
    ) -> datetime | date:
        try:
            parsed = _parse(value)
        except (TypeError, ValueError):
            raise self.make_error("invalid") from None
        except OverflowError:
            raise self.make_error("range") from None
        day = parsed.date() if isinstance(parsed, datetime) else parsed
        if not FIRST_DAY <= day <= LAST_DAY:
            raise self.make_error("range")
        return parsed


def _parse(value: Any) -> datetime | date:
    if _DAY.fullmatch(value):
        return date.fromisoformat(value)
    match = _INSTANT.fullmatch(value)
    if match is None:
        raise ValueError
    day, clock, fraction, offset = match.groups()
    # PostgreSQL and Python keep microseconds; further digits are cut off.
    text = f"{day}T{clock}{(fraction or '')[:7]}{offset.upper()}"
    return datetime.fromisoformat(text).astimezone(UTC)


def end_of_day(day: date) -> datetime:
    """Return the last microsecond of a day in UTC."""
    return datetime.combine(day, time.max, UTC)


def start_of_day(day: date) -> datetime:
    """Return the first microsecond of a day in UTC."""
    return datetime.combine(day, time.min, UTC)


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID as RFC 9562 writes it; PostgreSQL accepts more forms."""
    return _UUID.fullmatch(text) is not None
