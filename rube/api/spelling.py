"""Suggestions for unknown words."""

from __future__ import annotations

from collections.abc import Iterable

_LISTED_MAX = 40
# The search for similar words takes more than the square of the length.
_WORD_CHARS_MAX = 200
_SHOWN_CHARS_MAX = 100


def quoted(word: str) -> str:
    """Returns the word in quotes, cut if it is very long, for an error that says more than the word."""
    return repr(word) if len(word) <= _SHOWN_CHARS_MAX else f"{word[:_SHOWN_CHARS_MAX]!r}… ({len(word)} characters)"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Returns the remedy for an error about `word`: `did you mean 'x'?` if a known word is similar, otherwise every
    known word."""
    import difflib  # only needed once something is wrong

    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6) if len(word) <= _WORD_CHARS_MAX else []
    if near:
        return f"did you mean {near[0]!r}?"
    by_folded = {candidate.lower(): candidate for candidate in words}
    if word.lower() in by_folded:
        return f"did you mean {by_folded[word.lower()]!r}?"
    listed = ", ".join(words[:_LISTED_MAX]) + (", …" if len(words) > _LISTED_MAX else "")
    return f"known: {listed}" if words else "there is none"
