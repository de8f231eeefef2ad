"""One sentence that lists what a scene shows, row by row from the left."""

from collections.abc import Sequence

from evals.synth.scenes.stills import Entity, Still
from evals.synth.scenes.stories import Story
from evals.synth.scenes.vocabulary import PLACES
from evals.synth.scenes.world import Writing


def caption(still: Still, place: str | None = None) -> str:
    """The caption of a near scene; of one seen from far where ``place`` says in which part of the frame it is."""
    entities = sorted(still.entities, key=lambda entity: (PLACES.index(entity.place), entity.x))
    if place is None:
        return sentence([f"{named(entity)} {where(entity.place)}" for entity in entities])
    listed = sentence([named(entity, sized=False) for entity in entities])
    return f"Far away {where(place)}: {listed[0].lower()}{listed[1:]}"


def story_caption(story: Story) -> str:
    """What a story shows first, and then what happens."""
    happens = [words for _, words in sorted(story.told, key=lambda told: told[0])]
    return f"{caption(story.first)[:-1]}; then {sentence(happens, capital=False) if happens else 'nothing changes.'}"


def named(entity: Entity, *, sized: bool = True) -> str:
    """What an entity is called where it is first mentioned."""
    thing = entity.thing
    if isinstance(thing, Writing):
        return f"the {thing.kind} {thing.text}"
    noun = f"{entity.size} {entity.noun}" if sized else entity.noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def where(place: str) -> str:
    """A part of the frame as an adverb."""
    if place == "middle":
        return "in the middle"
    return f"{'on' if place in ('left', 'right') else 'at'} the {place}"


def sentence(parts: Sequence[str], *, capital: bool = True) -> str:
    """Parts joined into a sentence."""
    if not parts:
        return "Nothing."
    joined = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
    return f"{joined[0].upper() if capital else joined[0]}{joined[1:]}."
