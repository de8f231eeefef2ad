"""The checkpoint that comes with Loupe answers as well as its card says, and is as small."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from tools.packaged import names, packaged
from tools.vlm.engine import Engine
from tools.vlm.loading import load_host
from training.nano import measure
from training.nano.config import Kind

SHIPPED = [name for name in names() if "/" not in name]
#: Questions of every family. A fixed sample may fall short of the truth by so many standard deviations.
EACH, SLACK = 6, 3.0


def stated(folder: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Right answers and questions by kind and family, near."""
    table: dict[str, dict[str, tuple[int, int]]] = json.loads((folder / "measured.json").read_text())["accuracy"]
    return table


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("kind", ["picture", "clip"])
def test_it_answers_as_its_card_says(name: str, kind: Kind) -> None:
    folder = Path(packaged(name))
    asked = measure.questions("test", kind, "near", EACH, seed=9)
    answered = list(measure.answer(Engine(load_host(folder)), asked))
    right = sum(item.right for item in answered)
    table = stated(folder)[f"{kind} near"]
    families = Counter(item.question.turn.family for item in answered)
    chances = {family: table[family][0] / table[family][1] for family in families}
    expected = sum(count * chances[family] for family, count in families.items())
    spread = math.sqrt(sum(count * chances[family] * (1 - chances[family]) for family, count in families.items()))
    assert len(answered) >= 40
    assert right >= expected - SLACK * spread, (right, expected, len(answered))


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_small(name: str) -> None:
    folder = Path(packaged(name))
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 25e6
    assert (folder / "README.md").is_file()
