"""Procedurally drawn pictures, clips and long videos with questions whose answers are known exactly."""

from evals.synth.scenes.benchmark import Film, Needle, NeedleTruth, benchmark, needles_path
from evals.synth.scenes.sample import CLIP_FRAMES, PATCH, SIDE, Sample, Scale, Turn
from evals.synth.scenes.scenes import Scenes
from evals.synth.scenes.vocabulary import CLASSES, COURSES, SPLITS, Split

__all__ = [
    "CLASSES",
    "CLIP_FRAMES",
    "COURSES",
    "PATCH",
    "SIDE",
    "SPLITS",
    "Film",
    "Needle",
    "NeedleTruth",
    "Sample",
    "Scale",
    "Scenes",
    "Split",
    "Turn",
    "benchmark",
    "needles_path",
]
