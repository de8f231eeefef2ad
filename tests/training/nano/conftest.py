from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from tokenizers import Tokenizer

from training.nano.batches import sentences
from training.nano.config import Sizes, recipe
from training.nano.models import Models, build
from training.nano.vocabulary import learn

SIZES: dict[str, Sizes] = {
    "llava": recipe("tiny").sizes,
    "qwen2_5_vl": replace(recipe("tiny").sizes, family="qwen2_5_vl", search=None),
}


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A tokenizer of the scenes' own sentences."""
    return learn(sentences(40, 0), 600)


@pytest.fixture(scope="session")
def sizes() -> dict[str, Sizes]:
    """The sizes of the models of each family."""
    return SIZES


@pytest.fixture(scope="session")
def tiny(tokenizer: Tokenizer) -> Callable[[str], Models]:
    """Random models of a family, the same for all tests."""

    @cache
    def make(family: str) -> Models:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            models = build(SIZES[family], tokenizer)
            for parameter in models.host.parameters():
                # Far enough from nothing that attention tells tokens apart and no two logits are nearly the same.
                parameter.data.add_(0.1 * torch.randn_like(parameter))
        return models

    return make
