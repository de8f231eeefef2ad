"""A run: the same again, the same after a kill, its log, and that it learns."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import torch

from evals.synth.scenes import Scenes
from tools.errors import BadInput
from training.nano import measure
from training.nano.config import Mix, Recipe, Stage, recipe
from training.nano.loop import Training, _rate
from training.nano.state import Average

SMALL = Recipe(
    "small",
    replace(recipe("tiny").sizes, samples=10),
    (
        Stage("tower", 0.5, (Mix(batch=2, turns=0),), language=0.0, dense=1.0, words=0.5, contrast=0.5),
        Stage("answers", 0.5, (Mix(batch=2, turns=2), Mix("clip", batch=2, turns=1)), tower=0.3, blend=0.25),
    ),
    steps=12,
    lines=2,
    check=2,
    workers=0,
    save_minutes=0,
)


def _lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]


def _numbers(training: Training) -> dict[str, torch.Tensor]:
    means = {f"mean {place}": mean for place, mean in enumerate(training._average.mean)}
    return {**training.learner.parts.state_dict(), **means}


def _equal(one: Training, other: Training) -> bool:
    left, right = _numbers(one), _numbers(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A run that nobody interrupted."""
    training = Training(SMALL, tmp_path_factory.mktemp("whole"), device="cpu")
    training.run()
    return training


def test_a_run_is_the_same_again(whole: Training, tmp_path: Path) -> None:
    again = Training(SMALL, tmp_path, device="cpu")
    again.run()
    assert _equal(whole, again)
    other = Training(replace(SMALL, seed=1), tmp_path, device="cpu")
    other.run()
    assert not _equal(whole, other)


# Inside a stage and inside a group of batches, at the end of a stage, and inside the next.
@pytest.mark.parametrize("stops", [(3,), (6,), (2, 7, 11)])
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(
    whole: Training, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    for stop in stops:
        Training(SMALL, tmp_path, resume=True, device="cpu").run(stop_after=stop)
    last = Training(SMALL, tmp_path, resume=True, device="cpu")
    last.run()
    assert _equal(whole, last)
    assert last.progress.steps == 12


@pytest.mark.slow
def test_two_processes_train_the_same_again_wherever_they_were_cut_off(whole: Training, tmp_path: Path) -> None:
    both = Training(SMALL, tmp_path / "both", device="cpu", processes=2)
    both.run()
    Training(SMALL, tmp_path / "cut", device="cpu", processes=2).run(stop_after=7)
    again = Training(SMALL, tmp_path / "cut", resume=True, device="cpu", processes=2)
    again.run()
    assert _equal(both, again)
    # Each process compares captions with those of its own part alone, so that it is another run, but no worse.
    assert not _equal(both, whole)
    for mine, theirs in zip(_lines(both.out), _lines(whole.out), strict=True):
        if mine["event"] == "step" and mine["stage"] == "answers":
            assert mine["loss"]["language"] == pytest.approx(theirs["loss"]["language"], rel=0.1)


def test_a_finished_run_has_nothing_left_to_do(whole: Training) -> None:
    before = whole.progress
    again = Training(SMALL, whole.out, resume=True, device="cpu")
    again.run()
    assert again.progress == before
    assert _equal(whole, again)


def test_a_run_begun_anew_forgets_the_old_one(tmp_path: Path) -> None:
    Training(SMALL, tmp_path, device="cpu").run(stop_after=3)
    assert Training(SMALL, tmp_path, device="cpu").progress.steps == 0
    assert not (tmp_path / "state.pt").exists()


def test_another_recipe_does_not_go_on(tmp_path: Path) -> None:
    Training(SMALL, tmp_path, device="cpu").run(stop_after=3)
    with pytest.raises(BadInput, match="another recipe") as caught:
        Training(replace(SMALL, decay=0.1), tmp_path, resume=True, device="cpu")
    assert caught.value.field == "out"
    # A longer one does, from where the state was last written.
    assert Training(replace(SMALL, steps=20), tmp_path, resume=True, device="cpu").progress.step == 2


def test_another_recipe_goes_on_where_it_is_asked_to(tmp_path: Path) -> None:
    Training(SMALL, tmp_path, device="cpu").run(stop_after=7)
    same = Training(SMALL, tmp_path, resume=True, changed=True, device="cpu")
    assert (same.progress.steps, same.progress.changes) == (6, 0)
    other = Training(replace(SMALL, decay=0.1), tmp_path, resume=True, changed=True, device="cpu")
    assert (other.progress.steps, other.progress.changes) == (6, 1)
    other.run()
    assert Training(other.recipe, tmp_path, resume=True, device="cpu").progress.changes == 1
    renamed = replace(SMALL, stages=(replace(SMALL.stages[0], name="eyes"), SMALL.stages[1]))
    with pytest.raises(BadInput, match="another recipe"):
        Training(renamed, tmp_path, resume=True, changed=True, device="cpu")


def test_stages_to_come_may_be_others_and_the_run_is_as_if_they_always_had_been(tmp_path: Path) -> None:
    tower, answers = SMALL.stages
    other = replace(SMALL, stages=(tower, replace(answers, name="talk", rate=2e-3)))
    Training(SMALL, tmp_path / "cut", device="cpu").run(stop_after=3)
    cut = Training(other, tmp_path / "cut", resume=True, device="cpu")
    cut.run(stop_after=8)
    assert cut.progress.changes == 0
    at_once = Training(other, tmp_path / "at once", device="cpu")
    at_once.run(stop_after=8)
    assert _equal(cut, at_once)
    # By now that stage has begun.
    with pytest.raises(BadInput, match="another recipe"):
        Training(SMALL, tmp_path / "cut", resume=True, changed=True, device="cpu")


def test_a_state_of_an_older_copy_is_refused(whole: Training, tmp_path: Path) -> None:
    state = torch.load(whole.out / "state.pt", weights_only=True)
    torch.save({**state, "recipe": "('small', ...)"}, tmp_path / "state.pt")
    with pytest.raises(BadInput, match="another recipe"):
        Training(SMALL, tmp_path, resume=True, changed=True, device="cpu")


def test_a_finished_run_goes_on_with_a_stage_more(tmp_path: Path) -> None:
    tower = SMALL.stages[0]
    Training(replace(SMALL, stages=(tower,), steps=6), tmp_path, device="cpu").run()
    longer = Training(SMALL, tmp_path, resume=True, device="cpu")
    assert (longer.progress.steps, longer.progress.changes) == (6, 0)
    longer.run()
    assert longer.progress.steps == 12
    with pytest.raises(BadInput, match="another recipe"):
        Training(replace(SMALL, stages=(tower,)), tmp_path, resume=True, changed=True, device="cpu")


def test_the_log(whole: Training) -> None:
    rows = _lines(whole.out)
    steps = [row for row in rows if row["event"] == "step"]
    assert [(row["stage"], row["step"]) for row in steps] == [
        *(("tower", step) for step in (2, 4, 6)),
        *(("answers", step) for step in (2, 4, 6)),
    ]
    assert set(steps[0]["loss"]) == {"dense", "words", "contrast"}
    assert all(row["samples"] == 4 and row["samples_per_second"] > 0 for row in steps)
    checks = [row for row in rows if row["event"] == "validation"]
    assert [row["stage"] for row in checks] == ["tower", "answers"]
    assert set(checks[1]["accuracy"]) == {"picture near", "clip near"}
    assert all(0 <= right <= asked for row in checks[1]["accuracy"].values() for right, asked in row.values())
    found = checks[1]["mistakes"]["picture near"]
    assert found == sorted(found, key=lambda mistake: -mistake[-1])
    for family, _, _, times in found:
        right, asked = checks[1]["accuracy"]["picture near"][family]
        assert 0 < times <= asked - right


def test_a_torn_line_of_the_log_is_cut_off(tmp_path: Path) -> None:
    Training(SMALL, tmp_path, device="cpu").run(stop_after=3)
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"event": "st')
    Training(SMALL, tmp_path, resume=True, device="cpu")
    assert _lines(tmp_path)[-1]["event"] == "resume"


def test_the_rate_warms_up_and_falls() -> None:
    stage = Stage("any", 1.0, (Mix(),), rate=1.0, warmup=0.1)
    assert _rate(stage, 0.0) == pytest.approx(0.02)
    assert _rate(stage, 0.05) == pytest.approx(0.5)
    assert _rate(stage, 0.1) == pytest.approx(1.0)
    assert _rate(stage, 0.55) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2)
    assert _rate(stage, 1.0) == pytest.approx(0.1)


def test_a_tower_that_is_held_does_not_move(tmp_path: Path) -> None:
    held = replace(SMALL, stages=(replace(SMALL.stages[1], tower=0.0, share=1.0),), steps=3)
    training = Training(held, tmp_path, device="cpu")
    before = {name: value.clone() for name, value in training.learner.parts.state_dict().items()}
    training.run()
    for name, value in training.learner.parts.state_dict().items():
        if ".vision_tower." in name:
            assert torch.equal(value, before[name]), name
    assert not torch.equal(training.models.host.lm_head.weight, before["host.lm_head.weight"])


def test_the_running_mean() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    average = Average(module, decay=0.5)
    module.weight.data.fill_(8.0)
    average.update(100)
    assert average.mean[0].item() == 4.0
    with average.applied():
        assert module.weight.item() == 4.0
    assert module.weight.item() == 8.0


def test_an_end_is_blended_with_its_beginning() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    average = Average(module, decay=0.0)
    module.weight.data.fill_(4.0)
    average.update(0)
    average.begin()
    module.weight.data.fill_(8.0)
    average.update(1)
    average.blend(0.25)
    assert average.mean[0].item() == module.weight.item() == 7.0
    assert average.begun[0].item() == 4.0


def test_a_state_without_the_beginning_of_its_stage_is_gone_on_with(tmp_path: Path) -> None:
    Training(SMALL, tmp_path, device="cpu").run(stop_after=8)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["begun"]
    torch.save(state, tmp_path / "state.pt")
    again = Training(SMALL, tmp_path, resume=True, device="cpu")
    assert all(map(torch.equal, again._average.begun, again._average.mean))


def test_a_stage_ends_in_the_blend(whole: Training, tmp_path: Path) -> None:
    tower, answers = SMALL.stages
    plain = Training(replace(SMALL, stages=(tower, replace(answers, blend=0.0))), tmp_path / "plain", device="cpu")
    plain.run()
    # As many steps as the first stage has.
    begun = Training(SMALL, tmp_path / "begun", device="cpu")
    begun.run(stop_after=6)
    means = (training._average.mean for training in (whole, plain, begun))
    for mine, own, first in zip(*means, strict=True):
        torch.testing.assert_close(mine, own.lerp(first, 0.25))
    for parameter, mean in zip(whole.learner.parts.parameters(), whole._average.mean, strict=True):
        assert torch.equal(parameter, mean)


def test_limits() -> None:
    assert SMALL.limited() is SMALL
    assert SMALL.limited(minutes=2).steps is None
    for limits in ({"minutes": 1.0, "steps": 5}, {"minutes": 0.0}, {"steps": 1}):
        with pytest.raises(BadInput):
            SMALL.limited(**limits)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="nano"):
        recipe("nanoo")


@pytest.mark.slow
def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    """Killed for good in the middle of writing its state over and over, a run still ends as it would have."""
    script = tmp_path / "trains.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nimport torch\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_loop import SMALL\nfrom training.nano.loop import Training\n"
        "if __name__ == '__main__':\n"
        "    torch.set_num_threads(1)\n"
        "    Training(SMALL, Path(sys.argv[1]), resume=True, device='cpu').run()\n"
    )
    out = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, str(script), str(out)], env=environment)
    with process:
        deadline = time.monotonic() + 120
        while not (out / "state.pt").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        going_on = Training(SMALL, out, resume=True, device="cpu")
        assert 0 < going_on.progress.steps < 12
        going_on.run()
        undisturbed = Training(SMALL, tmp_path / "undisturbed", device="cpu")
        undisturbed.run()
    finally:
        torch.set_num_threads(threads)
    assert _equal(going_on, undisturbed)


@pytest.mark.slow
def test_tiny_learns(tmp_path: Path) -> None:
    """In a minute the loss falls far, and colours are named more often than by whoever does not look."""
    chosen = recipe("tiny")
    training = Training(chosen, tmp_path, device="cpu")
    training.run()
    steps = [row for row in _lines(tmp_path) if row["event"] == "step"]
    tower = [row["loss"]["words"] for row in steps if row["stage"] == "tower"]
    answers = [row["loss"]["language"] for row in steps if row["stage"] == "answers"]
    assert tower[-1] < 0.7 * tower[0]
    assert answers[-1] < 0.35 * answers[0]
    found = [row for row in _lines(tmp_path) if row["event"] == "validation"][-1]["accuracy"]["picture near"]
    right, asked = found["colour"]
    scenes = Scenes("validation", chosen.seed)
    drawn = (scenes.picture(index, turns=16) for index in count())
    samples = islice(
        (sample for sample in drawn if any(turn.family == "colour" for turn in sample.turns)), chosen.check
    )
    questions = [
        measure.Question("picture", sample, turn)
        for sample in samples
        for turn in sample.turns
        if turn.family == "colour"
    ]
    blind = measure.prior(questions, seen=200)["picture near"]["colour"]
    assert blind[1] == asked
    assert right > 1.4 * blind[0]


def test_a_run_goes_on_on_another_machine(tmp_path: Path) -> None:
    here, there, packed = tmp_path / "here", tmp_path / "there", tmp_path / "packed"
    first = Training(SMALL, here, device="cpu")
    first.run(stop_after=8)
    first.pack(packed)
    assert (packed / "model.safetensors").stat().st_size < (here / "state.pt").stat().st_size / 4
    # What is taught may change on the way.
    other = replace(SMALL, stages=(SMALL.stages[0], replace(SMALL.stages[1], rate=2e-3)))
    second = Training(other, there, begun=packed, device="cpu")
    assert second.tokens.read_bytes() == first.tokens.read_bytes()
    assert (second.progress.stage, second.progress.steps, second.progress.changes) == (1, 8, 1)
    for mean, parameter, own in zip(
        first._average.mean, second.learner.parts.parameters(), second._average.mean, strict=True
    ):
        assert torch.equal(parameter, mean.bfloat16().float())
        assert torch.equal(own, parameter)
    assert not torch.equal(own, first._average.mean[-1]) or own.ndim == 0
    second.run()
    assert second.progress.steps == 12
    with pytest.raises(BadInput, match="at its end"):
        second.pack(packed)
    # A run that is there already is resumed instead.
    assert Training(other, there, resume=True, begun=packed, device="cpu").progress.steps == 12


@pytest.mark.parametrize("wrong", ["sizes", "stage", "nothing"])
def test_what_cannot_be_gone_on_with_is_refused(wrong: str, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    if wrong != "nothing":
        run = Training(SMALL, tmp_path / "here", device="cpu")
        run.run(stop_after=1)
        run.pack(packed)
    changed = {
        "sizes": replace(SMALL, sizes=replace(SMALL.sizes, text=(32, 2, 4, 128))),
        "stage": replace(SMALL, stages=(replace(SMALL.stages[0], name="eyes"), SMALL.stages[1])),
        "nothing": SMALL,
    }[wrong]
    with pytest.raises(BadInput, match="holds no run that 'small' can go on with"):
        Training(changed, tmp_path / "there", begun=packed, device="cpu")
