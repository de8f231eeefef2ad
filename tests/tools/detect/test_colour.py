"""Colour words."""

import numpy as np
import pytest

from evals.synth.shapes import PALETTE
from tools.detect.colour import COLOURS, dominant_colour


@pytest.mark.parametrize("name", PALETTE)
@pytest.mark.parametrize("light", [0.9, 1.0])
def test_drawn_colours_have_their_names(name: str, light: float) -> None:
    chance = np.random.default_rng(0)
    pixels = np.array(PALETTE[name]) * light + chance.normal(0, 4, (200, 3))
    assert dominant_colour(np.clip(pixels, 0, 255).astype(np.uint8)) == name


@pytest.mark.parametrize(
    ("rgb", "name"), [((10, 10, 12), "black"), ((128, 128, 130), "grey"), ((60, 200, 60), "green")]
)
def test_greys_and_others(rgb: tuple[int, int, int], name: str) -> None:
    assert dominant_colour(np.array([rgb], np.uint8)) == name


def test_a_mixture_has_no_colour() -> None:
    assert dominant_colour(np.array([PALETTE[name] for name in ("red", "green", "blue")], np.uint8)) is None
    assert dominant_colour(np.empty((0, 3), np.uint8)) is None


def test_every_word_is_listed() -> None:
    every = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3), axis=-1).reshape(-1, 3).astype(np.uint8)
    assert {dominant_colour(pixel[np.newaxis]) for pixel in every} == set(COLOURS)
