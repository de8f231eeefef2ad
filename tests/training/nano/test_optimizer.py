"""Which parameters take which steps, how large they are, and that going on is going on."""

import copy
from collections.abc import Callable

import pytest
import torch

from training.nano.models import Models
from training.nano.optimizer import Optimizer


@pytest.fixture(params=["llava", "qwen2_5_vl"])
def parts(request: pytest.FixtureRequest, tiny: Callable[[str], Models]) -> torch.nn.ModuleDict:
    return copy.deepcopy(tiny(request.param).parts())


def _graded(parts: torch.nn.ModuleDict, seed: int = 0) -> None:
    chance = torch.Generator().manual_seed(seed)
    for parameter in parts.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=chance)


def _steps(parts: torch.nn.ModuleDict, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    before = {name: parameter.detach().clone() for name, parameter in parts.named_parameters()}
    optimizer.step()
    return {name: parameter.detach() - before[name] for name, parameter in parts.named_parameters()}


def test_hidden_matrices_take_the_same_step_in_every_direction(parts: torch.nn.ModuleDict) -> None:
    optimizer = Optimizer(parts, decay=0.0)
    optimizer.rate(1e-3, tower=1.0)
    _graded(parts)
    even = set()
    for name, step in _steps(parts, optimizer).items():
        assert step.abs().max() > 0, name
        # AdamW's first step is all signs.
        if step.ndim == 2 and not torch.allclose(step.abs(), torch.full_like(step, 1e-3), rtol=1e-2):
            # Newton and Schulz' iteration brings most singular values near 1, not to it, and the least stay behind.
            values = torch.linalg.svdvals(step)
            assert values.max() < 2.2 * values.quantile(0.1), name
            # About as large as a step of AdamW.
            assert 1e-4 < step.square().mean().sqrt() < 4e-4, name
            even.add(name)
    assert any(".layers." in name and "mlp" in name for name in even)
    assert any("projector" in name or "merger" in name for name in even)
    assert any(".vision_tower." in name or ".visual.blocks." in name for name in even)
    assert not any(part in name for name in even for part in ("embed", "lm_head", "heads.", "projection", "norm"))


def test_the_tower_has_a_rate_of_its_own(parts: torch.nn.ModuleDict) -> None:
    optimizer = Optimizer(parts, decay=0.1)
    optimizer.rate(1e-3, tower=0.0)
    _graded(parts)
    for name, step in _steps(parts, optimizer).items():
        assert bool(step.any()) != (".vision_tower." in name or ".visual." in name), name


def test_without_gradients_nothing_moves(parts: torch.nn.ModuleDict) -> None:
    optimizer = Optimizer(parts, decay=0.1)
    optimizer.rate(1e-3, tower=1.0)
    _graded(parts)
    optimizer.zero_grad()
    assert not any(step.any() for step in _steps(parts, optimizer).values())


def test_it_goes_on_where_another_stood(parts: torch.nn.ModuleDict) -> None:
    other = copy.deepcopy(parts)
    one, two = Optimizer(parts, decay=0.1), Optimizer(other, decay=0.1)
    for seed in range(2):
        one.rate(1e-3, tower=0.5)
        _graded(parts, seed)
        one.step()
    other.load_state_dict(parts.state_dict())
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    for module, optimizer in ((parts, one), (other, two)):
        optimizer.rate(1e-3, tower=0.5)
        _graded(module, 2)
        optimizer.step()
    for left, right in zip(parts.parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right)
