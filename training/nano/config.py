"""What is trained and for how long: sizes, stages and what each stage sees, as frozen records."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from evals.synth.scenes import Scale
from evals.synth.scenes.vocabulary import NAMED
from tools.errors import BadInput, did_you_mean

Kind = Literal["picture", "clip"]


@dataclass(frozen=True)
class Sizes:
    """The parts of a model.

    Attributes:
        family: ``llava`` (CLIP tower with CLS, every frame a still) or ``qwen2_5_vl`` (merged patches, M-RoPE).
        vision, text: width, layers, heads and inner width of the vision tower and of the decoder.
        groups: heads of the decoder's keys and values.
        search: the same for the contrastive text tower; None trains none (a tower without CLS has nothing to match).
        space: length of the contrastive vectors.
        labels: the kinds of dense labels that are read off visual tokens.
        vocabulary: most tokens of the tokenizer, which is learnt from what is said about ``samples`` samples.
        context: most tokens of a prompt.
    """

    family: Literal["llava", "qwen2_5_vl"] = "llava"
    vision: tuple[int, int, int, int] = (224, 5, 7, 672)
    text: tuple[int, int, int, int] = (256, 6, 4, 512)
    groups: int = 2
    search: tuple[int, int, int, int] | None = (128, 2, 4, 384)
    space: int = 128
    labels: tuple[str, ...] = (*NAMED, "character")
    vocabulary: int = 1536
    samples: int = 2000
    context: int = 16384


@dataclass(frozen=True)
class Mix:
    """One kind of batch.

    Attributes:
        share: how often it comes, relative to the stage's others.
        batch: samples of a batch.
        turns: questions a sample.
        lessons: turns that only teach, see `Sample`, a sample at most.
        caption: how often a sample is to be described as well.
        drop: how often a part of a batch's visual tokens is left out, as compression will do.
        most: the largest part that is kept then. A clip with a quarter of its tokens costs half and shows as much.
        families: only these are asked about, and samples that have none of them are passed over; empty means all.
        again: whether the same is asked in several ways, see `Scenes.picture`. Of most events there is but one thing
            to ask, and a clip costs the same however much is asked about it.
        jumbled: whether half of the made-up words are any letters in any order, see `Universe`.
    """

    kind: Kind = "picture"
    scale: Scale = "near"
    share: float = 1.0
    batch: int = 32
    turns: int = 8
    lessons: int = 0
    caption: float = 0.0
    drop: float = 0.0
    most: float = 1.0
    families: tuple[str, ...] = ()
    again: bool = False
    jumbled: bool = False


@dataclass(frozen=True)
class Stage:
    """A part of the training with a learning rate that warms up and falls to a tenth along a cosine.

    Attributes:
        share: its part of the whole time or of all steps.
        rate: highest learning rate; ``tower`` is the factor of the vision tower's, 0 holds it fixed.
        language, dense, words, contrast, course: weights of the losses; 0 leaves the loss out.
        warmup: part of the stage in which the learning rate rises.
        swap: in how many near samples some colours or shapes are swapped, see `training.nano.swaps`.
        plurals: whether ``words`` speaks of "stars" as well as of "star". A plural is a token of its own that only
            counts use.
        blend: how much of what the parameters were when the stage began is mixed into what they are at its end. What
            is learnt beside other things is lost again in part, and between the two lies a model that knows more than
            either (Wortsman et al., arXiv:2109.01903).
    """

    name: str
    share: float
    mixes: tuple[Mix, ...]
    rate: float = 1e-3
    tower: float = 1.0
    language: float = 1.0
    dense: float = 0.0
    words: float = 0.0
    contrast: float = 0.0
    course: float = 0.0
    warmup: float = 0.05
    swap: float = 0.0
    plurals: bool = False
    blend: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """All that a training run is made of. A run limited by ``steps`` gives the same parameters every time; one limited
    by ``minutes`` goes as far as the machine gets.

    Attributes:
        save_minutes: how much work a kill can cost.
        lines: steps between two lines of the log.
        check_steps: steps between two measurements on the validation split; ``check`` samples of each kind.
        ema: decay of the running mean of the parameters, which is what is exported.
        workers: processes that draw; ``ahead`` jobs of four batches wait at most.
        judge: questions of each family and scale in the final measurements, and clips among which one is searched.
    """

    name: str
    sizes: Sizes
    stages: tuple[Stage, ...]
    minutes: float | None = None
    steps: int | None = None
    seed: int = 0
    decay: float = 0.05
    clip: float = 1.0
    ema: float = 0.99
    save_minutes: float = 3.0
    lines: int = 20
    check_steps: int = 500
    check: int = 64
    workers: int = 1
    ahead: int = 3
    judge: int = 80
    clips: int = 200

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What the model is asked about in any stage."""
        asked = {mix.kind for stage in self.stages for mix in stage.mixes if mix.turns and stage.language > 0}
        return tuple(kind for kind in get_args(Kind) if kind in asked)

    def limited(self, *, minutes: float | None = None, steps: int | None = None) -> "Recipe":
        """The recipe with another limit; unchanged without one.

        Raises:
            BadInput: both limits, or one that allows nothing.
        """
        if minutes is not None and steps is not None:
            raise BadInput("a run is limited by minutes or by steps", remedy="name one of the two", field="minutes")
        if (minutes is not None and minutes <= 0) or (steps is not None and steps < len(self.stages)):
            raise BadInput(
                "the limit leaves a stage without a step", remedy=f"allow {len(self.stages)} steps", field="steps"
            )
        if minutes is None and steps is None:
            return self
        return replace(self, minutes=minutes, steps=steps)


# Seeing comes first and alone: beside the noise of matching captions a tower takes many times as long to tell shapes.
_TOWER = Stage(
    "tower",
    share=30,
    mixes=(
        Mix(turns=0),
        Mix(scale="far", share=0.1, turns=0),
        Mix("clip", share=0.15, batch=4, turns=0),
    ),
    language=0.0,
    dense=1.0,
)
_MATCH = Stage(
    "match",
    share=6,
    mixes=(
        Mix(batch=64, turns=0),
        Mix(scale="far", share=0.25, batch=64, turns=0),
        Mix("clip", share=0.5, batch=16, turns=0),
    ),
    tower=0.5,
    language=0.0,
    dense=1.0,
    words=0.5,
    contrast=0.5,
    course=0.5,
)
_CAPTION = Stage(
    "caption",
    share=3,
    mixes=(Mix(turns=0, caption=1.0), Mix("clip", share=0.3, batch=8, turns=0, caption=1.0)),
    tower=0.3,
    dense=0.3,
    words=0.3,
    contrast=0.1,
    course=0.5,
)
# Where a thing is, it answers last: a run cut short at 900 steps, before that was sure, lost it again beside clips.
_ANSWERS = Stage(
    "answers",
    share=15,
    mixes=(
        Mix(turns=10, lessons=1, caption=0.2, drop=0.3),
        Mix(scale="far", share=0.08, turns=12),
        Mix("clip", share=0.35, batch=8, turns=8, lessons=1, caption=0.2, drop=0.5),
    ),
    tower=0.3,
    dense=0.2,
    words=0.2,
    contrast=0.1,
    course=0.5,
)
_BESIDE_EVENTS = (
    Mix("clip", share=0.3, batch=8, turns=8, lessons=1, caption=0.2, drop=0.8, most=0.4),
    Mix("clip", scale="far", share=0.06, batch=8, turns=12),
    Mix(share=0.3, turns=10, lessons=1, caption=0.2, drop=0.3),
    Mix(share=0.35, turns=20, drop=0.2, families=("count", "presence")),
    Mix(share=0.6, batch=64, turns=20, drop=0.1, families=("word", "number")),
    Mix(scale="far", share=0.06, turns=12),
)
# An answer about an event is one word, a lesson dozens, and the loss counts words: beside four lessons a clip all moved
# "nowhere" for a thousand steps, and without them nearly all went their way after 240 more.
_CLIPS = Stage(
    "clips",
    share=24,
    mixes=(
        Mix("clip", share=0.3, batch=16, turns=20, drop=0.8, most=0.4, families=("motion", "change")),
        Mix("clip", share=0.4, batch=16, turns=20, drop=0.8, most=0.4, families=("order", "speed", "meeting", "cut")),
        *_BESIDE_EVENTS,
    ),
    rate=4e-4,
    tower=0.5,
    dense=0.4,
    words=0.2,
    contrast=0.1,
    course=1.0,
)
_SHOWN = ("count", "presence", "word", "number")
_EVENTS = ("motion", "change", "order", "speed", "meeting", "cut")
# Letters and counts are learnt last and slowest.
_POLISH = replace(
    _CLIPS,
    name="polish",
    share=9,
    mixes=(
        Mix(share=0.4, turns=20, drop=0.2, families=("count", "presence")),
        Mix(share=0.3, batch=64, turns=20, drop=0.1, families=("word", "number")),
        Mix("clip", share=0.2, batch=16, turns=20, drop=0.8, most=0.4, families=_SHOWN),
        Mix("clip", share=0.2, batch=16, turns=20, drop=0.8, most=0.4, families=_EVENTS),
        Mix("clip", share=0.1, batch=8, turns=8, lessons=1, caption=0.2, drop=0.8, most=0.4),
        Mix("clip", scale="far", share=0.06, batch=8, turns=12),
        Mix(share=0.15, turns=10, lessons=1, caption=0.2, drop=0.3),
        Mix(scale="far", share=0.08, turns=12),
    ),
)
_STAGES = (_TOWER, _MATCH, _CAPTION, _ANSWERS, _CLIPS, _POLISH)

# The first nano goes on for longer. Which of two comes first is all there is to ask of many a clip, and "Is A left of
# B?" compares what is so with what was said: both are answered by chance unless they are asked often. Letters that look
# alike are told apart by a tower that still learns at the end; and from the first words on, colours are kept from
# speaking of shapes.
_EVENT = Mix("clip", batch=16, turns=20, drop=0.8, most=0.4)
_ASKED_ONCE = replace(_EVENT, share=0.3, families=("motion", "position", "cut"))
_ASKED_AGAIN = replace(_EVENT, share=0.4, turns=12, families=("order", "speed", "meeting", "change"), again=True)
_RELATIONS = replace(_EVENT, share=0.15, families=("relation",), again=True)
_LONGER = (
    _TOWER,
    replace(_MATCH, swap=0.5),
    # A caption speaks of all that is there, so that nothing can be swapped.
    _CAPTION,
    replace(_ANSWERS, swap=0.5),
    replace(_CLIPS, swap=0.5, mixes=(_ASKED_ONCE, _ASKED_AGAIN, *_BESIDE_EVENTS, _RELATIONS)),
    replace(
        _POLISH,
        share=27,
        tower=1.0,
        dense=1.5,
        swap=0.5,
        plurals=True,
        mixes=(
            Mix(share=0.4, turns=20, drop=0.2, families=("count", "presence")),
            Mix(share=0.25, batch=64, turns=20, drop=0.1, families=("word",)),
            Mix(share=0.15, batch=64, turns=20, drop=0.1, families=("number",)),
            Mix("clip", share=0.2, batch=16, turns=20, drop=0.8, most=0.4, families=_SHOWN),
            _ASKED_ONCE,
            _ASKED_AGAIN,
            _RELATIONS,
            Mix("clip", share=0.15, batch=8, turns=8, lessons=1, caption=0.2, drop=0.8, most=0.4),
            Mix("clip", scale="far", share=0.06, batch=8, turns=12),
            Mix(share=0.25, turns=10, lessons=1, caption=0.2, drop=0.3),
            Mix(scale="far", share=0.08, turns=12),
        ),
    ),
)
# Last comes what was rare. Words that can be spoken teach to expect a consonant behind a vowel, so that DOOR is read as
# if it had one; and in clips hardly anything was asked of what stands beside a thing. From far there is little to ask
# about, so that most of twelve questions are about what is not there, and "not visible" seems a safe answer: fewer are
# asked at a time. All else is asked less often and forgotten a little, which the blend makes good.
_RARE = replace(
    _LONGER[-1],
    name="rare",
    share=12,
    rate=3e-4,
    blend=0.5,
    mixes=(
        Mix(share=0.9, batch=64, turns=20, drop=0.1, families=("word",), jumbled=True),
        Mix(share=0.1, batch=64, turns=20, drop=0.1, families=("number",)),
        Mix(share=0.45, turns=20, drop=0.2, families=("count", "presence")),
        replace(_EVENT, share=0.3, families=("colour", "shape", "size", "unseen"), again=True),
        replace(_EVENT, share=0.2, families=(*_SHOWN, "unseen"), jumbled=True),
        replace(_ASKED_ONCE, share=0.2, families=(*_ASKED_ONCE.families, "unseen")),
        replace(_ASKED_AGAIN, share=0.25),
        replace(_RELATIONS, share=0.1),
        Mix("clip", share=0.1, batch=8, turns=8, lessons=1, caption=0.2, drop=0.8, most=0.4, jumbled=True),
        Mix(share=0.25, turns=10, lessons=1, caption=0.2, drop=0.3, jumbled=True),
        Mix("clip", scale="far", share=0.1, batch=8, turns=4),
        Mix(scale="far", share=0.12, batch=64, turns=4),
    ),
)

# A tower that names colours and a decoder that learns to say them: the least that shows that all of it works.
_TINY = (
    Stage("tower", 0.3, (Mix(batch=16, turns=0),), rate=4e-3, language=0.0, dense=0.5, words=1.0, contrast=0.1),
    Stage("answers", 0.7, (Mix(batch=16, turns=16, families=("colour",)),), rate=3e-3, words=0.3),
)

RECIPES: dict[str, Recipe] = {
    "nano": Recipe("nano", Sizes(), (*_LONGER, _RARE), steps=11700, judge=200),
    "nano-qwen": Recipe(
        "nano-qwen",
        Sizes(
            family="qwen2_5_vl",
            vision=(224, 6, 7, 560),
            text=(256, 6, 4, 512),
            groups=2,
            search=None,
            labels=NAMED,
        ),
        tuple(replace(stage, contrast=0.0) for stage in _STAGES),
        steps=8700,
    ),
    "tiny": Recipe(
        "tiny",
        Sizes(vision=(64, 2, 4, 128), text=(64, 2, 4, 128), groups=2, search=(32, 1, 2, 64), space=32, samples=100),
        _TINY,
        steps=240,
        check_steps=1000,
        check=128,
        judge=10,
        clips=20,
    ),
}


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        BadInput: if there is none.
    """
    if name not in RECIPES:
        raise BadInput(f"there is no training '{name}'", remedy=did_you_mean(name, RECIPES), field="config")
    return RECIPES[name]
