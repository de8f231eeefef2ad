"""From a question to sub-questions: what is found first stands first, the last one's answer is the answer."""

import re
from collections.abc import Sequence

from agents.answer import SubQuestion
from agents.question import Question
from agents.rules.question import Parsed, parse
from tools.evidence import KINDS, Kind

#: How deep clauses inside clauses are followed.
_DEPTH = 3
_SECOND = re.compile(r"[,;]?\s+and\s+(?=(?:who|what|when|where|why|how|which)\b)", re.I)


def plan(question: Question) -> tuple[SubQuestion, ...]:
    """Splits a question at "and what ..." and at its temporal clauses."""
    found: list[SubQuestion] = []
    for part in _SECOND.split(question.text):
        _add(found, part.strip(), question.scope.kinds, _DEPTH)
    return tuple(found)


def finals(sub_questions: Sequence[SubQuestion]) -> tuple[SubQuestion, ...]:
    """The sub-questions that no other one's anchor names: their answers make up the answer."""
    named = {ref for item in sub_questions for ref in re.findall(r"q\d+", item.anchor or "")}
    return tuple(item for item in sub_questions if item.id not in named)


def _add(found: list[SubQuestion], text: str, allowed: Sequence[Kind], depth: int) -> str:
    """Appends the sub-questions of ``text`` and returns the id of the last one."""
    parsed = parse(text)
    terms = list(parsed.terms)
    if parsed.clause is not None and depth > 0:
        seen: tuple[Kind, ...] = ("visual",) if parsed.clause.relation == "around" else tuple(allowed)
        refs = [_add(found, part, seen, depth - 1) for part in parsed.clause.parts]
        near = "right " if parsed.clause.near else ""
        relation = parsed.clause.relation
        terms.insert(0, f"between {refs[0]} and {refs[1]}" if len(refs) == 2 else f"{near}{relation} {refs[0]}")
    kinds, text = kinds_in(parsed, allowed), parsed.text or text
    item = SubQuestion(
        id=f"q{len(found) + 1}",
        text=_sentence(parsed, text) if parsed.subject and "visual" in kinds else text,
        kinds=kinds,
        query=parsed.query,
        anchor=", ".join(terms) or None,
    )
    found.append(item)
    return item.id


def kinds_in(parsed: Parsed, allowed: Sequence[Kind]) -> tuple[Kind, ...]:
    """The kinds to look in, within those that the scope allows; all allowed ones where the question's own are not."""
    kinds = tuple(kind for kind in parsed.kinds if not allowed or kind in allowed)
    return kinds or tuple(kind for kind in KINDS if kind in allowed)


def _sentence(parsed: Parsed, text: str) -> str:
    """As it is written where it stands alone, for a model is asked in these words."""
    end = "." if parsed.form == "statement" else "?"
    return text[:1].upper() + text[1:] + ("" if text.endswith(("?", ".", "!")) else end)
