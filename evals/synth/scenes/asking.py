"""Makes turns of what is asked: wording, options, and no question whose answer an earlier turn gave away."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from evals.synth.scenes.sample import Scale, Turn
from evals.synth.scenes.stills import Entity
from evals.synth.scenes.vocabulary import UNSEEN
from evals.synth.scenes.wordings import OPTION_STYLES, WORDINGS

YES_NO = ("yes", "no")
#: Entities, and attributes of each.
Tells = tuple[tuple[Entity, frozenset[str]], ...]
_LETTERS = "ABCD"
#: Share of multiple-choice turns among those that have wrong answers to offer.
_MULTIPLE_CHOICE = 0.35


@dataclass(frozen=True)
class Ask:
    """A question before it is worded.

    Attributes:
        wording: key of the table of wordings.
        wrong: other answers to choose options from.
        about: what is asked, in the sense that it is asked but once in a sample.
        tells: entities and the attributes of theirs that question and answer together give away.
        forgiven: other answers that are not to be taken for wrong, see `Turn`.
        shadow: what might have been asked instead with the opposite answer. If that was given away, this is not asked
            either: or the answer that is given away more seldom would be the better guess.
    """

    family: str
    wording: str
    slots: dict[str, str]
    answer: str
    wrong: Sequence[str] = ()
    about: tuple[object, ...] = ()
    tells: Tells = ()
    shadow: "Ask | None" = None
    forgiven: tuple[str, ...] = ()


@dataclass
class Told:
    """What earlier turns of a sample gave away."""

    asked: set[object] = field(default_factory=set)
    known: dict[int, set[str]] = field(default_factory=dict)

    def gives_away(self, ask: Ask) -> bool:
        """Whether an earlier turn already tells the answer."""
        if ask.about in self.asked or (ask.shadow is not None and self.gives_away(ask.shadow)):
            return True
        if ask.family not in ("colour", "shape", "size", "position", "presence"):
            return False
        return any(len(attributes & self.known.get(id(entity), set())) >= 2 for entity, attributes in ask.tells)

    def add(self, ask: Ask) -> None:
        """Remembers a turn."""
        self.asked.add(ask.about)
        for entity, attributes in ask.tells:
            self.known.setdefault(id(entity), set()).update(attributes)


def word(ask: Ask, chance: random.Random, scale: Scale) -> Turn:
    """The turn: open, or with options, one of which is the answer in its own words: readers of answers know those, and
    a small model need not learn what letters stand for."""
    forms = WORDINGS[ask.wording]
    question = forms[int(chance.random() * len(forms))].format(**ask.slots)
    if len(ask.wrong) < 2 or chance.random() >= _MULTIPLE_CHOICE:
        return Turn(question, ask.answer, ask.family, (), scale, ask.forgiven)
    count = min(len(ask.wrong), 3 if chance.random() < 0.7 else 2)
    options = [ask.answer, *chance.sample(list(ask.wrong), count)]
    if UNSEEN not in options and chance.random() < 0.2:
        options[-1] = UNSEEN
    chance.shuffle(options)
    lead, mark, comma = OPTION_STYLES[int(chance.random() * len(OPTION_STYLES))]
    named = f"{comma} ".join(f"{letter}{mark} {option}" for letter, option in zip(_LETTERS, options, strict=False))
    text = f"{question} {lead} {named}" if lead else f"{question} {named}"
    return Turn(text, ask.answer, ask.family, tuple(options), scale, ask.forgiven)


def with_article(noun: str) -> str:
    """``noun`` with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    """``noun`` in the plural."""
    return noun + ("es" if noun.endswith("s") else "s")
