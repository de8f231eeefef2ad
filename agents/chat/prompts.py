"""Prompts are data: markdown files in ``agents/prompts`` with ``{name}`` fields, known to the trace by their hash."""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

#: The prompts that there are.
NAMES = ("system", "plan", "decide", "answer", "repair")

_FIELD = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Prompt:
    """A prompt as it was written; ``sha256`` is the hash of its text."""

    name: str
    text: str
    sha256: str

    def fields(self) -> set[str]:
        """The names that `render` needs."""
        return set(_FIELD.findall(self.text))

    def render(self, **values: str) -> str:
        """The text with its fields filled in; values are not searched for fields themselves.

        Raises:
            KeyError: a field has no value, or a value no field.
        """
        if values.keys() != self.fields():
            raise KeyError(f"prompt '{self.name}' has the fields {sorted(self.fields())}, got {sorted(values)}")
        return _FIELD.sub(lambda match: values[match[1]], self.text)


@cache
def prompt(name: str) -> Prompt:
    """The prompt called ``name``."""
    text = resources.files("agents").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    return Prompt(name=name, text=text, sha256=hashlib.sha256(text.encode()).hexdigest())


def hashes() -> dict[str, str]:
    """SHA-256 of every prompt by name."""
    return {name: prompt(name).sha256 for name in NAMES}
