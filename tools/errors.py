"""The errors that a user reads: one sentence saying what was wrong, where, and what to do."""

import difflib
from collections.abc import Iterable


class LoupeError(Exception):
    """Something a user can put right.

    Args:
        message: what was wrong and where, one clause, no final full stop.
        remedy: what to do about it, an imperative clause.
        field: the request field, command option or profile key at fault, if one is.
    """

    #: HTTP status that the API answers with.
    status = 400
    #: Exit status of the command line.
    exit_code = 2

    def __init__(self, message: str, *, remedy: str, field: str | None = None) -> None:
        super().__init__(message, remedy, field)
        self.message = message
        self.remedy = remedy
        self.field = field

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}."

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders on a cluster; keyword-only arguments need help to be pickled.
        return _rebuild, (type(self), self.message, self.remedy, self.field)


def _rebuild(kind: type[LoupeError], message: str, remedy: str, field: str | None) -> LoupeError:
    return kind(message, remedy=remedy, field=field)


class BadInput(LoupeError):
    """A request or an option whose value cannot be used."""

    status = 422


class NotFound(LoupeError):
    """A video, trace or frame that is not there."""

    status = 404


class Forbidden(LoupeError):
    """A path or address outside what the service may open."""

    status = 403


class MediaError(LoupeError):
    """A file that is no video, or one that cannot be decoded."""

    status = 422


class ProfileError(LoupeError):
    """A profile with an unknown key, a wrong value or a model that is missing."""

    status = 500


class StoreError(LoupeError):
    """A clip store that cannot be opened or used."""

    status = 409


class ToolUnavailable(LoupeError):
    """A tool that the profile does not have or that stopped answering; the agent goes on without it."""

    status = 503


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for an unknown word: the nearest known one, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'? known: {', '.join(names)}"
    return f"use one of: {', '.join(names)}" if names else "nothing is available here"
