"""What a step learns from: drawn samples as arrays. Nothing here imports torch, so that drawing processes start fast.

Every question of a sample stands in one sequence behind the same pictures and sees the pictures and itself alone, at
the places that it would have alone. So the pictures are read once for all questions, and each is exactly the prompt
that ``tools.vlm`` builds for it.
"""

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from evals.synth.scenes import CLASSES, Sample, Scenes, Split, Turn
from evals.synth.scenes.vocabulary import COLOURS, NAMED, universe
from tools.errors import BadInput
from training.nano.config import Mix, Stage
from training.nano.swaps import KINDS, Swaps, no_swaps, swap
from training.nano.vocabulary import END, TURN, beginnings, id_of

DESCRIBE = (
    "Describe the picture.",
    "What does the picture show?",
    "What can be seen?",
    "List everything that is visible.",
)
CAPTION = "caption"
#: Batches that are drawn together, so that each can get sequences of like length.
TOGETHER = 4
#: Room for the samples of one group of batches and for those that are passed over.
_STRIDE = 1 << 12

#: Of how much is kept where tokens are dropped the logarithm is uniform; what shows something is exp(lean) times as
#: likely to be kept, and in half of the samples what shows the same as a frame before exp(boredom) times less.
_LEAST_KEPT = 0.1
_LEAST_LEAN, _MOST_LEAN = -1.0, 6.0
_MOST_BOREDOM = 8.0

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Job:
    """Some batches of one kind to draw: the same job always gives the same.

    Attributes:
        first: index of the first sample.
        batches: how many, each of ``mix.batch`` samples.
        swap: in how many samples something is swapped, see `training.nano.swaps`.
        plain: whether pictures are asked what `Scenes.pairs` asks instead; families then tell which pairs are new.
    """

    split: Split
    seed: int
    first: int
    mix: Mix
    batches: int = TOGETHER
    swap: float = 0.0
    plain: bool = False


@dataclass(frozen=True)
class Batch:
    """Samples of one kind and length, B of them with T frames, and texts of at most L tokens.

    Attributes:
        frames: uint8 ``[B, T, SIDE, SIDE, 3]``.
        times: float64 ``[B, T]``.
        ids: ``[B, L]``, the tokens behind the pictures.
        turn: ``[B, L]``, which question a token belongs to, -1 for padding.
        place: ``[B, L]``, how far behind the pictures the token stands.
        target: ``[B, L]``, the token that is to be said next, -1 where nothing is learnt.
        forgiven: ``[B, L, K]``, tokens besides ``target`` that are not taken for wrong, see `Turn`; -1 where none are.
        families: the family of each question of each sample.
        labels: ``[B, T, 8, 8]`` for each kind of dense label.
        courses: likewise for what has become of things; of near clips alone.
        caption: ``[B, C]``, the tokens of the captions with their end; padded with 0.
        keep: the share of visual tokens that the decoder gets.
        rank: float32 ``[B, T, 8, 8]``, the patches in the order in which they are kept, the largest first.
        swaps: ``[B, classes]`` for colours and for shapes, what each is swapped for, mostly itself.
    """

    mix: Mix
    frames: npt.NDArray[np.uint8]
    times: npt.NDArray[np.float64]
    ids: Ints
    turn: Ints
    place: Ints
    target: Ints
    forgiven: Ints
    families: tuple[tuple[str, ...], ...]
    labels: dict[str, npt.NDArray[np.int64]]
    courses: dict[str, npt.NDArray[np.int64]]
    caption: Ints
    keep: float
    rank: npt.NDArray[np.float32]
    swaps: dict[str, Ints]

    def __len__(self) -> int:
        return len(self.frames)

    def part(self, rows: slice) -> "Batch":
        """Some of its samples, with texts as long as the longest of theirs."""
        longest = int((self.turn[rows] >= 0).sum(1).max(initial=0))
        text = {name: getattr(self, name)[rows, :longest] for name in ("ids", "turn", "place", "target", "forgiven")}
        return replace(
            self,
            frames=self.frames[rows],
            times=self.times[rows],
            families=self.families[rows],
            labels={kind: labels[rows] for kind, labels in self.labels.items()},
            courses={kind: labels[rows] for kind, labels in self.courses.items()},
            caption=self.caption[rows],
            rank=self.rank[rows],
            swaps={kind: tables[rows] for kind, tables in self.swaps.items()},
            **text,
        )

    @property
    def waste(self) -> float:
        """The part of the text that is padding."""
        return float((self.turn < 0).mean()) if self.turn.size else 0.0


def jobs(stage: Stage, seed: int, group: int = 0) -> Iterator[Job]:
    """The groups of `TOGETHER` batches of a stage from number ``group`` on, without end."""
    shares = np.array([mix.share for mix in stage.mixes])
    # Stages draw different samples, whatever their order and number.
    own = zlib.crc32(stage.name.encode())
    while True:
        chance = np.random.default_rng([seed, own, group])
        mix = stage.mixes[int(chance.choice(len(shares), p=shares / shares.sum()))]
        yield Job("train", seed, ((own << 24) + group) * _STRIDE, mix, swap=stage.swap)
        group += 1


def checks(stage: Stage, count: int, seed: int) -> list[Job]:
    """Jobs of the validation split, about ``count`` samples of each kind that the stage sees; and where pictures are
    asked about, plain questions about as many: what goes wrong with new pairs alone hardly shows in the others."""
    whole = [replace(mix, drop=0.0, again=False, jumbled=False) for mix in stage.mixes]
    found = [Job("validation", seed, 0, mix, batches=-(-count // mix.batch)) for mix in whole if count]
    if count and stage.language > 0 and any(mix.kind == "picture" and mix.turns for mix in whole):
        found.append(Job("validation", seed, 0, Mix(batch=count), batches=1, plain=True))
    return found


def draw(job: Job, vocabulary: Path) -> list[Batch]:
    """The batches of a job, with the tokens of the tokenizer in ``vocabulary``."""
    mix, tokenizer = job.mix, _tokenizer(vocabulary)
    chance = np.random.default_rng([job.seed, job.first & 0xFFFFFFFF, job.first >> 32])
    samples = list(islice(_samples(job), job.batches * mix.batch))
    turns = [_turns(sample, mix, chance) for sample in samples]
    swaps = [no_swaps() for _ in samples]
    if job.swap > 0 and mix.scale == "near":
        for at, sample in enumerate(samples):
            if chance.random() < job.swap:
                swaps[at], turns[at] = swap(sample, turns[at], chance)
    lengths = [len(_row(asked, tokenizer, {})[0]) for asked in turns]
    order = np.argsort(lengths, kind="stable").reshape(job.batches, mix.batch)
    return [
        pack([samples[at] for at in row], [turns[at] for at in row], mix, tokenizer, chance, [swaps[at] for at in row])
        for row in chance.permutation(order)
    ]


def _samples(job: Job) -> Iterator[Sample]:
    """Those from the job's first on about which anything of the mix's families can be asked.

    Raises:
        BadInput: if there are next to none.
    """
    mix = job.mix
    scenes = _scenes(job.split, job.seed, mix.jumbled)
    make = scenes.picture if mix.kind == "picture" else scenes.clip
    for index in range(job.first, job.first + _STRIDE):
        if job.plain:
            sample = _told(scenes.pairs(index))
        else:
            sample = make(index, turns=mix.turns, scale=mix.scale, again=mix.again)
        if not mix.families or any(turn.family in mix.families for turn in sample.turns):
            yield sample
    raise BadInput(
        f"hardly any {mix.scale} {mix.kind} can be asked about {', '.join(mix.families)}",
        remedy="name families that such samples have",
        field="families",
    )


def _told(sample: Sample) -> Sample:
    """A sample whose families tell which turns are about new pairs."""
    turns = (replace(turn, family=f"{'new' if turn.new else 'known'} {turn.family}") for turn in sample.turns)
    return replace(sample, turns=tuple(turns))


def pack(
    samples: Sequence[Sample],
    turns: Sequence[Sequence[Turn]],
    mix: Mix,
    tokenizer: Tokenizer,
    chance: np.random.Generator | None = None,
    swaps: Sequence[Swaps] | None = None,
) -> Batch:
    """Samples and what is asked about each as one batch; captions are shortened at random if there is ``chance``."""
    swaps = swaps or [no_swaps() for _ in samples]
    after = _unheard(tokenizer)
    rows = [_row(asked, tokenizer, after) for asked in turns]
    labels = {kind: np.stack([getattr(sample, kind) for sample in samples]) for kind in CLASSES}
    keep, rank = _dropping(labels, mix, chance)
    captions = [tokenizer.encode(_shortened(s.caption, chance)).ids[:159] for s in samples]
    end = id_of(tokenizer, END)
    return Batch(
        mix=mix,
        frames=np.stack([sample.frames for sample in samples]),
        times=np.stack([sample.times for sample in samples]),
        ids=_padded([row[0] for row in rows], 0),
        turn=_padded([row[1] for row in rows], -1),
        place=_padded([row[2] for row in rows], 0),
        target=_padded([row[3] for row in rows], -1),
        forgiven=_forgiven([row[4] for row in rows]),
        families=tuple(tuple(turn.family for turn in asked) for asked in turns),
        labels=labels,
        courses={kind: np.stack([sample.courses[kind] for sample in samples]) for kind in samples[0].courses},
        caption=_padded([[*ids, end] for ids in captions], 0),
        keep=keep,
        rank=rank,
        swaps={kind: np.stack([tables[kind] for tables in swaps]) for kind in KINDS},
    )


def _turns(sample: Sample, mix: Mix, chance: np.random.Generator) -> list[Turn]:
    asked = [turn for turn in sample.turns if not mix.families or turn.family in mix.families] if mix.turns else []
    # A sample about which nothing can be asked is described, so that no picture is read for nothing.
    if chance.random() < mix.caption or (mix.turns and not asked):
        question = DESCRIBE[int(chance.integers(len(DESCRIBE)))]
        asked.append(Turn(question=question, answer=sample.caption, family=CAPTION, scale=mix.scale))
    return asked + list(sample.lessons[: mix.lessons])


def _row(
    asked: Sequence[Turn], tokenizer: Tokenizer, after: Mapping[int, Sequence[int]]
) -> tuple[list[int], list[int], list[int], list[int], list[list[int]]]:
    """For every token its number, its turn, its place, the token to be said next, and those that are not wrong: those
    that the turn forgives, and those that are never heard ``after`` it."""
    ids: list[int] = []
    turns: list[int] = []
    places: list[int] = []
    targets: list[int] = []
    forgiven: list[list[int]] = []
    ending, end = tokenizer.encode(TURN).ids, id_of(tokenizer, END)
    for number, turn in enumerate(asked):
        prompt = [*tokenizer.encode(turn.question.strip()).ids, *ending]
        answer = tokenizer.encode(turn.answer).ids
        ids += [*prompt, *answer]
        turns += [number] * (len(prompt) + len(answer))
        places += range(len(prompt) + len(answer))
        targets += [*[-1] * (len(prompt) - 1), *answer, end]
        words = [token for word in turn.forgiven for token in beginnings(word, tokenizer)]
        forgiven += [[*words, *after.get(token, ())] for token in (*prompt, *answer)]
    return ids, turns, places, targets, forgiven


def _unheard(tokenizer: Tokenizer) -> dict[int, list[int]]:
    """For each token of a colour the tokens of the shapes that training never shows in it."""
    found: dict[int, list[int]] = {}
    for colour in COLOURS:
        shapes = [token for shape in universe("train").unheard(colour) for token in beginnings(shape, tokenizer)]
        found |= dict.fromkeys(beginnings(colour, tokenizer), shapes)
    return found


def _forgiven(rows: Sequence[Sequence[Sequence[int]]]) -> Ints:
    longest = max((len(row) for row in rows), default=0)
    most = max((len(words) for row in rows for words in row), default=0)
    table = np.full((len(rows), longest, most), -1, dtype=np.int64)
    for cells, row in zip(table, rows, strict=True):
        for cell, words in zip(cells, row, strict=False):
            cell[: len(words)] = words
    return table


def _shortened(caption: str, chance: np.random.Generator | None) -> str:
    """Half of the time only some of a caption's parts: people search for one thing, not for all that a scene shows."""
    parts = re.split(r", | and |\. ", caption.rstrip("."))
    if chance is None or len(parts) < 2 or chance.random() < 0.5:
        return caption
    kept = np.sort(chance.choice(len(parts), size=int(chance.integers(1, len(parts))), replace=False))
    return ", ".join(parts[index] for index in kept)


def _dropping(
    labels: dict[str, npt.NDArray[np.int64]], mix: Mix, chance: np.random.Generator | None
) -> tuple[float, npt.NDArray[np.float32]]:
    """How many visual tokens are kept, and which first: at random, but with a leaning of each sample's own towards
    patches that show something, or away from them, and perhaps away from those that show the same as before. A model
    that was never asked about pictures with holes is at a loss without its background, and without what it has seen in
    an earlier frame, whatever a compression method keeps."""
    shown = np.stack([labels[kind] for kind in NAMED])
    shows = np.any(shown > 0, axis=0)
    if chance is None or mix.drop == 0 or chance.random() >= mix.drop:
        return 1.0, np.zeros(shows.shape, np.float32)
    lean = chance.uniform(_LEAST_LEAN, _MOST_LEAN, (len(shows), 1, 1, 1))
    boredom = np.maximum(chance.uniform(-_MOST_BOREDOM, _MOST_BOREDOM, (len(shows), 1, 1, 1)), 0)
    again = np.zeros(shows.shape, np.bool_)
    again[:, 1:] = np.all(shown[:, :, 1:] == shown[:, :, :-1], axis=0)
    rank = chance.gumbel(size=shows.shape) + lean * shows - boredom * again
    return float(np.exp(chance.uniform(np.log(_LEAST_KEPT), np.log(mix.most)))), rank.astype(np.float32)


def _padded(rows: Sequence[Sequence[int]], value: int) -> Ints:
    longest = max((len(row) for row in rows), default=0)
    table = np.full((len(rows), longest), value, dtype=np.int64)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table


@lru_cache(maxsize=4)
def _scenes(split: Split, seed: int, jumbled: bool) -> Scenes:
    return Scenes(split, seed, jumbled=jumbled)


def _tokenizer(vocabulary: Path) -> Tokenizer:
    # A run that is begun anew in the same folder has another file there.
    return _read(vocabulary, vocabulary.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read(vocabulary: Path, _: int) -> Tokenizer:
    return Tokenizer.from_file(str(vocabulary))


def sentences(count: int, seed: int) -> Iterator[str]:
    """All that is said about ``count`` training samples, for the tokenizer to learn from."""
    scenes = Scenes("train", seed)
    yield from DESCRIBE
    for index in range(count):
        sample = scenes.clip(index) if index % 4 == 3 else scenes.picture(index)
        yield sample.caption
        for turn in (*sample.turns, *sample.lessons):
            yield turn.question
            yield turn.answer


__all__ = ["CAPTION", "DESCRIBE", "Batch", "Job", "checks", "draw", "jobs", "pack", "sentences"]
