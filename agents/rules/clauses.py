"""Splitting a question into its main part and the clause that says when."""

import re
from dataclasses import dataclass
from typing import Literal

from agents.rules.words import with_article

Relation = Literal["after", "before", "during", "between", "around"]

_NEAR = r"(?:(?P<near>right|immediately|just|directly|shortly|soon|straight)\s+)?"
_SUBJECT = r"(?:the (?:speaker|narrator|voice|presenter|host|man|woman|reporter)|he|she|they|someone|it)\b"
_CONNECTIVE = (
    r"(?P<word>after|before|while|whilst|during|once|as soon as|until|(?<!the )following|prior to|"
    r"at the (?:same )?(?:moment|time|point)(?: when| that| in which)?|by the time|when(?:ever)?|"
    rf"as(?=\s+{_SUBJECT}))"
)
_TRAILING = re.compile(rf"^(?P<main>.+?)[,\s]+{_NEAR}{_CONNECTIVE}\s+(?P<clause>\S.*)$", re.I)
_LEADING = re.compile(rf"^{_NEAR}{_CONNECTIVE}\s+(?P<clause>[^,]+),\s*(?:then\s+)?(?P<main>.+)$", re.I)
_BETWEEN = re.compile(r"\bbetween\s+(?P<first>.+?)\s+and\s+(?P<second>[^,?]+)", re.I)
_EVENT = re.compile(
    r"\b(?:mention\w*|sa(?:y|ys|id|ying)|speak\w*|talk\w*|appear\w*|title|slide|caption|moment|show\w*|starts?|ends?|"
    r"word|sign|introduc\w*|announc\w*|disappear\w*|written|reads?)\b",
    re.I,
)
_SCENE = re.compile(
    r"^in the (?:scene|shot|part|moment) (?:with|that shows|showing|where there is) (?:the |an? )?"
    r"(?P<scene>[^:,]+)[:,]\s*(?P<main>.+)$",
    re.I,
)
_QUESTION_WORD = re.compile(r"^when\s+(?:is|are|was|were|does|do|did|will|has|have|had|can|could|should)\b", re.I)
_RELATIONS: dict[str, Relation] = {
    "after": "after",
    "once": "after",
    "as soon as": "after",
    "following": "after",
    "before": "before",
    "until": "before",
    "prior to": "before",
    "by the time": "before",
}


@dataclass(frozen=True)
class Clause:
    """When something is asked about: ``parts`` are one statement, or two for "between"; for "around" they ask whether
    there is what the scene shows."""

    relation: Relation
    parts: tuple[str, ...]
    near: bool = False


def split(text: str) -> tuple[str, Clause | None]:
    """The main part of a question and its temporal clause, if it has one; quoted words are left whole."""
    quotes: list[str] = []

    def hide(match: re.Match[str]) -> str:
        quotes.append(match[0])
        return f"QUOTE{len(quotes) - 1}END"

    def show(part: str) -> str:
        return re.sub(r"QUOTE(\d+)END", lambda match: quotes[int(match[1])], part).strip(" ,;?.!")

    hidden = re.sub(r'"[^"]+"', hide, text)
    main, clause = _split(hidden.strip())
    if clause is None:
        return text.strip(), None
    return show(main), Clause(clause.relation, tuple(show(part) for part in clause.parts), clause.near)


def _split(text: str) -> tuple[str, Clause | None]:
    if match := _SCENE.match(text):
        return match["main"], Clause("around", (f"Is there {with_article(match['scene'])}?",))
    if not _QUESTION_WORD.match(text) and (match := _LEADING.match(text)):
        return match["main"], _clause(match)
    if (match := _BETWEEN.search(text)) and _EVENT.search(match["first"] + " " + match["second"]):
        rest = (text[: match.start()] + text[match.end() :]).strip(" ,?")
        if rest:
            return rest, Clause("between", (match["first"], match["second"]))
    if match := _TRAILING.match(text):
        return match["main"], _clause(match)
    return text, None


def _clause(match: re.Match[str]) -> Clause:
    word = re.sub(r"\s+", " ", match["word"].lower())
    near = bool(match["near"]) or word in ("as soon as", "once", "following")
    return Clause(_RELATIONS.get(word, "during"), (match["clause"],), near)
