"""Times that a question names: "at 2:10", "in the first two minutes", "between 1:00 and 1:30"."""

import re

from agents.rules.numbers import number_at
from tools.errors import BadInput
from tools.media.span import parse_time

_COUNT = r"(?:\d+(?:\.\d+)?|[a-z]+(?:[ -][a-z]+)?)"
_UNIT = r"(?:seconds?|secs?|s|minutes?|mins?|hours?|hrs?)\b"
_TIME = rf"(?:\d+:)?\d{{1,3}}:\d{{2}}(?:\.\d+)?|\d+(?:\.\d+)?\s*{_UNIT}(?:\s*(?:and\s+)?\d+\s*(?:seconds?|secs?|s)\b)?"
_NAMED = r"(?:minute|second)\s+\d+"
_ANY = rf"(?:(?:the\s+)?(?:{_NAMED}|{_TIME})(?:[\s-]*mark)?)"
_MEDIA = r"(?:video|film|clip|recording|talk|lecture|movie|footage|broadcast)"

_RANGE = re.compile(rf"\b(?:between|from)\s+(?P<a>{_ANY})\s+(?:and|to|until|till)\s+(?P<b>{_ANY})", re.I)
_AFTER = re.compile(rf"\b(?:after|past|from|since)\s+(?P<a>{_ANY})(?!\s+(?:of|after|before|later))", re.I)
_BEFORE = re.compile(rf"\b(?:before|until|till)\s+(?P<a>{_ANY})", re.I)
_AT = re.compile(rf"\b(?:at|around|near|@)\s+(?:about\s+|time\s+|timestamp\s+)?(?P<a>{_ANY})", re.I)
_EDGE = re.compile(
    rf"\b(?:(?:in|during|within|for|over)\s+)?the\s+(?:very\s+)?(?P<edge>first|opening|last|final|closing)\s+"
    rf"(?:(?P<n>{_COUNT})\s+)?(?P<unit>seconds?|minutes?|hours?|half|third|quarter)\b(?:\s+of\s+the\s+{_MEDIA})?",
    re.I,
)
_ENDS = re.compile(
    rf"\b(?:at|in|near|towards?)\s+the\s+(?:very\s+)?(?P<edge>beginning|start|opening|end|ending)"
    rf"(?:\s+of\s+the\s+{_MEDIA})?(?=\s*(?:[,?.!;]|$))",
    re.I,
)
_SHARES = {"half": 50, "third": 33, "quarter": 25}
_SECONDS = {"s": 1, "m": 60, "h": 3600}
#: Share of a video in per cent that "at the beginning" and "at the end" mean.
_ENDS_SHARE = 10


def take_times(text: str) -> tuple[str, list[str]]:
    """The text without its clock times, and the anchor terms (`agents.rules.anchors`) that they stand for."""
    terms: list[str] = []

    def cut(pattern: re.Pattern[str], say: "re.Pattern[str] | str") -> None:
        nonlocal text
        while match := pattern.search(text):
            term = _term(str(say), match)
            if term is None:
                return
            terms.append(term)
            text = (text[: match.start()].rstrip() + " " + text[match.end() :].lstrip()).strip()

    for pattern, say in (
        (_RANGE, "from {a} to {b}"),
        (_AFTER, "after {a}"),
        (_BEFORE, "before {a}"),
        (_AT, "at {a}"),
        (_EDGE, "edge"),
        (_ENDS, "ends"),
    ):
        cut(pattern, say)
    return text, terms


def _term(say: str, match: re.Match[str]) -> str | None:
    groups = match.groupdict()
    if say == "ends":
        return f"{'first' if match['edge'].lower() in ('beginning', 'start', 'opening') else 'last'} {_ENDS_SHARE}%"
    if say == "edge":
        edge = "first" if match["edge"].lower() in ("first", "opening") else "last"
        unit = match["unit"].lower()
        if unit in _SHARES:
            return f"{edge} {_SHARES[unit]}%"
        count = _count(groups["n"] or "1")
        return None if count is None else f"{edge} {count * _SECONDS[unit[0]]:g}"
    times = {name: seconds(value) for name, value in groups.items() if value}
    if any(value is None for value in times.values()):
        return None
    return say.format(**{name: f"{value:g}" for name, value in times.items()})


def _count(text: str) -> float | None:
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    spelled = number_at(re.split(r"[ -]", text.lower()), 0)
    if spelled is not None:
        return float(spelled[0])
    return {"one": 1.0, "couple of": 2.0, "few": 3.0}.get(text.lower())


def seconds(text: str) -> float | None:
    """Seconds from "2:10", "130 seconds", "2 minutes and 10 seconds", "minute 3"; None for anything else."""
    text = re.sub(r"^the\s+|[\s-]*mark$", "", text.strip().lower())
    if named := re.fullmatch(r"(minute|second)\s+(\d+)", text):
        return float(named[2]) * _SECONDS[named[1][0]]
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(s|m|h)[a-z]*", text)
    if parts and ":" not in text:
        return float(sum(float(value) * _SECONDS[unit] for value, unit in parts))
    try:
        return parse_time(text)
    except BadInput:
        return None
