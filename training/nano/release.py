"""From a finished run to a checkpoint with its card: the mean of the parameters, the words it met, its temperature, its
figures."""

import json
from itertools import product
from pathlib import Path
from typing import Any, get_args

from evals.synth.scenes import Scale
from tools.vlm.engine import Engine
from tools.vlm.familiar import Familiar
from tools.vlm.loading import load_host
from training.nano import measure
from training.nano.batches import sentences
from training.nano.card import card
from training.nano.loop import Training
from training.nano.models import export, parameters


def release(training: Training, folder: Path) -> Path:
    """Writes the checkpoint, fits its temperature on the validation split, measures it on the test split and writes
    ``README.md`` and ``measured.json`` beside the weights."""
    recipe = training.recipe
    with training.averaged():
        export(training.models, recipe.sizes, folder)
        Familiar.of(sentences(recipe.sizes.samples, recipe.seed)).save(folder)
        # Not many questions are needed to fit one number.
        asked = [
            question
            for kind, scale in product(recipe.kinds, get_args(Scale))
            for question in measure.questions("validation", kind, scale, max(2, recipe.judge // 4), seed=recipe.seed)
        ]
        fitted = measure.temperature(Engine(load_host(folder)), asked)
        export(training.models, recipe.sizes, folder, temperature=fitted)
    measured = measure.examine(folder, recipe.judge, recipe.clips, kinds=recipe.kinds)
    facts = {
        "parameters": parameters(training.models.host),
        "vocabulary": training.models.tokenizer.get_vocab_size(),
        "run": _run(training),
    }
    (folder / "measured.json").write_text(json.dumps({**facts, **measured}, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card(recipe, facts, measured), encoding="utf-8")
    return folder


def _run(training: Training) -> dict[str, Any]:
    recipe, progress = training.recipe, training.progress
    shares = sum(stage.share for stage in recipe.stages)
    return {
        "config": recipe.name,
        "stages": [f"{stage.name} {stage.share / shares:.0%}" for stage in recipe.stages],
        "steps": progress.steps,
        "seconds": round(progress.seconds_before, 1),
        "changes": progress.changes,
    }
