"""Plain questions about single things: who knows colours and shapes, and who learnt pairs of them by heart?"""

from collections import Counter
from collections.abc import Iterator

from evals.synth.scenes.asking import YES_NO, with_article
from evals.synth.scenes.sample import Turn
from evals.synth.scenes.stills import Still
from evals.synth.scenes.vocabulary import pair_split


def plain_questions(still: Still) -> Iterator[Turn]:
    """Every question that the names of a thing allow, in one wording; each says whether the pair is new."""
    things = [entity for entity in still.shapes if entity.named]
    colours, shapes = (Counter(getattr(entity, kind) for entity in still.shapes) for kind in ("colour", "shape"))
    nouns = Counter(entity.noun for entity in things)
    for entity in things:
        new = pair_split(entity.colour, entity.shape) != "train"
        if shapes[entity.shape] == 1:
            yield Turn(f"What colour is the {entity.shape}?", entity.colour, "colour of a shape", new=new)
            yield Turn(f"Where is the {entity.shape}?", entity.place, "place of a shape", new=new)
        if colours[entity.colour] == 1:
            yield Turn(f"What shape is the {entity.colour} object?", entity.shape, "shape of a colour", new=new)
        if nouns[entity.noun] == 1:
            yield Turn(f"Where is the {entity.noun}?", entity.place, "place of both", new=new)
            yield Turn(f"Is there {with_article(entity.noun)}?", YES_NO[0], "presence of both", new=new)
