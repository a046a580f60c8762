"""The words of a text, for storing with a task and for searching.

Python computes the words, so that a search finds the same tasks on every database, whatever the
database's locale.
"""

import unicodedata
from functools import lru_cache

# Separators, control characters, punctuation, and symbols other than emoji separate words.
_SEPARATORS = frozenset(
    {"Zs", "Zl", "Zp", "Cc", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sc", "Sk", "Sm"}
)


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    return " " if unicodedata.category(character) in _SEPARATORS else character


def words_of(text: str) -> list[str]:
    """Return the words of a text in a canonical form without regard to case.

    Texts that are canonically equivalent (Unicode 3.13, D145) have the same words.
    """
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    canonical = unicodedata.normalize("NFC", folded)
    if canonical.isascii():
        return canonical.translate(_ASCII).split()
    return "".join(map(_fold, canonical)).split()


_ASCII = {code: _fold(chr(code)) for code in range(128)}


def stored_words(text: str | None) -> str:
    """Return the words of a text as they are stored: each of them after a space."""
    return "".join(f" {word}" for word in words_of(text or ""))


def search_patterns(text: str) -> list[str]:
    """Return a LIKE pattern for each word of a search; the beginning of a word is enough.

    Words hold no character that LIKE treats specially, because those are punctuation.
    """
    return [f"% {word}%" for word in words_of(text)]
