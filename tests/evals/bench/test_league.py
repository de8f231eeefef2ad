"""The league asks everyone the same, compares fairly, and its page and plot say what its rows say."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evals import checkpoints
from evals.bench import league
from evals.league.attention import Attention, Watcher, attention
from evals.league.changes import CHANGES
from evals.league.coverage import Coverage, Legible, coverage, legible, shows
from evals.league.entries import (
    BARE,
    BASELINES,
    BLIND,
    BUDGETS,
    FULL,
    ORACLES,
    SHUFFLED,
    Entry,
    differences,
    entries,
    fitting,
)
from evals.league.intervals import Bootstrap, at_share
from evals.league.measure import Scored, Taken, _clocked, score
from evals.league.page import page, ranked
from evals.league.plot import plot
from evals.league.questions import Question, blind, draw, says, shuffled
from evals.league.standings import Row, standings
from tools import packaged
from tools.errors import BadInput, ProfileError
from tools.vlm.compression import Compression
from tools.vlm.engine import Engine
from tools.vlm.loading import load_host
from tools.vlm.method import METHODS, Budgeted
from tools.vlm.report import Provenance
from tools.vlm.tokens import Grid

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return draw(2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.build("llava", tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine(load_host(folder))


@pytest.fixture(autouse=True)
def _quick(one_thread: None) -> None:
    """Every test here runs tiny models."""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """A league of made-up answers: one method keeps everything, one is lucky, one spends all it can."""
    asked = draw(20)
    ease = np.random.default_rng(0).random(len(asked))
    worth = {"random_keep": 0.5, "average_pooling": 0.6, "divprune": 0.95, "hired": 0.5, "fastv": 0.6, "zipvl": 1.0}
    scored, taken = {}, {}
    for entry in entries(list(worth)):
        keep = entry.keep or 1.0
        share = (2 + 4 * keep) / 6 if entry.name == "fastv" else keep
        # All look at their share of the tokens, and some choose better.
        able = {FULL: 0.97, BLIND: 0.3, SHUFFLED: 0.7}.get(entry.name, 0.97 * keep ** (1 - worth.get(entry.name, 1.0)))
        inside = np.array([question.kind in entry.kinds for question in asked])
        tokens = {"picture": 64, "clip": 512}
        scored[entry] = Scored(
            (ease < able) & inside,
            inside,
            share,
            1e9 * share,
            1e6 * share,
            Coverage(share, 0.5),
            Legible(share, share),
            tokens,
        )
        taken[entry] = Taken(0.06 * (share + 0.2), 0.001 if entry.method else 0.0)
    absent = Entry("psigmoid", 0.05, METHODS.get("psigmoid")(keep=0.5))
    refused = {absent: "psigmoid: one layer of 6 works on all tokens"}
    looks_at = Attention(0.22, "cls", (0.3, 0.71), (0.09, 0.4, 0.61))
    return standings("nano", "llava", asked, scored, taken, refused, looks_at)


# Questions.


def test_questions_are_as_many_of_each_task_and_no_picture_is_asked_about_twice(questions: list[Question]) -> None:
    counts = Counter(question.task for question in questions)
    # Few clips show a word.
    assert set(counts.values()) <= {1, 2}
    assert sum(count == 2 for count in counts.values()) >= len(counts) - 2
    assert {"picture colour", "picture word", "clip order", "clip motion"} <= set(counts)
    assert len({question.frames.images.tobytes() for question in questions}) == len(questions)
    assert [question.task for question in questions] == sorted(counts.elements())
    assert [question.text for question in draw(2)] == [question.text for question in questions]


def test_what_is_written_is_a_part_of_what_is_shown(questions: list[Question]) -> None:
    assert all(question.things[question.written].all() for question in questions)
    assert all(question.written.any() for question in questions if question.family in ("number", "word"))
    shapes = [(question.things > 0) & ~question.written for question in questions if question.family == "shape"]
    assert all(shape.any() for shape in shapes)


def test_blind_shows_nothing_and_shuffled_the_same_pictures(questions: list[Question]) -> None:
    frames = next(question.frames for question in questions if question.kind == "clip")
    grey, mixed = blind(frames), shuffled(frames)
    assert grey.images.shape == frames.images.shape
    assert grey.images.min() == grey.images.max()
    assert sorted(one.tobytes() for one in mixed.images) == sorted(one.tobytes() for one in frames.images)
    assert not np.array_equal(mixed.images, frames.images)
    assert np.array_equal(mixed.times, frames.times)


@pytest.mark.parametrize(("text", "right"), [("Top  left.", True), ("top left", True), ("top", False)])
def test_an_answer_is_right_to_the_letter(text: str, right: bool) -> None:
    assert says(text, "top left") is right


# Entries and measurements.


def test_where_attention_lies(engine: Engine, questions: list[Question]) -> None:
    asked = next(question for question in questions if question.kind == "clip")
    left, right = np.zeros_like(asked.things), np.ones_like(asked.things)
    left[..., :3] = 1
    right[..., :3] = 0
    parts = [attention(engine, [replace(asked, things=things)]) for things in (left, right, np.ones_like(left))]
    assert parts[0].shown < parts[1].shown < parts[2].shown == 1
    assert parts[0].shown + parts[1].shown == pytest.approx(1.0)
    assert (parts[2].tower, parts[2].decoder) == (
        pytest.approx((1.0,) * engine.host.tower.depth),
        pytest.approx((1.0,) * (engine.host.depth - 1)),
    )
    for one, other in zip((*parts[0].tower, *parts[0].decoder), (*parts[1].tower, *parts[1].decoder), strict=True):
        assert 0 < one < 1
        assert one + other == pytest.approx(1.0)
    # A frame that shows nothing has nothing to tell.
    assert attention(engine, [replace(asked, things=left), replace(asked, things=np.zeros_like(left))]) == parts[0]


def test_watching_changes_nothing(engine: Engine, questions: list[Question]) -> None:
    asked = questions[0]
    plain = engine.look(asked.frames, asked.text)
    watched = engine.look(asked.frames, asked.text, Compression((Watcher(question=asked),)))
    assert (plain.text, plain.confidence) == (watched.text, watched.confidence)
    assert plain.report.layers == watched.report.layers


def test_every_method_takes_part_at_every_budget_that_it_has() -> None:
    found = entries()
    assert {entry.name for entry in found} == {*BARE, *METHODS.names()}
    for name in METHODS.names():
        budgets = [entry.keep for entry in found if entry.name == name and not entry.change]
        if issubclass(METHODS.get(name), Budgeted):
            assert budgets == list(BUDGETS)
        for entry in found:
            if entry.name == name and entry.keep is not None and entry.method is not None:
                assert entry.method.options["keep"] == entry.keep
    assert set(BASELINES) <= set(METHODS.names())


def test_changes_are_of_methods_that_take_part() -> None:
    assert not any(entry.change for entry in entries(["divprune"]))
    for change in CHANGES:
        usual = METHODS.get(change.method)().options
        (entry,) = (entry for entry in entries([change.method]) if entry.change == change.words)
        assert entry.method is not None
        assert {**usual, **change.options, "keep": change.keep} == dict(entry.method.options)
        assert all(usual[name] != value for name, value in change.options.items())


def test_what_a_method_draws_is_drawn_anew_for_every_question(questions: list[Question]) -> None:
    asked = questions[0]
    entry = next(entry for entry in entries(["random_keep"]) if entry.keep)
    (first,), (second,) = entry.compression(asked, 0).methods, entry.compression(asked, 1).methods
    assert first != second
    assert entry.compression(asked, 1).methods == (second,)
    fixed = next(entry for entry in entries(["divprune"]) if entry.keep)
    assert fixed.compression(asked, 0) == fixed.compression(asked, 1)


def test_a_host_that_refuses_the_defaults_gets_a_setting_that_it_accepts(tmp_path: Path, engine: Engine) -> None:
    qwen = load_host(checkpoints.build("qwen2_5_vl", tmp_path))
    part = next(entry for entry in entries(["stc"]) if entry.keep == 0.25)
    assert fitting(part, engine.host) is part
    fitted = fitting(part, qwen)
    assert differences(fitted) == {"interval": 1}
    assert fitted.method is not None
    assert fitted.method.options["keep"] == 0.25
    # A tower that it cannot work in at all, and a budget that it cannot meet.
    for name in ("dymu", "psigmoid"):
        unfit = next(entry for entry in entries([name]) if entry.keep == 0.05)
        assert fitting(unfit, qwen) is unfit


@pytest.mark.parametrize("name", ["fastv", "zipvl", "transprune", "divprune", "dymu"])
def test_watching_the_clock_changes_nothing(name: str, engine: Engine, questions: list[Question]) -> None:
    clip = next(question for question in questions if question.kind == "clip")
    method, seconds = METHODS.get(name).examples()[-1], list[float]()
    watched = engine.look(clip.frames, clip.text, Compression((_clocked(method, seconds),)), max_new_tokens=3)
    plain = engine.look(clip.frames, clip.text, Compression((method,)), max_new_tokens=3)
    assert watched.ids == plain.ids
    assert watched.report.layers == plain.report.layers
    assert bool(seconds) == any(map(method.overrides, ("prune", "observe", "cache", "attend", "positions")))


def test_score_counts_what_is_right_and_what_is_spent(engine: Engine, questions: list[Question]) -> None:
    entry = next(entry for entry in entries(["uniform_stride"]) if entry.keep == 0.5)
    some = [question for question in questions if question.family in ("colour", "number")]
    texts = [
        engine.look(question.frames, question.text, entry.compression(question), max_new_tokens=12).text
        for question in some
    ]
    truths = [text if at % 2 else "something else" for at, text in enumerate(texts)]
    asked = [replace(q, answer=truth) for q, truth in zip(some, truths, strict=True)]
    found = score(engine, entry, asked)
    assert found.right.tolist() == [bool(at % 2) for at in range(len(some))]
    assert found.share == pytest.approx(0.5, abs=0.02)
    assert found.tokens == {"picture": 49, "clip": 392}
    assert 0.5 < found.coverage.things <= 1
    assert 0 < found.coverage.spent < 1
    assert found.legible.each == pytest.approx(0.5, abs=0.1)
    shuffled_only = score(engine, Entry(SHUFFLED, shown=shuffled, kinds=("clip",)), asked)
    assert shuffled_only.asked.tolist() == [question.kind == "clip" for question in asked]


def test_a_budget_that_cannot_be_met_is_said_and_not_guessed(engine: Engine, questions: list[Question]) -> None:
    entry = next(entry for entry in entries(["psigmoid"]) if entry.keep == 0.05)
    with pytest.raises(BadInput):
        score(engine, entry, questions)


def test_coverage_counts_things_in_every_frame_and_work_by_what_it_shows() -> None:
    # Two frames of 2 x 2 patches. Of the first frame two patches share a token; of the second one patch is dropped
    # before the decoder and another after one of four layers.
    provenance = Provenance(
        grids=(Grid(2, 2, 0.0), Grid(2, 2, 1.0)),
        owner=np.array([0, 0, 1, 2, 3, -1, 4, 5]),
        mass=np.array([2, 1, 1, 1, 1, 1], np.float32),
        survived=np.array([4, 4, 4, 4, 4, 0, 1, 4]),
        depth=4,
    )
    things = np.array([[[7, 0], [0, 0]], [[0, 7], [8, 0]]])
    found = coverage(provenance, things, np.array([0.1, 0.9]))
    # Seen is the merged one alone; half a token of work went there, and a quarter to the one dropped on the way.
    assert found == Coverage(pytest.approx(1 / 3), pytest.approx(0.75 / 5.25))  # type: ignore[arg-type]
    assert coverage(provenance, np.zeros((2, 2, 2), np.int64), np.array([0.0, 1.0])) is None


def test_writing_is_seen_over_a_clip_where_it_is_in_one_frame() -> None:
    # Two frames of one row; the first keeps its left patch, the second all but its left.
    provenance = Provenance(
        grids=(Grid(1, 3, 0.0), Grid(1, 3, 1.0)),
        owner=np.array([0, -1, -1, -1, 1, 2]),
        mass=np.ones(3, np.float32),
        survived=np.array([1, 0, 0, 0, 1, 1]),
        depth=1,
    )
    still, moves = np.array([[[1, 1, 0]], [[1, 1, 0]]]) > 0, np.array([[[0, 0, 1]], [[1, 0, 0]]]) > 0
    times = np.array([0.0, 1.0])
    assert legible(provenance, still, times) == Legible(0.5, 1.0)
    assert legible(provenance, moves, times) == Legible(0.0, 0.0)
    assert legible(provenance, np.zeros_like(still), times) is None


def test_coverage_of_a_lattice_other_than_the_labels() -> None:
    # One row of two patches against labels of 4 x 4: a thing in the left half is seen if the left patch is.
    provenance = Provenance((Grid(1, 2),), np.array([0, -1]), np.ones(1, np.float32), np.array([1, 0]), 1)
    things = np.zeros((1, 4, 4), np.int64)
    things[0, 3, 1], things[0, 0, 2] = 1, 2
    assert coverage(provenance, things, np.zeros(1)) == Coverage(0.5, 1.0)


def test_an_oracle_keeps_what_shows_something_and_a_part_of_the_rest(engine: Engine, questions: list[Question]) -> None:
    for entry in entries([]):
        if entry.name not in ORACLES:
            continue
        found = score(engine, entry, questions)
        assert found.coverage.things == 1
        if ORACLES[entry.name] == 0:
            assert found.coverage.spent == 1
        for question in questions[:4]:
            provenance = engine.look(
                question.frames, question.text, entry.compression(question), max_new_tokens=1
            ).provenance
            kept = np.concatenate([one.ravel() > 0 for one in provenance.layers()])
            shown = np.concatenate(
                [one.ravel() for one in shows(provenance.grids, question.things, question.frames.times)]
            )
            assert kept[shown].all()
            assert (kept & ~shown).sum() == round(ORACLES[entry.name] * (~shown).sum())


# Comparisons.


def test_the_interval_is_that_of_a_bootstrap_question_by_question() -> None:
    chance = np.random.default_rng(3)
    tasks = ["a"] * 30 + ["b"] * 50
    full, right = chance.random(80) < 0.9, chance.random(80) < 0.6
    kept = Bootstrap(tasks).kept(right, full)
    assert kept is not None
    assert kept.share == right.sum() / full.sum()
    ratios = []
    for _ in range(3000):
        drawn = np.concatenate([chance.integers(0, 30, 30), chance.integers(30, 80, 50)])
        ratios.append(right[drawn].sum() / full[drawn].sum())
    low, high = np.percentile(ratios, (2.5, 97.5))
    assert (kept.low, kept.high) == (pytest.approx(low, abs=0.015), pytest.approx(high, abs=0.015))


def test_full_tokens_keep_everything_and_nothing_is_no_measure() -> None:
    full = np.array([True, False, True, True])
    bootstrap = Bootstrap(["a", "a", "a", "b"])
    kept = bootstrap.kept(full, full)
    assert kept is not None
    assert (kept.share, kept.low, kept.high) == (1, 1, 1)
    assert bootstrap.kept(full, np.zeros(4, dtype=np.bool_)) is None
    task = bootstrap.kept(np.zeros(4, dtype=np.bool_), full, bootstrap.tasks == "b")
    assert task is not None
    assert (task.share, task.low, task.high) == (0, 0, 0)


def test_better_means_more_than_chance() -> None:
    chance = np.random.default_rng(1)
    bootstrap = Bootstrap(["a"] * 200)
    weak, strong = chance.random(200) < 0.5, chance.random(200) < 0.8
    assert bootstrap.beats(strong, weak.astype(float))
    assert not bootstrap.beats(weak, strong.astype(float))
    assert not bootstrap.beats(strong, strong.astype(float))


def test_a_baseline_is_read_off_between_its_budgets() -> None:
    right = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1]], dtype=np.bool_)
    shares = [1.0, 0.25, 0.0625]
    np.testing.assert_allclose(at_share(0.25, shares, right), [0, 1, 1])
    np.testing.assert_allclose(at_share(0.5, shares, right), [0.5, 1, 1])
    np.testing.assert_allclose(at_share(0.125, shares, right), [0, 0.5, 1])
    np.testing.assert_allclose(at_share(0.01, shares, right), [0, 0, 1])


def test_methods_are_compared_at_what_they_spent(rows: list[Row]) -> None:
    def row(name: str, keep: float | None) -> Row:
        return next(row for row in rows if row["method"] == name and row["keep"] == keep)

    assert row("divprune", 0.1)["beats_random_keep"] is True
    assert row("divprune", 0.1)["beats_average_pooling"] is True
    assert row("hired", 0.1)["beats_random_keep"] is False
    # It keeps more than pooling at the same `keep`, by looking at four times as many tokens.
    assert row("fastv", 0.1)["kept"] == row("average_pooling", 0.1)["kept"]
    assert row("fastv", 0.1)["share"] == pytest.approx(0.4)
    assert row("fastv", 0.1)["beats_random_keep"] is False
    assert row("zipvl", None)["beats_random_keep"] is None
    assert row("random_keep", 0.1)["beats_random_keep"] is None
    assert row(FULL, None)["kept"] == 1
    json.dumps(rows, allow_nan=False)


def test_groups_are_sums_of_tasks(rows: list[Row]) -> None:
    row = next(row for row in rows if row["method"] == "hired" and row["keep"] == 0.1)
    tasks, groups = row["tasks"], row["groups"]
    assert groups["pictures"]["right"] == sum(one["right"] for task, one in tasks.items() if task.startswith("picture"))
    assert groups["read"]["questions"] == sum(tasks[task]["questions"] for task in ("clip number", "clip word"))
    assert sum(one["right"] for one in groups.values()) == sum(one["right"] for one in tasks.values())
    assert len({one["kept"] for one in groups.values()}) == 3


# Page, plot and command.


def test_the_page_sorts_emboldens_and_marks(rows: list[Row]) -> None:
    lines = page(rows).splitlines()
    assert ranked(rows)[0] == "divprune"
    found = {line.split("|")[1].strip(): line for line in reversed(lines) if line.startswith("| `") and " (" in line}
    assert found["`divprune`"].count("**") == 8
    assert "†" in found["`hired`"]
    assert "‡" in found["`hired`"]
    assert "†" not in found["`random_keep` (baseline)"]
    assert "- `psigmoid` at 5 %: not measured: one layer of 6 works on all tokens." in lines
    assert not any(word in ("nan", "None", "**nan") for line in lines for word in line.split())
    tables = [line.count("|") for line in lines if line.startswith("|")]
    assert max(tables) <= 18


def test_the_page_tells_pictures_and_clips_apart(rows: list[Row]) -> None:
    row = next(row for row in rows if row["method"] == "hired" and row["keep"] == 0.1)
    groups = {
        name: {**one, "kept": part, "low": 0.1, "high": 0.9} for part, (name, one) in enumerate(row["groups"].items())
    }
    seen = {"written_each": 0.37, "written_once": 0.91}
    changed = [{**one, **seen, "groups": groups} if one is row else one for one in rows]
    order = [list(groups).index(name) for name in ("pictures", "read", "else")]
    assert (
        f"| `hired` | {' | '.join(f'{100 * part} (10–90)' for part in order)} | 37 | 91 |" in page(changed).splitlines()
    )


def test_the_page_names_methods_that_nothing_tells_apart(rows: list[Row]) -> None:
    assert "- `hired`, `random_keep`: alike in every figure but time." in page(rows)
    other = [{**row, "spent": 0.4} if (row["method"], row["keep"]) == ("hired", 0.05) else row for row in rows]
    assert "alike" not in page(other)


def test_the_page_says_how_coarse_small_budgets_are(rows: list[Row]) -> None:
    assert "5 % of a picture make 3 tokens" in page(rows)
    small = [{**row, "tokens_in": {"picture": 16, "clip": 64}} if row["method"] == FULL else row for row in rows]
    assert "5 % of a picture make 1 token:" in page(small)


def test_a_changed_method_stands_in_a_table_of_its_own(rows: list[Row]) -> None:
    row = next(row for row in rows if row["method"] == "hired" and row["keep"] == 0.1)
    changed = {**row, "change": "nothing is cut", "kept": 0.987, "low": 0.9, "high": 1.0}
    plain, found = page(rows).splitlines(), page([*rows, changed, {**changed, "accuracy": 0.5}]).splitlines()
    begin = found.index("### What losses come from")
    assert found[:begin] == plain[:begin]
    section = found[begin : begin + found[begin + 1 :].index("### Costs") + 1]
    assert plain[begin:] == found[begin + len(section) :]
    lines = [line for line in section if line.startswith("| ")]
    assert [line.split(" | ")[1] for line in lines] == ["change", "---:", "as published", *["nothing is cut"] * 2]
    assert lines[2].startswith("| `hired` at 10 % | as published | ")
    assert "99 (90–100)" in lines[3]
    refused = {"model": row["model"], "host": row["host"], "method": "hired", "keep": 0.1, "change": "x", "note": "no"}
    assert "### What losses come from" not in page([*rows, refused])


def test_the_plot_has_a_panel_for_every_method(rows: list[Row]) -> None:
    one, two = plot(rows), plot(rows + [{**row, "model": "other"} for row in rows])
    assert plot([*rows, {**rows[-1], "change": "nothing is cut"}]).tobytes() == one.tobytes()
    assert two.size == (one.width, 2 * one.height)
    assert len(one.getcolors(one.width * one.height) or []) > 20


def test_a_league_of_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    names = ["random_keep", "average_pooling", "psigmoid", "damro"]
    found = list(league.write([folder], tmp_path, each=1, names=names))
    assert (tmp_path / "league.md").read_text("utf-8") == page(json.loads(json.dumps(found)))
    assert (tmp_path / "league.png").is_file()
    assert {row["method"] for row in found} == {*BARE, *names}
    ran = [row for row in found if "accuracy" in row]
    assert all(row["first_token_ms"] > row["compressor_ms"] >= 0 for row in ran)
    refused = [row for row in found if row not in ran]
    # The changed one has a schedule for another depth.
    assert [(row["keep"], "change" in row) for row in refused] == [(0.1, False), (0.05, False), (0.5, True)]
    pooled = next(row for row in ran if row["method"] == "average_pooling" and row["keep"] == 0.25)
    assert math.isclose(pooled["share"], 0.25, abs_tol=0.02)
    full = next(row for row in ran if row["method"] == FULL)
    assert pooled["prefill_flops"] < 0.5 * full["prefill_flops"]


def test_without_a_model_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packaged, "names", list)
    with pytest.raises(ProfileError, match="no model comes with"):
        next(league.run(tmp_path))


def test_the_published_page_is_that_of_the_published_rows() -> None:
    found = json.loads((DOCS / "league.json").read_text("utf-8"))["rows"]
    assert (DOCS / "league.md").read_text("utf-8") == page(found)
    assert {row["method"] for row in found} >= set(METHODS.names())
