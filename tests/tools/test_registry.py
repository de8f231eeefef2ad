"""Plug-ins are files; unknown names and options are refused with the nearest known one."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.errors import ProfileError
from tools.registry import Registry

PLUGIN = """
from {base} import Shape

class Square(Shape):
    def __init__(self, side: float = 1.0, *, clock: object = None) -> None:
        self.side = side

    def area(self) -> float:
        return self.side**2
"""


class Shape(ABC):
    """Stands in for a backend's base class."""

    @abstractmethod
    def area(self) -> float:
        """Size."""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry[Shape]]:
    package = tmp_path / "shapes_under_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_helper.py").write_text("")
    (package / "square.py").write_text(PLUGIN.format(base="shape_base_under_test"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "shape_base_under_test", sys.modules[__name__])
    yield Registry("shapes_under_test", Shape, "shape")  # type: ignore[type-abstract]
    for name in [name for name in sys.modules if name.startswith("shapes_under_test")]:
        del sys.modules[name]


def test_a_file_is_a_plug_in(registry: Registry[Shape]) -> None:
    assert registry.names() == ["square"]
    assert "shapes_under_test.square" not in sys.modules  # listing imports nothing
    assert registry.create("square", {"side": 3.0}).area() == 9.0


def test_unknown_names_and_options_get_the_nearest_known_one(registry: Registry[Shape]) -> None:
    with pytest.raises(ProfileError, match="did you mean 'square'"):
        registry.create("squar")
    with pytest.raises(ProfileError, match=r"no option 'sides'.*did you mean 'side'"):
        registry.create("square", {"sides": 3.0})


def test_what_the_program_injects_is_no_option(registry: Registry[Shape]) -> None:
    with pytest.raises(ProfileError, match="no option 'clock'"):
        registry.create("square", {"clock": 1}, clock=object())


def test_a_plug_in_can_live_elsewhere(registry: Registry[Shape]) -> None:
    class Dot(Shape):
        def area(self) -> float:
            return 0.0

    registry.register("dot", Dot)
    assert list(registry) == ["dot", "square"]
    assert isinstance(registry.create("dot"), Dot)
    registry.unregister("dot")
    assert "dot" not in registry
