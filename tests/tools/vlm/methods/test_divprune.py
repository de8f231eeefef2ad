"""DivPrune against the definition of greedy max-min diversity."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.tools.vlm.methods.scored import frames, random, towerless
from tools.vlm.methods.divprune import DivPrune
from tools.vlm.tokens import VisualTokens

law = settings(max_examples=30)


def reference(features: torch.Tensor, count: int) -> list[int]:
    """Every pick compares every candidate with every token picked so far."""
    unit = (features / features.norm(dim=1, keepdim=True)).double()
    cosine = unit @ unit.T
    distance = (1 - torch.maximum(cosine, cosine.T)).tolist()
    every = range(len(features))
    picks = [max(every, key=lambda i: (min(distance[i][j] for j in every if j != i), -i))]
    while len(picks) < count:
        left = [i for i in every if i not in picks]
        picks.append(max(left, key=lambda i: (min(distance[i][j] for j in picks), -i)))
    return picks


def kept(features: torch.Tensor, count: int) -> list[int]:
    tokens = VisualTokens.full(features, frames(len(features) // 5, 1, 5))
    return DivPrune(tokens=count).merge(tokens, towerless()).index.tolist()


@law
@given(st.integers(1, 4), st.integers(0, 999), st.data())
def test_keeps_what_the_naive_greedy_picks(pictures: int, seed: int, data: st.DataObject) -> None:
    features = random(seed, pictures * 5, 4)
    count = data.draw(st.integers(1, len(features)))
    assert kept(features, count) == sorted(reference(features, count))


def test_of_two_that_are_each_others_nearest_the_earlier_is_first() -> None:
    for seed in range(1000):
        features = random(seed, 10, 4)
        assert kept(features, 1) == reference(features, 1), seed


@law
@given(st.integers(0, 999))
def test_a_smaller_budget_keeps_a_part_of_the_larger(seed: int) -> None:
    features = random(seed, 40, 6)
    sets = [set(kept(features, count)) for count in (4, 10, 25, 40)]
    assert sets[0] < sets[1] < sets[2] < sets[3]


@law
@given(st.integers(0, 999))
def test_the_order_of_tokens_does_not_matter(seed: int) -> None:
    features = random(seed, 20, 6)
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    nearest = (unit @ unit.T - 2 * torch.eye(20)).max(1).values.sort().values
    # Two tokens that are each other's nearest are equally far from it; which comes first is up to the order.
    assume(float(nearest[1] - nearest[0]) > 1e-6)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
    assert sorted(order[kept(features[order], 7)].tolist()) == kept(features, 7)


def test_one_of_each_before_any_twice() -> None:
    features = random(3, 10, 6).repeat(2, 1)
    assert sorted(index % 10 for index in kept(features, 10)) == list(range(10))
    outlier = torch.cat([torch.ones(9, 4), torch.tensor([[1.0, 1, 1, -3]])])
    assert kept(outlier, 1) == [9]


def test_the_papers_budget() -> None:
    assert DivPrune().count(576) == 56
    tokens = VisualTokens.full(random(0, 5, 3), frames(1, 1, 5))
    assert DivPrune(keep=1.0).merge(tokens, towerless()) is tokens
