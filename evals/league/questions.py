"""What the league asks: questions about drawn pictures and clips, and two ways of taking away what they show."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from evals.synth.scenes import Sample, Scenes
from tools.media.frames import Frames

Kind = Literal["picture", "clip"]

#: Samples drawn for each question that a family is to have; a family rarer than that gets fewer questions.
_PATIENCE = 50
#: Numbers of things from which on they are letters or digits.
_GLYPH = 10_000
#: Families in which letters or digits have to be read.
_READING = ("number", "word")
_GREY = 127


@dataclass(frozen=True, eq=False)
class Question:
    """One question about a picture or a clip that no other question is about; equal only to itself.

    Attributes:
        family: what is asked about, e.g. "colour".
        answer: the truth, as `Turn.answer` writes it.
        things: int64 ``[T, 8, 8]``, which thing each patch shows, 0 for none.
    """

    kind: Kind
    family: str
    frames: Frames
    text: str
    answer: str
    things: npt.NDArray[np.int64]

    @property
    def task(self) -> str:
        """Kind and family in a word, e.g. "clip order"."""
        return f"{self.kind} {self.family}"

    @property
    def written(self) -> npt.NDArray[np.bool_]:
        """``[T, 8, 8]``, whether a patch shows a part of a letter or digit."""
        return self.things >= _GLYPH

    @property
    def group(self) -> str:
        """The tasks that it belongs to in few words: ``pictures``, or ``read`` or ``else`` of the clips."""
        return "pictures" if self.kind == "picture" else "read" if self.family in _READING else "else"


def draw(each: int, *, seed: int = 0) -> list[Question]:
    """Up to ``each`` questions of every family, in order of their task, from the test split at near scale."""
    scenes, found = Scenes("test", seed), []
    for kind in get_args(Kind):
        make, asked = scenes.picture if kind == "picture" else scenes.clip, Counter[str]()
        for index in range(each * _PATIENCE):
            sample = make(index, turns=8)
            turns = [turn for turn in sample.turns if asked[turn.family] < each]
            if not turns:
                continue
            # Rare families first: the common ones turn up again.
            turn = min(turns, key=lambda turn: asked[turn.family])
            asked[turn.family] += 1
            frames = Frames(sample.times, sample.frames)
            found.append(Question(kind, turn.family, frames, turn.question, turn.answer, _things(sample)))
    return sorted(found, key=lambda question: question.task)


def says(text: str, answer: str) -> bool:
    """Whether a generated text is the answer, whatever its case, white space and full stop."""
    return _plain(text) == _plain(answer)


def seen(frames: Frames) -> Frames:
    """The frames as they are."""
    return frames


def blind(frames: Frames) -> Frames:
    """As many frames that show nothing: even grey."""
    return Frames(frames.times, np.full_like(frames.images, _GREY))


def shuffled(frames: Frames) -> Frames:
    """The same pictures in another order, always the same one for the same count; times stay as they were."""
    order = np.random.default_rng(len(frames)).permutation(len(frames))
    return Frames(frames.times, frames.images[order])


def _things(sample: Sample) -> npt.NDArray[np.int64]:
    """A number for each colour, shape and glyph that come together."""
    return sample.colour + 100 * sample.shape + _GLYPH * sample.glyph


def _plain(text: str) -> str:
    return " ".join(text.casefold().rstrip(". ").split())
