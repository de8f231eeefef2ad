"""The catalogue is whole, its state comes from the code, and command line, HTTP and the page say the same."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from fastapi.testclient import TestClient

from api import catalogue
from api.catalogue import Plugin, System, facts, join
from api.cli import run
from api.method_docs import COMMAND, options, page, prose
from tools.errors import NotFound
from tools.vlm.method import METHODS, STAGES, Budgeted

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
ROOMS = {*STAGES, "agent", "tool", "training", "benchmark"}


@pytest.fixture(scope="module")
def systems() -> list[System]:
    return catalogue.systems()


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["methods", *arguments]) == 0
    return capsys.readouterr().out


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(printed(capsys, *arguments, "--json"))
    return found


def test_the_facts_are_whole() -> None:
    known = facts()
    assert [system.number for system in known] == list(range(1, 78))
    assert len({system.name for system in known}) == len({system.arxiv for system in known}) == 77
    for system in known:
        assert system.title
        assert system.stage in ROOMS
        assert system.arxiv is not None
        year, month = int(system.arxiv[:2]), int(system.arxiv[2:4])
        assert 21 <= year <= 26
        assert 1 <= month <= 12


def test_every_method_with_a_number_works_and_says_what_the_catalogue_says(systems: list[System]) -> None:
    by_plugin = {name: system for system in systems for name in system.plugins}
    for name in METHODS.names():
        kind, system = METHODS.get(name), by_plugin[name]
        assert system.status == "works"
        assert system.number == kind.number
        assert kind.stage in system.stage.split("+")
        assert (system.arxiv, system.training_free) == (kind.arxiv, kind.training_free)
    missing = [system for system in systems if system.status == "missing"]
    assert not any(system.plugins for system in missing)
    assert [system.number for system in systems[:77]] == list(range(1, 78))
    assert {system.family for system in systems[77:]} == {"baseline"}


class Loop:
    number = 51


@dataclass(frozen=True, kw_only=True)
class Half(Budgeted):
    """What it is.

    In ``two`` paragraphs, the second
    on two lines.

    Attributes:
        depth: layers, counted from the
            first one.
        left, right: sides.
        score: ``published`` or ``null``.
    """

    number: ClassVar[int | None] = 12
    depth: int = 3
    left: float = 0.5
    right: float | None = None
    score: Literal["published", "null"] = "published"
    shares: tuple[float, ...] = (0.5, 0.25)


def test_a_system_may_have_several_parts_and_live_in_any_registry() -> None:
    parts = [Plugin("b", Half, "prune"), Plugin("a", Half, "merge"), Plugin("thinker", Loop, "agent")]
    found = {system.number: system for system in join(facts(), parts)}
    assert (found[12].plugins, found[12].stage) == (("a", "b"), "merge+prune")
    assert (found[51].status, found[51].plugins, found[51].stage) == ("works", ("thinker",), "agent")
    assert sum(system.status == "works" for system in found.values()) == 2

    class Stranger:
        number = 99

    with pytest.raises(ValueError, match="lost"):
        join(facts(), [Plugin("lost", Stranger, "merge")])


def test_options_come_from_fields_and_docstrings() -> None:
    assert prose(Half) == ["What it is.", "In `two` paragraphs, the second on two lines."]
    found = {option.name: option for option in options(Half)}
    assert list(found) == ["depth", "left", "right", "score", "shares", "keep", "tokens"]
    assert found["depth"].meaning == "layers, counted from the first one."
    assert found["left"].meaning == found["right"].meaning == "sides."
    assert (found["score"].values, found["score"].default) == ("`published`, `null`", "published")
    assert (found["right"].values, found["right"].default) == ("number or `none`", "none")
    assert (found["shares"].values, found["shares"].default) == ("numbers, with / between", "0.5/0.25")
    assert "1 changes nothing" in found["keep"].meaning


@pytest.mark.parametrize("name", METHODS.names())
def test_every_option_of_every_method_is_explained(name: str) -> None:
    kind = METHODS.get(name)
    assert prose(kind)
    for option in options(kind):
        assert option.meaning, f"{name} does not say what '{option.name}' means"
        assert option.default != "required"


def test_the_list_as_json(systems: list[System], capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)
    assert found == [system.model_dump(mode="json") for system in systems]
    assert {"number", "name", "family", "stage", "training_free", "status"} <= found[0].keys()
    assert [row["number"] for row in found if row["name"] == "FastV"] == [None]


@pytest.mark.parametrize(
    ("arguments", "keeps"),
    [
        (("--works",), lambda row: row["status"] == "works"),
        (("--missing",), lambda row: row["status"] == "missing"),
        (("--stage", "connect"), lambda row: row["stage"] == "connect"),
        (("--family", "KV"), lambda row: "KV" in row["family"]),
        (("--training-free", "--missing"), lambda row: row["training_free"] and row["status"] == "missing"),
    ],
)
def test_filters(arguments: Sequence[str], keeps: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(keeps)
    every = listed(capsys)
    expected = [row for row in every if keeps(row)]
    assert 0 < len(expected) < len(every)
    assert listed(capsys, *arguments) == expected


def test_the_table_and_one_system(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys)
    assert "DivPrune" in out
    assert "uniform_stride" in out
    assert "of 77 published systems work here" in out
    assert max(map(len, out.splitlines())) < 140
    for wanted in ("fastv", "FastV"):
        out = printed(capsys, wanted)
        assert "2403.06764" in out
        assert "overrides keep" in out
    assert "no code for it" in printed(capsys, "33")
    assert json.loads(printed(capsys, "mlvu", "--json"))["number"] == 33


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fastvv"], "did you mean 'fastv'"),
        (["nothing like it"], "see `loupe methods`"),
        (["--stage", "merg"], "did you mean 'merge'"),
        (["--family", "cooking"], "no family has 'cooking'"),
    ],
)
def test_bad_input(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", *arguments]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.out == ""


def test_find_prefers_nothing_to_a_guess(systems: list[System]) -> None:
    assert catalogue.find(systems, " 38 ").name == "DivPrune"
    with pytest.raises(NotFound):
        catalogue.find(systems, "")


def test_the_service_lists_the_same(client: TestClient, systems: list[System]) -> None:
    reply = client.get("/v1/methods")
    assert reply.status_code == 200
    assert reply.json() == [system.model_dump(mode="json") for system in systems]


def test_the_page_is_up_to_date(systems: list[System]) -> None:
    fresh = page(systems, catalogue.plugins())
    assert PAGE.read_text("utf-8") == fresh, f"docs/methods.md is out of date: run `{COMMAND}`"


def test_the_command_prints_the_page(systems: list[System], capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--markdown") == page(systems, catalogue.plugins())
