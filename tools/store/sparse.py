"""Words to sparse vectors, the same ones in every process and on every engine.

The document side of BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, section 3.4) is the
value of each word; Qdrant multiplies by the inverse document frequency at query time (modifier ``idf``), so the
product of a document's and a query's vector is the BM25 score.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from functools import lru_cache

#: Saturation of term frequency and strength of length normalisation: the values of the literature.
K1, B = 1.2, 0.75
#: Words of a typical clip: an utterance or a line on screen.
AVERAGE_WORDS = 12.0

#: Words that carry no content in an English question. They are left out of queries, unless nothing else is there.
_STOP_WORDS = frozenset(
    """a an and are as at be been but by can could did do does for from had has have he her his how i if in into is it
    its me my no not of on or our she so than that the their them then there these they this those to was we were what
    when where which while who whom whose why will with would you your""".split()  # noqa: SIM905
)
_HAN = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_UNSPACED = re.compile(rf"[{_HAN}]")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_WORD = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+")


def words(text: str) -> list[str]:
    """The words of ``text`` in order: lower case, without accents; scripts that put no spaces between words give pairs
    of characters."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    # Compatibility forms first (full-width letters, ligatures), then accents, which decompose to combining marks.
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    found: list[str] = []
    for word in _WORD.findall(unicodedata.normalize("NFC", plain)):
        if len(word) > 1 and _UNSPACED.match(word):
            found += [word[i : i + 2] for i in range(len(word) - 1)]
        else:
            found.append(word)
    return found


@lru_cache(maxsize=65_536)
def index(word: str) -> int:
    """The dimension of a word: 32 bits of its BLAKE2 hash, stable across processes and machines."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=4).digest(), "big")


def document(text: str) -> tuple[list[int], list[float]]:
    """Dimensions (ascending) and BM25 term weights of a clip's text."""
    counts = Counter(index(word) for word in words(text))
    length = 1 - B + B * sum(counts.values()) / AVERAGE_WORDS
    items = sorted(counts.items())
    return [i for i, _ in items], [n * (K1 + 1) / (n + K1 * length) for _, n in items]


def query(text: str) -> tuple[list[int], list[float]]:
    """Dimensions (ascending) and weights, all 1, of a query's words."""
    found = set(words(text))
    dimensions = sorted({index(word) for word in found - _STOP_WORDS or found})
    return dimensions, [1.0] * len(dimensions)
