"""From matching evidence to the words of an answer. All words and all times come from the evidence."""

import re
from collections.abc import Sequence
from itertools import takewhile

from agents.rules.lexicon import NEGATIONS, STOPWORDS
from agents.rules.match import Match, together
from agents.rules.question import Parsed
from agents.rules.words import SAME, bare, best_match, coverage, matched_positions, tokens
from tools.evidence import Evidence
from tools.media.span import format_time

#: Texts up to this many words are answers as they are; longer ones are trimmed to the clause that answers.
SHORT = 16
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_CLAUSE = re.compile(r"\s*[,;:]\s+|\s+(?:and|but|because|while|which|so)\s+")
_NAME = re.compile(r"\b(?:my name is|my name's|i am|i'm|this is)\s+((?:[a-z'-]+\s?){1,3})", re.I)


def extract(parsed: Parsed, found: Sequence[Match], beside: Sequence[Evidence] = ()) -> str:
    """The answer that the matches give, the first being the best.

    Args:
        beside: other evidence of the same kind, from which lines that belong to a text are taken.
    """
    best = found[0]
    kind = best.evidence[0].kind
    if parsed.form == "times":
        return times(found)
    if parsed.form == "count":
        return str(most_at_once([item for match in found for item in match.evidence]))
    if parsed.form == "when":
        return f"At {format_time(best.span.start)} ({best.span})"
    if parsed.form == "yesno":
        word = "No" if denies(parsed, best.text) else "Yes"
        return f"{word} ({best.span})" if bare(best.text) else f"{word}: {_what(best)}"
    if kind == "visual":
        return best.evidence[0].text
    if kind == "object":
        return f"{best.evidence[0].text} ({best.span})"
    if kind == "text":
        return best.evidence[0].text if parsed.words else " / ".join(item.text for item in lines(best, beside))
    if parsed.form == "who" and (name := _NAME.search(best.text)):
        words = list(takewhile(lambda word: word.lower() not in STOPWORDS, name[1].split()))
        if words:
            return " ".join(words)
    return trim(parsed, best.text)


def times(found: Sequence[Match]) -> str:
    """ "3 times: 00:12, 00:45, 01:10"."""
    starts = sorted({format_time(match.span.start): match.span.start for match in found}.values())
    count = len(found)
    return f"{count} {'time' if count == 1 else 'times'}: {', '.join(format_time(start) for start in starts)}"


def most_at_once(tracks: Sequence[Evidence]) -> int:
    """How many of the tracks are visible at the same time at most."""
    edges = sorted([(item.span.start, 1) for item in tracks] + [(item.span.end, -1) for item in tracks])
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most


def lines(match: Match, beside: Sequence[Evidence]) -> list[Evidence]:
    """The lines of text that came and went with the match, in reading order."""
    first = match.evidence[0]
    group = {first.id: first}
    for item in beside:
        if item.kind == "text" and together(first, item) and item.text not in {one.text for one in group.values()}:
            group[item.id] = item
    return sorted(group.values(), key=lambda item: (item.region.y0, item.region.x0) if item.region else (0.0, 0.0))


def denies(parsed: Parsed, text: str) -> bool:
    """Whether the text says the opposite of a yes/no question: a negation of its own, or another number."""
    words, asked = set(tokens(text)), set(tokens(parsed.text))
    if bool(words & NEGATIONS) != bool(asked & NEGATIONS):
        return True
    numbers = [word for word in parsed.words if word[0].isdigit()]
    return any(best_match(word, tuple(words))[0] < SAME for word in numbers) and any(w[0].isdigit() for w in words)


def _what(match: Match) -> str:
    item = match.evidence[0]
    return f"{item.text} ({match.span})" if item.kind == "object" else f'"{match.text}"'


def trim(parsed: Parsed, text: str) -> str:
    """The sentence that contains most of the question's words; of a long one the clause around them."""
    sentences = [part for part in _SENTENCE.split(text.strip()) if part]
    text = max(sentences, key=lambda part: (coverage(parsed.words, part), _has_amount(parsed, part)))
    amount = _has_amount(parsed, text)
    if not parsed.words or (len(text.split()) <= SHORT and not amount):
        return text
    whole = coverage(parsed.words, text, parsed.classes)
    for clause in sorted((part.strip() for part in _CLAUSE.split(text)), key=len):
        complete = coverage(parsed.words, clause, parsed.classes) >= whole - 0.01
        if complete and len(parsed.words) + 1 < len(clause.split()) <= SHORT and _has_amount(parsed, clause) >= amount:
            return clause
    return text if len(text.split()) <= SHORT else _around(parsed, text)


def _has_amount(parsed: Parsed, text: str) -> bool:
    return parsed.form in ("quantity", "date") and any(word[0].isdigit() for word in tokens(text))


def _around(parsed: Parsed, text: str) -> str:
    """The words from the first to the last that matter, with their neighbours, at least `SHORT` of them."""
    found, words = tokens(text), text.split()
    places = matched_positions(parsed.words, text)
    if parsed.form in ("quantity", "date"):
        places = sorted([*places, *(i for i, word in enumerate(found) if word[0].isdigit())])
    if not places:
        return text
    # Spelled numbers are one token but several words: places are mapped by proportion, with room on both sides.
    scale = len(words) / max(len(found), 1)
    start, end = int(places[0] * scale) - 3, int(places[-1] * scale) + 5
    room = max(0, SHORT - (end - start)) // 2
    start, end = max(0, start - room), min(len(words), end + room)
    return " ".join(words[start:end])
