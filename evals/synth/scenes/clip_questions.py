"""What can be asked about a story."""

import random
from collections.abc import Callable
from dataclasses import replace

from evals.synth.scenes.asking import YES_NO, Ask
from evals.synth.scenes.courses import DIRECTIONS
from evals.synth.scenes.sample import CLIP_FRAMES
from evals.synth.scenes.still_questions import StillQuestions
from evals.synth.scenes.stills import Entity, Still
from evals.synth.scenes.stories import SIDES, Story
from evals.synth.scenes.vocabulary import COLOURS, PLACES, UNSEEN, Universe, place_of

Maker = Callable[["ClipQuestions", random.Random], Ask | None]

_ABSENT = 0.12
#: How often a clip without cuts is asked about cuts, so that "no" and "0" are no better guesses than others.
_UNCUT_YES, _UNCUT_COUNT = 0.05, 0.022
#: How far inside the frame, and from the borders between its parts, the middle of what is placed must be.
_INSIDE, _CLEAR = 0.06, 0.03


_LOOKS = {
    "colour": StillQuestions.colour,
    "shape": StillQuestions.shape,
    "presence": StillQuestions.presence,
}


class ClipQuestions:
    """Questions about what happens in a clip, and about the looks of what stays as it is."""

    def __init__(self, story: Story, universe: Universe) -> None:
        self._story, self._universe = story, universe
        self._still = StillQuestions(Still(story.first.backdrop, story.cast), universe, placed=False)

    def motion(self, chance: random.Random) -> Ask | None:
        """Where something moves, if it does."""
        if not self._story.speeds and not self._story.meetings:
            return None
        if chance.random() < _ABSENT:
            return self._unseen(chance, "motion", tuple(DIRECTIONS))
        entity = chance.choice(list(self._story.directions))
        answer = self._story.directions[entity]
        if answer == "nowhere" and chance.random() < 0.7:
            return None
        wrong = [value for value in (*DIRECTIONS, "nowhere") if value != answer]
        return self._about(chance, "motion", "motion", entity, answer, wrong)

    def moves(self, chance: random.Random) -> Ask | None:
        """Whether something moves."""
        yes = chance.random() < 0.5
        found = [entity for entity, where in self._story.directions.items() if (where != "nowhere") == yes]
        resting = any(where == "nowhere" for where in self._story.directions.values())
        if not found or not resting:
            return None
        return self._about(chance, "motion", "motion yes", chance.choice(found), YES_NO[not yes])

    def side(self, chance: random.Random) -> Ask | None:
        """Where something comes in or goes out."""
        wording = chance.choice(("motion from", "motion to"))
        known = {entity: side for entity, (_, side) in self._story.arrivals.items() if side}
        if wording == "motion to":
            known = self._story.exits
        if not known:
            return None
        if chance.random() < _ABSENT:
            return self._unseen(chance, wording, tuple(SIDES.values()))
        entity = chance.choice(list(known))
        wrong = [side for side in SIDES.values() if side != known[entity]]
        return self._about(chance, "motion", wording, entity, known[entity], wrong)

    def place(self, chance: random.Random) -> Ask | None:
        """Where something is when the clip begins or when it ends."""
        if self._story.cuts or self._story.changes:
            return None
        wording, time = chance.choice((("place first", 0), ("place last", CLIP_FRAMES - 1)))
        if chance.random() < _ABSENT:
            return self._unseen(chance, wording, PLACES)
        things = [entity for entity in self._story.cast if entity.shape and entity.thing.there(time)]
        found = {entity: entity.thing.at(time) for entity in things}
        clear = {entity: place_of(*where) for entity, where in found.items() if _clearly_placed(*where)}
        if not clear:
            return None
        # What stays where it is says nothing about beginning and end.
        going = [entity for entity in clear if self._story.directions.get(entity, "nowhere") != "nowhere"]
        entity = chance.choice(going if going and chance.random() < 0.7 else list(clear))
        wrong = [place for place in PLACES if place != clear[entity]]
        return self._about(chance, "position", wording, entity, clear[entity], wrong)

    def speed(self, chance: random.Random) -> Ask | None:
        """Which of two is faster."""
        if len(self._story.speeds) < 2:
            return None
        faster, slower = sorted(self._story.speeds, key=lambda entity: -self._story.speeds[entity])[:2]
        return self._which(chance, "speed", "speed", faster, slower)

    def order(self, chance: random.Random) -> Ask | None:
        """Which of two comes, or changes, first."""
        arrivals = {entity: step for entity, (step, _) in self._story.arrivals.items()}
        changes = {entity: step for entity, (step, _, _) in self._story.changes.items()}
        steps, wording = (arrivals, "order") if len(arrivals) >= 2 else (changes, "order change")
        if len(steps) < 2:
            return None
        early, late = sorted(steps, key=lambda entity: steps[entity])[:2]
        if wording == "order" and chance.random() < 0.4:
            yes = chance.random() < 0.5
            one, other = (early, late) if yes else (late, early)
            names = self._still.names(chance, one, other)
            if names is None:
                return None
            return Ask("order", "order yes", names, YES_NO[not yes], (), ("order",))
        return self._which(chance, "order", wording, early, late)

    def change(self, chance: random.Random) -> Ask | None:
        """What colour something becomes or was, or whether it changes at all."""
        changes = self._story.changes
        if not changes:
            return None
        kind = chance.choice(("change to", "change from", "change yes", "change yes", "change number"))
        if kind == "change number":
            return self._number(chance)
        if kind == "change yes":
            yes = chance.random() < 0.5
            pool = [entity for entity in self._story.cast if entity.shape and (entity in changes) == yes]
            if len(changes) == sum(bool(entity.shape) for entity in self._story.cast) or not pool:
                return None
            # Asked once, and neither way after the change has been spoken of.
            shadow = self._of_shape("change", kind, chance.choice(list(changes)), "yes")
            asked = shadow if yes else self._of_shape("change", kind, chance.choice(pool), "no")
            return replace(asked, about=(kind,), shadow=shadow)
        if chance.random() < _ABSENT:
            return self._unseen(chance, kind, tuple(COLOURS))
        entity = chance.choice(list(changes))
        _, before, after = changes[entity]
        answer = after if kind == "change to" else before
        wrong = [colour for colour in COLOURS if colour != answer]
        return self._of_shape("change", kind, entity, answer, wrong)

    def meeting(self, chance: random.Random) -> Ask | None:
        """Whether two things meet, and which."""
        met = any(met for _, _, met in self._story.meetings)
        # Where nothing meets, the answer can only be no; elsewhere it is more often yes.
        yes = met and chance.random() < 0.67
        pool = [(one, other) for one, other, touched in self._story.meetings if touched == yes]
        if not pool:
            return None
        one, other = chance.choice(pool)
        if met and chance.random() < 0.25:
            one, other = next((one, other) for one, other, touched in self._story.meetings if touched)
            found = self._still.refer(chance, one, "meeting")
            answer = f"{other.colour} {other.shape}"
            wrong = {f"{entity.colour} {entity.shape}" for entity in self._story.cast if entity not in (one, other)}
            wrong |= {" ".join(self._universe.pair(chance)) for _ in range(3)} - {answer}
            if found is None:
                return None
            return Ask("meeting", "meeting which", {"ref": found[0]}, answer, sorted(wrong), ("meeting",))
        pair = (one, other) if chance.random() < 0.5 else (other, one)
        names = self._still.names(chance, *pair)
        if names is None:
            return None
        return Ask("meeting", "meeting", names, YES_NO[not yes], (), ("meeting",))

    def cut(self, chance: random.Random) -> Ask | None:
        """Whether and how often the scene is cut, and on which side of the cut something is seen."""
        cuts = self._story.cuts
        kind = chance.choice(("cut yes", "cut count", "cut side"))
        if kind == "cut side":
            alone = [entity for entity in self._story.halves if self._still.is_single(entity)]
            if not alone:
                return None
            entity = chance.choice(alone)
            ref = f"{entity.colour} {entity.shape}"
            return Ask("cut", kind, {"ref": ref}, self._story.halves[entity], (), ("cut side", ref))
        if not cuts and chance.random() > (_UNCUT_YES if kind == "cut yes" else _UNCUT_COUNT):
            return None
        answer = YES_NO[not cuts] if kind == "cut yes" else str(cuts)
        wrong = [] if kind == "cut yes" else [str(number) for number in range(4) if number != cuts]
        return Ask("cut", kind, {}, answer, wrong, ("cut",))

    def looks(self, chance: random.Random) -> Ask | None:
        """What could be asked of a still as well."""
        looks = self._story.looks
        return _LOOKS[chance.choice(looks)](self._still, chance) if looks else None

    def _number(self, chance: random.Random) -> Ask | None:
        if self._story.numbers is None:
            return None
        before, after = self._story.numbers
        others = {self._universe.number(chance) for _ in range(3)} - {after, before}
        return Ask("change", "change number", {}, after, [before, *sorted(others)], ("number",))

    def _about(
        self,
        chance: random.Random,
        family: str,
        wording: str,
        entity: Entity,
        answer: str,
        wrong: list[str] | None = None,
    ) -> Ask | None:
        found = self._still.refer(chance, entity, family)
        if found is None:
            return None
        return Ask(family, wording, {"ref": found[0]}, answer, wrong or (), (wording, entity))

    def _of_shape(self, family: str, wording: str, entity: Entity, answer: str, wrong: list[str] | None = None) -> Ask:
        """A question about a thing whose colour would give the answer away."""
        unheard = self._universe.unheard(entity.shape)
        return Ask(family, wording, {"ref": entity.shape}, answer, wrong or (), ("change", entity), forgiven=unheard)

    def _which(self, chance: random.Random, family: str, wording: str, right: Entity, other: Entity) -> Ask | None:
        pair = (right, other) if chance.random() < 0.5 else (other, right)
        if wording == "order change":
            slots = {"ref": pair[0].shape, "other": pair[1].shape}
            return Ask(family, wording, slots, right.shape, (), (wording,))
        names = self._still.names(chance, *pair)
        if names is None:
            return None
        return Ask(family, wording, names, names["ref" if pair[0] is right else "other"], (), (wording,))

    def _unseen(self, chance: random.Random, wording: str, values: tuple[str, ...]) -> Ask | None:
        ref = self._still.absent(chance, "colour" if wording.startswith("change") else wording)
        if ref is None:
            return None
        return Ask("unseen", wording, {"ref": ref}, UNSEEN, chance.sample(values, 3), (wording, ref))


def _clearly_placed(x: float, y: float) -> bool:
    """Whether a middle lies inside the frame and not on the border between two of its parts."""
    return all(_INSIDE < at < 1 - _INSIDE and min(abs(at - 1 / 3), abs(at - 2 / 3)) > _CLEAR for at in (x, y))


MAKERS: dict[str, tuple[Maker, float]] = {
    "motion": (ClipQuestions.motion, 1.2),
    "moves": (ClipQuestions.moves, 0.7),
    "side": (ClipQuestions.side, 1),
    "place": (ClipQuestions.place, 2),
    "speed": (ClipQuestions.speed, 4),
    "order": (ClipQuestions.order, 5),
    "change": (ClipQuestions.change, 2.5),
    "meeting": (ClipQuestions.meeting, 6),
    "cut": (ClipQuestions.cut, 3),
    "looks": (ClipQuestions.looks, 1),
}
