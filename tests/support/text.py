"""Comparison of texts with values that differ from run to run."""

import re

CHANGING = (
    (r"eyJ[\w.-]+|eyJ…", "TOKEN"),
    (r'"csrfToken":"[\w-]+"', '"csrfToken":"…"'),
    (r'"nextSince":"[^"]+"', '"nextSince":"…"'),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "TIME"),
    (r'"latencyMs":[\d.]+', '"latencyMs":0'),
    (r"\s+", " "),
)


def same(text: str) -> str:
    """Replace the values of a text that differ from run to run."""
    for pattern, replacement in CHANGING:
        text = re.sub(pattern, replacement, text)
    return text.strip()
