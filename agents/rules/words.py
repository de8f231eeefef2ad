"""Words of questions and of evidence, compared so that recognition errors and endings do not matter.

Recognised speech and read text are wrong by letters ("artemis" heard as "artemus", "MISSION" read as "M1SSION"), and
questions inflect words otherwise than the evidence does. Two words are therefore compared by stem, by edit distance and
by a phonetic key; numbers are compared exactly, because one wrong digit is another number.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache

from agents.rules.lexicon import RELATED, STOPWORDS
from agents.rules.numbers import number_at

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*(?:['’][^\W\d_]+)?")
_SUFFIXES = (
    *("ingly", "ations", "ation", "ings", "ing", "edly", "ies", "ied"),
    *("ness", "ment", "ers", "ed", "es", "er", "ly", "s"),
)
#: Two words count as the same from this similarity on.
SAME = 0.75


@lru_cache(maxsize=65536)
def tokens(text: str) -> tuple[str, ...]:
    """Lower-case words of ``text`` without accents and possessive endings; spelled numbers become digits."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode() or text
    raw = [re.sub(r"['’]s?$", "", word).replace(",", "") for word in _WORD.findall(plain.lower())]
    found: list[str] = []
    index = 0
    while index < len(raw):
        number = number_at(raw, index)
        if number is None:
            found.append(raw[index])
            index += 1
        else:
            value, length = number
            found.append(value)
            index += length
    return tuple(found)


@lru_cache(maxsize=65536)
def content(text: str) -> tuple[str, ...]:
    """The tokens that carry meaning, each once, in order."""
    return tuple(dict.fromkeys(word for word in tokens(text) if word not in STOPWORDS))


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The word without a common English ending; at least three letters stay."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            if suffix == "es" and not word[:-2].endswith(("s", "x", "z", "ch", "sh")):
                continue  # "faces" is "face", not "fac"
            base = word[: -len(suffix)]
            if len(base) > 3 and base[-1] == base[-2] and base[-1] not in "ls":
                base = base[:-1]
            return base + "y" if suffix in ("ies", "ied") else base
    return word


@lru_cache(maxsize=65536)
def phonetic(word: str) -> str:
    """A rough key of how a word sounds: consonant classes after the first letter, as Soundex has them, unbounded."""
    classes = {**dict.fromkeys("bfpv", "1"), **dict.fromkeys("cgjkqsxz", "2"), **dict.fromkeys("dt", "3")}
    classes |= {"l": "4", **dict.fromkeys("mn", "5"), "r": "6"}
    first = {"c": "k", "q": "k", "z": "s"}.get(word[:1], word[:1])
    key, last = first, classes.get(word[:1], "")
    for letter in word[1:]:
        code = classes.get(letter, "")
        if code and code != last:
            key += code
        if letter not in "hw":
            last = code
    return key


def edit_distance(a: str, b: str, limit: int) -> int:
    """Levenshtein distance, or ``limit + 1`` as soon as it is known to be larger."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        previous, row[0] = row[0], i
        best = i
        for j, other in enumerate(b, start=1):
            cost = previous if letter == other else 1 + min(previous, row[j], row[j - 1])
            previous, row[j] = row[j], cost
            best = min(best, cost)
        if best > limit:
            return limit + 1
    return min(row[-1], limit + 1)


@lru_cache(maxsize=262144)
def similarity(a: str, b: str) -> float:
    """How likely two tokens are the same word, 0..1: 1 equal, 0.95 same stem, 0.9 related, lower by edits."""
    if a == b:
        return 1.0
    if any(char.isdigit() for char in a + b):
        return 0.0
    if stem(a) == stem(b):
        return 0.95
    if b in RELATED.get(a, ()) or a in RELATED.get(b, ()):
        return 0.9
    shorter, longer = sorted((len(a), len(b)))
    if shorter < 5:
        return 0.0
    if (a.startswith(b) or b.startswith(a)) and longer - shorter <= 4:
        return 0.88
    limit = 1 if shorter < 6 else 2 if shorter < 9 else 3
    distance = edit_distance(a, b, limit)
    if distance > limit:
        return 0.0
    alike = 1 - distance / longer
    # A first letter that differs changes the word more often than the recogniser errs, unless it sounds alike.
    if phonetic(a) == phonetic(b):
        return min(0.92, alike + 0.1) if shorter > 5 else 0.76
    return alike if a[0] == b[0] and shorter > 5 else alike - 0.15


def weight(word: str) -> float:
    """How much a query word tells: names and long words more, short ones less."""
    return 1.0 if word.isdigit() else min(1.5, 0.5 + len(word) / 8)


def best_match(word: str, text: Sequence[str]) -> tuple[float, int]:
    """The highest similarity of ``word`` to a token of ``text``, or to two neighbours written together ("air plane"),
    and that token's index; (0, -1) without any."""
    best, where = 0.0, -1
    for index, token in enumerate(text):
        alike = similarity(word, token)
        if alike > best:
            best, where = alike, index
            if alike == 1.0:
                return best, where
    if best < SAME and len(word) >= 6 and not word.isdigit():
        for index in range(len(text) - 1):
            alike = similarity(word, text[index] + text[index + 1]) * 0.95
            if alike > best:
                best, where = alike, index
    return best, where


def coverage(query: Sequence[str], text: str, light: Collection[str] = ()) -> float:
    """Share of the query's meaning that ``text`` contains, 0..1; 1 for an empty query.

    A word counts by its similarity from `SAME` on and not at all below it; words in ``light`` count for a third.
    """
    words = tokens(text)
    total = got = 0.0
    for word in query:
        heavy = weight(word) / (3 if word in light else 1)
        total += heavy
        alike, _ = best_match(word, words)
        got += heavy * alike if alike >= SAME else 0.0
    return got / total if total else 1.0


def matched_positions(query: Sequence[str], text: str) -> list[int]:
    """Indices into ``tokens(text)`` where query words stand, sorted."""
    words = tokens(text)
    found = {where for alike, where in (best_match(word, words) for word in query) if alike >= SAME}
    return sorted(found)


def text_similarity(a: str, b: str) -> float:
    """How alike two texts are, 0..1: the harmonic mean of how much of each the other contains."""
    words_a, words_b = tokens(a), tokens(b)
    if not words_a or not words_b:
        return 1.0 if words_a == words_b else 0.0
    recall, precision = coverage(words_a, b), coverage(words_b, a)
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0


def with_article(thing: str) -> str:
    """``thing`` with "a" or "an" before it."""
    return f"{'an' if thing[:1].lower() in ('a', 'e', 'i', 'o', 'u') else 'a'} {thing}"


def bare(text: str) -> bool:
    """Whether a look said no more than yes or no."""
    return text.strip().rstrip(".").lower() in ("yes", "no")


def denied(text: str) -> bool:
    """Whether a look said no more than no."""
    return bare(text) and text.strip().lower().startswith("no")
