"""Multiple choice: each option is held against the evidence; where nothing supports any, none is chosen."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from agents.rules.clock import seconds
from agents.rules.match import Match, score_text
from agents.rules.question import Parsed
from agents.rules.words import content, coverage, text_similarity, tokens
from tools.evidence import Evidence

#: Support from which on an option is chosen, and by how much it must lead.
SUPPORTED = 0.5
LEAD = 0.04
#: How much of an option evidence must say.
SAID = 0.6
#: Seconds by which a time that is given as an option may miss the evidence.
_NEAR_TIME = 5.0


@dataclass(frozen=True)
class Choice:
    """The option that the evidence supports: its index, how strongly (0..1), and by which evidence."""

    index: int
    score: float
    evidence: tuple[Evidence, ...]


def choose(
    options: Sequence[str], parsed: Parsed, best: Match | None, answer: str, pool: Sequence[Evidence]
) -> Choice | None:
    """The option that is supported best, or None.

    Args:
        best: the best match of the question itself, and ``answer`` what was extracted from it.
        pool: evidence that lies where the answer must lie.
    """
    scored = [_support(option, parsed, best, answer, pool) for option in options]
    ranked = sorted(range(len(options)), key=lambda index: -scored[index][0])
    if not ranked or scored[ranked[0]][0] < SUPPORTED:
        return None
    if len(ranked) > 1 and scored[ranked[0]][0] - scored[ranked[1]][0] < LEAD:
        return None
    score, evidence = scored[ranked[0]]
    return Choice(ranked[0], min(score, 1.0), evidence)


def _support(
    option: str, parsed: Parsed, best: Match | None, answer: str, pool: Sequence[Evidence]
) -> tuple[float, tuple[Evidence, ...]]:
    """How strongly the evidence supports one option, and which evidence does."""
    top: tuple[float, tuple[Evidence, ...]] = (0.0, ())
    if best is not None and answer:
        top = (_agrees(option, answer, parsed, best) * best.score, best.evidence)
    words = content(option) or tokens(option)
    if not words or parsed.form in ("yesno", "times", "count", "when"):
        return top
    for item in pool:
        said = closeness(option, item.text) if item.kind == "visual" else coverage(words, item.text)
        asked = score_text(parsed, item.text, item) if parsed.words else 0.7
        # An option's own words need the question's words beside them, or any mention would do.
        score = said * (0.3 + 0.7 * asked)
        if said >= SAID and score > top[0]:
            top = (score, (item,))
    return top


def closeness(option: str, text: str) -> float:
    """How well an answer in free words says an option, 0..1. A single word or number may be misread by a letter."""
    words, said = content(option) or tokens(option), tokens(text)
    if len(words) == 1 and len(said) == 1:
        return SequenceMatcher(None, words[0], said[0]).ratio()
    return coverage(words, text)


def agreeing(options: Sequence[str], text: str) -> bool:
    """Whether an answer in free words says one of the options."""
    return any(closeness(option, text) >= SAID for option in options)


def _agrees(option: str, answer: str, parsed: Parsed, best: Match) -> float:
    """How well an option says what was found, 0..1."""
    if parsed.form == "when":
        time = seconds(option)
        if time is None:
            return text_similarity(option, answer)
        miss = max(best.span.start - time, time - best.span.end, 0.0)
        return max(0.0, 1.0 - miss / _NEAR_TIME)
    if parsed.form in ("times", "count"):
        wanted, got = _number(option), _number(answer)
        return 1.0 if wanted is not None and wanted == got else 0.0
    if parsed.form == "yesno":
        said = tokens(option)[:1]
        return 1.0 if said == tokens(answer)[:1] else 0.0
    if best.evidence[0].kind == "visual":
        return closeness(option, answer)
    words = content(option) or tokens(option)
    return coverage(words, answer)


def _number(text: str) -> str | None:
    words = [
        {"one": "1", "once": "1", "twice": "2", "none": "0", "never": "0"}.get(word, word) for word in tokens(text)
    ]
    return next((word for word in words if re.fullmatch(r"\d+", word)), None)
