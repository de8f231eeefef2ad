"""Words that a model met in its training: small models answer about anything, and this says when not to listen."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

#: The file beside a checkpoint's weights.
FILE = "familiar.json"
#: Words in capitals and numbers are what is written in pictures; they are spelled, and need not be known.
_WORD = re.compile(r"(?<![\w'])(?:[a-z]|[A-Z](?=[a-z]))[a-z]*(?![\w])")


@dataclass(frozen=True)
class Familiar:
    """All words, in lower case, of the sentences that a model was trained on."""

    words: frozenset[str]

    @classmethod
    def of(cls, sentences: Iterable[str]) -> Self:
        """The words of these sentences."""
        return cls(frozenset(word for sentence in sentences for word in _words(sentence)))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What is kept beside a checkpoint, None where nothing is: then every word may be known."""
        if not (folder / FILE).is_file():
            return None
        return cls(frozenset(json.loads((folder / FILE).read_text("utf-8"))["words"]))

    def save(self, folder: Path) -> None:
        """Keeps it beside a checkpoint."""
        (folder / FILE).write_text(json.dumps({"words": sorted(self.words)}) + "\n", "utf-8")

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words of ``text`` that the model never met, in their order."""
        return tuple(word for word in dict.fromkeys(_words(text)) if word not in self.words)


def _words(text: str) -> list[str]:
    return [match.lower() for match in _WORD.findall(text)]
