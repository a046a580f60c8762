"""Field types that refuse what PostgreSQL can't store, for bodies and query parameters."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any

from marshmallow import fields, validate

FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2999, 12, 31)

# RFC 3339 section 5.6. Python's fromisoformat() also accepts week dates and more.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(\.[0-9]{1,9})?([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)

# The characters that str.strip() removes. The \s of a regular expression differs by language.
_SPACE = r"\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


class Choice(fields.String):
    """One of some strings; `component` names them in the OpenAPI document."""

    def __init__(self, component: str, choices: Iterable[str], **kwargs: Any) -> None:
        super().__init__(validate=validate.OneOf(tuple(choices)), **kwargs)
        self.component = component


class Text(fields.String):
    """A string of `least` to `most` code points without NUL and lone surrogates.

    With `trim`, white space at both ends is removed first. The OpenAPI document then expresses
    `most` in the pattern, because the text that is sent may be longer.
    """

    default_error_messages = {
        "unicode": "Must not contain NUL or lone surrogates.",
        "length": "Must have {least} to {most} characters.",
    }

    def __init__(self, least: int, most: int, trim: bool = False, **kwargs: Any) -> None:
        schema = _trimmed(least, most) if trim else _plain(least, most)
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


def _plain(least: int, most: int) -> dict[str, Any]:
    return {"minLength": least, "maxLength": most, "pattern": r"^[^\x00]*$"}


def _trimmed(least: int, most: int) -> dict[str, Any]:
    """Describe a text of at least one character, whose length excludes white space at both ends."""
    edge = rf"[^\x00{_SPACE}]"
    rest = rf"([^\x00]{{{max(least - 2, 0)},{most - 2}}}{edge}){'?' if least == 1 else ''}"
    return {
        "minLength": least,
        "pattern": f"^[{_SPACE}]*{edge}{rest}[{_SPACE}]*$",
        "description": f"{least} to {most} characters after white space at both ends is cut off.",
    }


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
