"""Reading a question: its form, the modalities that it asks about, its content words, and when it means."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from agents.rules import lexicon
from agents.rules.clauses import Clause, split
from agents.rules.clock import take_times
from agents.rules.numbers import ORDINALS
from agents.rules.words import content, tokens
from tools.evidence import Kind

Form = Literal[
    "what", "who", "when", "date", "where", "why", "how", "which", "quantity", "count", "times", "yesno", "statement"
]

_ITEM = (
    r"(?:on-?screen\s+)?(?:word|thing|time|text|slide|title|caption|sign|sentence|mention|object|person|line|one|topic|"
    r"statement|utterance|subtitle|scene|question|number|phrase|name|place|message|city)s?"
)
_PICK = re.compile(rf"\b(?P<which>first|last|final|second|third|fourth|fifth)\s+(?={_ITEM}\b)", re.I)
#: "Which city is ...", "What number does ...": the noun names a class and need not stand in the evidence.
_CLASS = re.compile(
    r"^(?:(?:in|on|at|from|to|by|with) )?(?:which|what) (?P<noun>(?:[a-z-]+ ){1,3}?)"
    r"(?:is|are|was|were|do|does|did|has|have|had|can|will|would|should|could)\b"
    r"|^(?:(?:in|on|at|from|to|by|with) )?(?:which|what) (?P<word>[a-z-]+)",
    re.I,
)
_ABOUT = re.compile(r"\b(?:about|regarding|concerning)\s+(.+)$", re.I)
_PICK_ADVERB = re.compile(
    r"\b(?:mention(?:ed)?|appears?|said|shown|seen|comes?|says?)\s+(?:for the\s+)?(?P<which>first|last)\b"
    r"(?!\s+[a-z]+ed)"
    r"|\b(?P<before>first|last)\s+(?:mention(?:ed)?|appears?|said|shown|seen|visible)\b",
    re.I,
)
_AUXILIARY = re.compile(r"^(?:is|are|was|were|does|do|did|has|have|had|can|could|will|would|should)(?:n't)?\b", re.I)
_PICTURE = re.compile(
    r"\b(?:in|of) the (?:video|film|clip|footage|movie|frame|picture|scene|shot|image|background|foreground)\b", re.I
)
_MEASURED = re.compile(rf"\bhow (?:{'|'.join(sorted(lexicon.MEASURE_ADJECTIVES - {'many'}))})\b")
#: "The green star", "a red car": a thing by its colour, which a picture can be searched for.
_COLOURED = re.compile(rf"\b(?P<thing>(?:{'|'.join(sorted(lexicon.COLOURS))}) (?P<noun>[a-z]+))\b", re.I)
_GENERIC_OBJECTS = frozenset({"object", "objects", "thing", "things", "item", "items", "moving", "movement"})
_PEOPLE = frozenset({"man", "woman", "person", "people", "guy", "lady", "speaker"})
_AMOUNTS = frozenset({"number", "amount", "total", "year", "many", "much"})


@dataclass(frozen=True)
class Parsed:
    """A question as the rules understand it.

    Attributes:
        text: the main part, without temporal clauses and clock times.
        form: what kind of answer is wanted.
        kinds: modalities to look in, best first.
        explicit: whether the question names the modality itself.
        words: content words; what evidence must contain.
        classes: those of the words that only name the class of thing asked for ("which city").
        phrases: quoted parts, which evidence must contain whole.
        terms: anchor terms of the clock and of order ("at 130", "first").
        clause: the part of the question that says when, or None.
        subject: the thing that must be seen to answer, "" where the question names none by its colour.
    """

    text: str
    form: Form
    kinds: tuple[Kind, ...]
    explicit: bool
    words: tuple[str, ...]
    classes: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    clause: Clause | None = field(default=None)
    subject: str = ""

    @property
    def presence(self) -> bool:
        """Whether it asks if something is there: then one place without it proves nothing."""
        return self.form == "yesno" and re.match(r"(?:is|are) there\b|can you see\b", self.text, re.I) is not None

    @property
    def query(self) -> str:
        """Words to search the index for; quoted phrases whole."""
        return " ".join(dict.fromkeys((*self.phrases, *self.words)))


@lru_cache(maxsize=4096)
def parse(text: str) -> Parsed:
    """Reads one question (or a clause of one)."""
    plain = re.sub(r"\s+", " ", text.replace("“", '"').replace("”", '"')).strip()
    plain, terms = take_times(plain)
    main, clause = split(plain)
    main = re.sub(r"^(?:please\s+)?(?:tell me|can you tell me|do you know|find|show me)[,:]?\s+", "", main, flags=re.I)
    main = main.strip(" ,;:")
    picked = _pick(main)
    phrases = tuple(re.findall(r'"([^"]+)"', main))
    kinds, explicit = modalities(main)
    form = _form(main, kinds)
    if form == "count" and kinds[0] not in ("object", "visual"):
        form = "quantity"
    dropped = lexicon.MEDIUM_WORDS | (_PEOPLE if kinds[0] == "speech" and explicit else frozenset())
    if kinds[0] in ("object", "visual"):
        dropped |= _GENERIC_OBJECTS
    elif kinds[0] == "text" and explicit:
        dropped |= lexicon.TEXT_NOUNS
    if form in ("quantity", "date"):
        dropped = (dropped - frozenset({"start", "starts", "begin", "length", "end"})) | _AMOUNTS
    about = _ABOUT.search(main)
    kept = {word for phrase in phrases for word in content(phrase)} | (
        set(content(about[1])) - lexicon.SPEECH_VERBS - lexicon.TEXT_VERBS if about else set()
    )
    words = tuple(word for word in content(main.replace("-", " ")) if word in kept or word not in dropped)
    if form == "who" and explicit and kinds == ("speech",) and not words:
        # "Who is speaking?": the names of speakers stand on screen.
        kinds = ("text", "speech")
    classes = _classes(main, words, form)
    return Parsed(main, form, kinds, explicit, words, classes, phrases, (*terms, *picked), clause, subject(main))


def subject(text: str) -> str:
    """The first thing that ``text`` names by colour and kind ("green star", not "green object"), or ""."""
    vague = lexicon.STOPWORDS | _GENERIC_OBJECTS
    named = (match for match in _COLOURED.finditer(re.sub(r'"[^"]*"', "", text)))
    return next((match["thing"].lower() for match in named if match["noun"].lower() not in vague), "")


def _classes(text: str, words: tuple[str, ...], form: Form) -> tuple[str, ...]:
    match = _CLASS.match(text)
    if match is None or form == "quantity":
        return ()
    named = set(content(match["noun"] or match["word"] or ""))
    return tuple(word for word in words if word in named)


def _pick(text: str) -> tuple[str, ...]:
    match = _PICK.search(text) or _PICK_ADVERB.search(text)
    if match is None:
        return ()
    which = next(value for value in match.groupdict().values() if value).lower()
    if which in ("first", "last"):
        return (which,)
    return ("last",) if which == "final" else (f"number {ORDINALS[which]}",)


def _form(text: str, kinds: tuple[Kind, ...]) -> Form:
    low = text.lower()
    words = tokens(low)
    if re.search(r"\bhow (?:many times|often)\b", low):
        return "times"
    if re.search(r"\bhow many\b", low):
        return "count" if kinds[0] in ("object", "visual") else "quantity"
    if re.search(rf"\bhow (?:{'|'.join(sorted(lexicon.MEASURE_ADJECTIVES))})\b", low):
        return "quantity"
    if re.match(r"^(?:at |from |since |until )?(?:what|which) (?:time|moment|point|second|minute|timestamp)\b", low):
        return "what" if "clock" in words else "when"
    if re.match(r"^(?:in |since )?(?:what|which) year\b", low):
        return "date"
    if match := re.match(r"^(?:[a-z]+ )?(who|whom|whose|when|where|why|which|how|what)\b", low):
        asked = match[1]
        if asked == "when":
            dated = re.match(r"^(?:since )?when (?:was|were|did|is|are)\b", low) and lexicon.DATED_VERBS & set(words)
            return "date" if dated and kinds == ("speech", "text") else "when"
        if asked in ("what", "which") and kinds[0] in ("speech", "text") and _asks_quantity(words):
            return "quantity"
        return {"whom": "who", "whose": "who"}.get(asked, asked)  # type: ignore[return-value]
    return "yesno" if _AUXILIARY.match(low) else "statement"


def _asks_quantity(words: tuple[str, ...]) -> bool:
    """ "What is the depth of the lake", "which number": the noun asked for is an amount."""
    asked = [word for word in words if word not in lexicon.STOPWORDS]
    return bool(asked) and asked[0] in lexicon.QUANTITY_WORDS


def modalities(text: str) -> tuple[tuple[Kind, ...], bool]:
    """Which kinds of evidence a question or clause asks for, best first, and whether it says so."""
    low = re.sub(r'"[^"]*"', '"quoted"', text.lower()).replace("on-screen", "onscreen")
    words = re.findall(r"[a-z'-]+|\"", low)
    known = set(words)
    speaks, carries = known & lexicon.SPEECH_VERBS, known & lexicon.TEXT_NOUNS
    if known & lexicon.SPEAKERS:
        # "the caption beside the presenter" still is a caption.
        if carries and re.search(r"\b(?:on (?:the )?screen|onscreen|written|caption|subtitle)\b", low) and not speaks:
            return ("text", "speech"), True
        return ("speech",), True
    # "say about the sign" is still speech, "what does the headline say about" is not.
    carries = {noun for noun in carries if not speaks or not re.search(rf"\babout\b.*\b{noun}\b", low)}
    if carries - {"screen", "onscreen"}:
        return (("text", "speech") if carries == {"title"} else _written(text)), True
    if "screen" in known or "onscreen" in known:
        said = known & (lexicon.TEXT_VERBS | {"word", "words", "say", "says", "read", "displayed", "number", "name"})
        if said or "quoted" in known:
            return ("text",), True
        if not known & lexicon.OBJECT_NOUNS:
            return ("text", "visual"), True
    if speaks and not known & lexicon.TEXT_VERBS - {"reads"}:
        return ("speech",), True
    if known & lexicon.TEXT_VERBS - {"wrote"} or re.search(r"\bread\b(?! about)", low):
        return _written(text), True
    if known & lexicon.VISUAL_WORDS:
        return ("visual", "object"), True
    if _MEASURED.search(low):
        return ("speech", "text"), False
    seen = known & lexicon.OBJECT_VERBS - {"left"}
    if seen and known & {"word", "words", "quoted", "name", "sentence", "phrase"}:
        return _written(text), True
    if known & lexicon.VISIBLE_ACTS and subject(text):
        return ("visual", "object"), True
    there = re.search(r"\b(?:is|are) there\b|\bthere (?:is|are)\b", low) or _PICTURE.search(low)
    told = seen <= lexicon.MOTION_VERBS and not known & (lexicon.OBJECT_NOUNS | lexicon.COLOURS)
    if seen and told:
        # "Where does the ferry leave from?": a timetable or a voice tells it as well as the picture.
        return ("speech", "text", "object", "visual"), False
    if seen or (there and (known & lexicon.OBJECT_NOUNS or subject(text))):
        return ("object", "visual"), True
    if known & {"shown", "displayed"}:
        return ("text", "visual"), False
    if re.search(r"\b(?:doing|happening|happens?)\b", low) and not re.search(r"\bwhat happens\b\W*$", low):
        return ("visual", "speech", "text"), False
    return ("speech", "text"), False


def _written(text: str) -> tuple[Kind, ...]:
    """What is written beside a thing that is named by its colour has to be looked for."""
    return ("text", "visual") if subject(text) else ("text",)
