"""Drawn batches: the same job gives the same, questions are kept apart, and processes change nothing."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
from tokenizers import Tokenizer

from evals.synth.scenes import Scenes
from tools.errors import BadInput
from training.nano.batches import CAPTION, TOGETHER, Batch, Job, checks, draw, jobs, pack, sentences
from training.nano.config import Mix, Stage
from training.nano.feed import Feed
from training.nano.vocabulary import END, learn

STAGE = Stage("answers", 1.0, (Mix(batch=4, turns=3, caption=0.5), Mix("clip", batch=2, turns=2)))


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "tokens.json"
    tokenizer.save(str(path))
    return path


def _same(one: Batch, other: Batch) -> bool:
    arrays = ("frames", "times", "ids", "turn", "place", "target", "caption")
    return one.families == other.families and all(np.array_equal(getattr(one, n), getattr(other, n)) for n in arrays)


def test_jobs_are_a_function_of_stage_seed_and_place() -> None:
    first = list(islice(jobs(STAGE, 0), 6))
    assert list(islice(jobs(STAGE, 0, 4), 2)) == first[4:]
    assert len({job.first for job in first}) == 6
    assert {job.mix.kind for job in islice(jobs(STAGE, 0), 30)} == {"picture", "clip"}
    assert first != list(islice(jobs(STAGE, 1), 6))
    assert {job.first for job in first}.isdisjoint(
        job.first for job in islice(jobs(replace(STAGE, name="clips"), 0), 6)
    )


def test_a_job_draws_the_same_batches_again(vocabulary: Path) -> None:
    job = next(jobs(STAGE, 0))
    one, again = draw(job, vocabulary), draw(job, vocabulary)
    assert len(one) == TOGETHER
    assert all(map(_same, one, again))
    assert not _same(one[0], one[1])


def test_other_tokens_in_the_same_place_are_read_anew(vocabulary: Path, tmp_path: Path) -> None:
    path, job = tmp_path / "tokens.json", next(jobs(STAGE, 0))
    path.write_bytes(vocabulary.read_bytes())
    before = draw(job, path)[0]
    smaller = learn(sentences(5, 1), 300)
    smaller.save(str(path))
    os.utime(path, ns=(1, 1))
    after = draw(job, path)[0]
    assert int(before.ids.max()) >= smaller.get_vocab_size() > int(after.ids.max())


def test_sequences_of_one_batch_are_of_like_length(vocabulary: Path) -> None:
    job = replace(next(jobs(STAGE, 0)), mix=Mix(batch=8, turns=4))
    lengths = [np.sort((batch.turn >= 0).sum(1)) for batch in draw(job, vocabulary)]
    spans = sorted((length[0], length[-1]) for length in lengths)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


def test_workers_change_nothing(vocabulary: Path) -> None:
    some = list(islice(jobs(STAGE, 0), 3))
    with closing(Feed(vocabulary, workers=0)) as alone, closing(Feed(vocabulary, workers=1, ahead=2)) as pool:
        expected, found = list(alone.batches(some)), list(pool.batches(some))
    assert len(expected) == 3 * TOGETHER
    assert all(map(_same, expected, found))


def test_answers_alone_are_learnt(tokenizer: Tokenizer) -> None:
    sample = Scenes("train").picture(0, turns=3)
    batch = pack([sample], [sample.turns], Mix(), tokenizer)
    end = tokenizer.token_to_id(END)
    for number, turn in enumerate(sample.turns):
        here = batch.turn[0] == number
        wanted = batch.target[0, here]
        assert wanted[wanted >= 0].tolist() == [*tokenizer.encode(turn.answer).ids, end]
        assert batch.place[0, here].tolist() == list(range(here.sum()))
        # What is to be said next stands there next.
        said = batch.ids[0, here][1:][wanted[:-1] >= 0]
        assert said.tolist() == tokenizer.encode(turn.answer).ids
    assert batch.families == (tuple(turn.family for turn in sample.turns),)


def test_only_the_families_of_the_mix_are_asked(vocabulary: Path) -> None:
    job = replace(next(jobs(STAGE, 0)), mix=Mix(batch=4, turns=8, families=("count",)))
    rows = [row for batch in draw(job, vocabulary) for row in batch.families]
    assert all(set(row) == {"count"} for row in rows)


def test_a_mix_may_ask_the_same_again(vocabulary: Path) -> None:
    mix = Mix("clip", batch=6, turns=12, families=("order",))

    def asked(again: bool) -> list[int]:
        job = Job("train", 0, 0, replace(mix, again=again), batches=2)
        return [len(row) for batch in draw(job, vocabulary) for row in batch.families]

    assert set(asked(again=False)) == {1}
    assert np.mean(asked(again=True)) > 3
    assert not any(job.mix.again for job in checks(Stage("clips", 1.0, (replace(mix, again=True),)), 6, 0))


def test_a_mix_may_show_jumbled_words(vocabulary: Path) -> None:
    mix = Mix(batch=16, turns=8, families=("word",))

    def shown(jumbled: bool) -> list[Batch]:
        return draw(Job("train", 0, 0, replace(mix, jumbled=jumbled)), vocabulary)

    assert not any(map(_same, shown(jumbled=True), shown(jumbled=False)))
    assert not any(job.mix.jumbled for job in checks(Stage("words", 1.0, (replace(mix, jumbled=True),)), 6, 0))


def test_samples_that_cannot_be_asked_are_passed_over(vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = replace(next(jobs(STAGE, 0)), mix=Mix("clip", batch=2, turns=20, families=("order", "speed")))
    rows = [row for batch in draw(job, vocabulary) for row in batch.families]
    assert len(rows) == 2 * TOGETHER
    assert set().union(*rows) == {"order", "speed"}
    monkeypatch.setattr("training.nano.batches._STRIDE", 20)
    with pytest.raises(BadInput, match="hardly any near picture can be asked about speed"):
        draw(replace(job, mix=Mix(batch=1, turns=1, families=("speed",))), vocabulary)


def test_captions_are_asked_for_as_often_as_the_mix_says(vocabulary: Path) -> None:
    job = replace(next(jobs(STAGE, 0)), mix=Mix(batch=8, turns=0, caption=1.0))
    assert {row for batch in draw(job, vocabulary) for row in batch.families} == {(CAPTION,)}


def test_some_clips_lose_what_they_have_shown_before(tokenizer: Tokenizer) -> None:
    clips = map(Scenes("train").clip, range(100))
    resting = next(one for one in clips if all((kind == kind[0]).all() for kind in (one.colour, one.shape, one.glyph)))
    samples = [resting] * 100
    chance = np.random.default_rng(0)
    batch = pack(samples, [resting.turns] * 100, Mix("clip", drop=1.0), tokenizer, chance)
    gaps = batch.rank[:, 0].mean((1, 2)) - batch.rank[:, 1:].mean((1, 2, 3))
    # In the other half the first frame is nothing special.
    assert 30 < (np.abs(gaps) < 0.6).sum() < 70
    assert (gaps > -0.6).all()
    assert gaps.max() > 5


def test_as_many_samples_are_swapped_as_the_stage_says(vocabulary: Path) -> None:
    def swapped(stage: Stage) -> float:
        batches = draw(replace(next(jobs(stage, 0)), batches=2), vocabulary)
        tables = [batch.swaps[kind] for batch in batches for kind in ("colour", "shape")]
        changed = [(table != np.arange(table.shape[1])).any(1) for table in tables]
        return float(np.mean(np.concatenate(changed)) * 2)

    match = Stage("match", 1.0, (Mix(batch=40, turns=0),))
    assert swapped(match) == 0
    assert 0.3 < swapped(replace(match, swap=0.5)) < 0.6
    assert swapped(replace(match, swap=1.0)) > 0.85
    assert swapped(Stage("far", 1.0, (Mix(scale="far", batch=10, turns=0),), swap=1.0)) == 0
    assert all(job.swap == 0 for job in checks(replace(match, swap=1.0), 8, 0))


def test_checks_are_of_the_validation_split() -> None:
    found = checks(STAGE, 8, 0)
    assert {job.split for job in found} == {"validation"}
    assert [job.batches * job.mix.batch for job in found] == [8, 8, 8]
    assert [job.plain for job in found] == [False, False, True]
    assert not any(job.plain for job in checks(replace(STAGE, language=0.0), 8, 0))
    assert checks(STAGE, 0, 0) == []


def test_checks_tell_new_pairs_from_known_ones(vocabulary: Path) -> None:
    (job,) = (one for one in checks(STAGE, 40, 0) if one.plain)
    (batch,) = draw(job, vocabulary)
    asked = Counter(family for row in batch.families for family in row if family != CAPTION)
    assert {family.split()[0] for family in asked} == {"new", "known"}
    scenes = Scenes("validation")
    turns = [turn for index in range(40) for turn in scenes.pairs(index).turns]
    assert sum(asked[family] for family in asked if family.startswith("new")) == sum(turn.new for turn in turns) > 20
    assert asked.total() == len(turns)


@pytest.mark.slow
def test_drawing_processes_end_with_the_one_that_was_killed(vocabulary: Path) -> None:
    script = (
        "import sys\nfrom itertools import islice\nfrom pathlib import Path\n"
        "from training.nano.batches import jobs\nfrom training.nano.config import Mix, Stage\n"
        "from training.nano.feed import Feed\n"
        "if __name__ == '__main__':\n"
        "    feed = Feed(Path(sys.argv[1]), workers=1)\n"
        "    stage = Stage('answers', 1.0, (Mix(batch=2, turns=1),))\n"
        "    found = feed.batches(jobs(stage, 0))\n"
        "    next(found)\n    sys.stdout.write('drawn\\n'); sys.stdout.flush()\n    sys.stdin.read()\n"
    )
    path = vocabulary.with_name("draws.py")
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    process = subprocess.Popen(
        [sys.executable, str(path), str(vocabulary)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "drawn\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(child.is_running() and child.status() != "zombie" for child in children):
        assert time.monotonic() < deadline, "a drawing process outlived its parent"
        time.sleep(0.1)
