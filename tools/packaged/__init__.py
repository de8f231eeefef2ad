"""Models that come with Loupe: each is a folder here, named by its path, e.g. ``nano`` or ``nano/search``."""

import hashlib
from pathlib import Path

_HERE = Path(__file__).parent


def packaged(model: str) -> str:
    """The folder of a model that comes with Loupe; any other name as it is.

    A folder of the same name where the program was started is named ``./nano``.
    """
    return str(_HERE / model) if model in names() else model


def weights(model: str) -> str | None:
    """What tells the weights of a packaged model apart from those that came with another version of Loupe; None for any
    other name."""
    if model not in names():
        return None
    return hashlib.sha256((_HERE / model / "model.safetensors").read_bytes()).hexdigest()[:16]


def names() -> list[str]:
    """The packaged models, sorted."""
    return sorted(str(file.parent.relative_to(_HERE)) for file in _HERE.rglob("config.json"))
