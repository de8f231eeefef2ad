"""Models that come with Loupe: each is a folder here, named by its path, e.g. ``nano`` or ``nano/search``."""

from pathlib import Path

_HERE = Path(__file__).parent


def packaged(model: str) -> str:
    """The folder of a model that comes with Loupe; any other name as it is.

    A folder of the same name where the program was started is named ``./nano``.
    """
    return str(_HERE / model) if model in names() else model


def names() -> list[str]:
    """The packaged models, sorted."""
    return sorted(str(file.parent.relative_to(_HERE)) for file in _HERE.rglob("config.json"))
