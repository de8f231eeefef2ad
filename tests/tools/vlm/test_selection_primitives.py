"""Primitives that choose and merge, each against a slow and obvious reference."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.errors import BadInput
from tools.vlm.primitives import budget, clustering, diversity, matching, merging, segmentation

sizes = st.integers(2, 14)
seeds = st.integers(0, 10_000)
law = settings(max_examples=40)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(features: torch.Tensor) -> torch.Tensor:
    unit = torch.nn.functional.normalize(features, dim=-1)
    products = unit @ unit.T
    return torch.maximum(products, products.T)


# Budgets.


@law
@given(st.integers(1, 500), st.floats(0.001, 1))
def test_a_share_is_rounded_half_up_or_refused(count: int, keep: float) -> None:
    if int(keep * count + 0.5) < 1:
        with pytest.raises(BadInput) as caught:
            budget.resolve(count, keep)
        assert caught.value.field == "keep"
    else:
        kept = budget.resolve(count, keep)
        assert 1 <= kept <= count
        assert abs(kept - keep * count) <= 0.5 + 1e-9
    assert budget.resolve(count, 1.0) == count


@pytest.mark.parametrize(
    ("keep", "tokens", "field"),
    [(0.0, None, "keep"), (1.5, None, "keep"), (-1.0, None, "keep"), (0.5, 0, "tokens"), (0.5, 11, "tokens")],
)
def test_impossible_budgets_are_refused(keep: float, tokens: int | None, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        budget.resolve(10, keep, tokens)
    assert caught.value.field == field


@law
@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 9)), min_size=1, max_size=7), st.data())
def test_allocation_is_exact_and_within_caps(parts: list[tuple[float, int]], data: st.DataObject) -> None:
    weights = torch.tensor([weight for weight, _ in parts])
    caps = torch.tensor([cap for _, cap in parts])
    total = data.draw(st.integers(0, int(caps.sum())))
    shares = budget.allocate(total, weights, caps)
    assert int(shares.sum()) == total
    assert bool(((shares >= 0) & (shares <= caps)).all())
    for (one, i), (other, j) in itertools.permutations(zip(weights.tolist(), range(len(parts)), strict=True), 2):
        # More weight never gets less, unless the cap says so.
        if one > other:
            assert shares[i] >= shares[j] or shares[i] == caps[i]


def test_allocation_without_caps_is_the_largest_remainder() -> None:
    shares = budget.allocate(10, torch.tensor([1.0, 1.0, 1.0]), torch.tensor([10, 10, 10]))
    assert shares.tolist() == [4, 3, 3]
    shares = budget.allocate(7, torch.tensor([5.0, 3.0, 1.0]), torch.tensor([9, 9, 9]))
    assert shares.tolist() == [4, 2, 1]
    shares = budget.allocate(6, torch.tensor([100.0, 1.0, 1.0]), torch.tensor([2, 9, 9]))
    assert shares.tolist() == [2, 2, 2]
    assert budget.allocate(5, torch.zeros(2), torch.tensor([3, 3]), floor=1).tolist() == [3, 2]
    with pytest.raises(ValueError, match="do not fit"):
        budget.allocate(5, torch.ones(2), torch.tensor([2, 2]))


@law
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.05, 1))
def test_cumulative_mass_is_the_smallest_sufficient_set(values: list[float], share: float) -> None:
    scores = torch.tensor(values, dtype=torch.float64)
    found = budget.cumulative_mass(scores, share)
    ordered = sorted(values, reverse=True)
    total = sum(ordered)
    if total > 0:
        assert sum(ordered[:found]) >= share * total * (1 - 1e-9)
        assert found == 1 or sum(ordered[: found - 1]) < share * total
    assert 1 <= found <= len(values)


def test_cumulative_mass_of_known_shapes() -> None:
    assert budget.cumulative_mass(torch.ones(1000), 0.975) == 975
    assert budget.cumulative_mass(torch.zeros(1000), 0.975) == 975
    assert budget.cumulative_mass(1 / torch.arange(1, 1001).double() ** 2, 0.975) == 24


def test_top_takes_the_lower_index_of_equals() -> None:
    assert budget.top(torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0]), 3).tolist() == [0, 1, 3]
    assert budget.top(torch.zeros(5), 2).tolist() == [0, 1]


# Matching.


@law
@given(sizes, seeds, st.data())
def test_matching_merges_the_most_similar_pairs(count: int, seed: int, data: st.DataObject) -> None:
    metric = random(seed, count, 5)
    pairs = data.draw(st.integers(0, (count + 1) // 2))
    similar = cosine(metric)
    sources, targets = range(0, count, 2), range(1, count, 2)
    best = [(max((float(similar[a, b]), -b) for b in targets), a) for a in sources]
    expected = list(range(count))
    for (_, target), source in sorted(best, key=lambda item: (-item[0][0], item[1]))[:pairs]:
        expected[source] = -target
    assert matching.merge_count(metric, pairs).tolist() == expected


def test_matching_in_batches_with_thresholds_and_protection() -> None:
    metric = random(3, 4, 9, 6)
    together = matching.merge_count(metric, 3)
    for part, one in zip(together, metric, strict=True):
        assert torch.equal(part, matching.merge_count(one, 3))
    assert torch.equal(matching.merge_threshold(metric[0], 1.1), torch.arange(9))
    twins = random(1, 3, 6).repeat_interleave(2, 0)
    assert matching.merge_threshold(twins, 0.999).tolist() == [1, 1, 3, 3, 5, 5]
    protected = torch.tensor([True, False, False, False, False, True])
    assert matching.merge_threshold(twins, 0.999, protected).tolist() == [0, 1, 3, 3, 4, 5]
    with pytest.raises(ValueError, match="pairs"):
        matching.merge_count(metric[0], 6)


# Diversity.


@law
@given(sizes, seeds, st.sampled_from([3, 1024]))
def test_max_min_is_the_naive_greedy(count: int, seed: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diversity, "BLOCK", block)
        _is_the_naive_greedy(random(seed, count, 4))


def _is_the_naive_greedy(features: torch.Tensor) -> None:
    count = len(features)
    distance = 1 - cosine(features)
    off = distance + torch.diag(torch.full((count,), float("inf")))
    picks = [int(off.min(1).values.argmax())]
    while len(picks) < count:
        gap = distance[:, picks].min(1).values
        gap[picks] = float("-inf")
        picks.append(int(gap.argmax()))
    found = diversity.max_min(features, count).tolist()
    assert found == picks
    assert diversity.max_min(features, max(1, count // 2)).tolist() == picks[: max(1, count // 2)]


def test_max_min_picks_the_same_in_blocks_and_without_held_products(monkeypatch: pytest.MonkeyPatch) -> None:
    features = random(7, 60, 8)
    held = diversity.max_min(features, 20)
    monkeypatch.setattr(diversity, "BLOCK", 16)
    assert torch.equal(diversity.max_min(features, 20), held)
    monkeypatch.setattr(diversity, "HELD", 10)
    assert torch.equal(diversity.max_min(features, 20), held)
    assert diversity.max_min(features, 5, first=3).tolist()[0] == 3


def test_max_min_covers_within_twice_the_optimum() -> None:
    for seed in range(20):
        features = random(seed, 9, 3)
        chord = (2 * (1 - cosine(features))).clamp(min=0).sqrt()
        picks = diversity.max_min(features, 3).tolist()
        spread = min(float(chord[a, b]) for a, b in itertools.combinations(picks, 2))
        best = max(
            min(float(chord[a, b]) for a, b in itertools.combinations(some, 2))
            for some in itertools.combinations(range(9), 3)
        )
        assert spread >= best / 2 - 1e-5


def test_max_min_never_picks_twice_among_duplicates() -> None:
    assert sorted(diversity.max_min(torch.ones(6, 3), 6).tolist()) == list(range(6))
    assert sorted(diversity.max_min(torch.zeros(6, 3), 4).tolist()) == [0, 1, 2, 3]


@law
@given(sizes, seeds)
def test_facility_location_is_the_naive_greedy(count: int, seed: int) -> None:
    features = random(seed, count, 4)
    similar = cosine(features).double()
    count_kept = max(1, count // 2)
    found = diversity.facility_location(features, count_kept).tolist()
    assert len(set(found)) == count_kept
    covered = torch.zeros(count, dtype=torch.float64)
    for pick in found:
        gains = (similar - covered[None]).clamp(min=0).sum(1)
        gains[found[: found.index(pick)]] = 0
        # Equal gains within rounding are all best.
        assert float(gains[pick]) >= float(gains.max()) - 1e-5
        covered = torch.maximum(covered, similar[pick])


# Clustering.


@law
@given(st.integers(3, 14), seeds, st.integers(1, 5))
def test_dpc_knn_is_its_definition(count: int, seed: int, neighbours: int) -> None:
    features = random(seed, count, 4)
    clusters = 1 + seed % count
    points = (features / 2).tolist()
    distance = [[sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) ** 0.5 for q in points] for p in points]
    near = min(neighbours, count - 1)
    exact = [sum(d**2 for d in sorted(row)[1 : near + 1]) / near for row in distance]
    density = torch.tensor(exact, dtype=torch.float64).neg().exp().float().tolist()
    product = []
    for i in range(count):
        above = [distance[i][j] for j in range(count) if (density[j], -j) > (density[i], -i)]
        product.append(density[i] * min(above) if above else float("inf"))
    expected = sorted(range(count), key=lambda i: -product[i])[:clusters]
    assign = clustering.dpc_knn(features, clusters, neighbours).tolist()
    centres = {i for i in range(count) if assign[i] == i}
    assert centres == set(expected)
    for i in range(count):
        if i not in centres:
            assert distance[i][assign[i]] == pytest.approx(min(distance[i][j] for j in centres), rel=1e-5)


def test_dpc_knn_on_equal_points_and_separate_heaps() -> None:
    assign = clustering.dpc_knn(torch.ones(7, 3), 3)
    assert len({int(i) for i in assign}) == 3
    assert bool((assign[assign] == assign).all())
    assert clustering.dpc_knn(torch.ones(1, 3), 1).tolist() == [0]
    heaps = torch.cat([random(place, 5, 4) * 0.01 + 10 * place for place in range(3)])
    labels = clustering.dpc_knn(heaps, 3).view(3, 5)
    assert [len(set(row.tolist())) for row in labels] == [1, 1, 1]
    assert len(set(labels[:, 0].tolist())) == 3


# Segmentation.


@law
@given(st.integers(1, 9), seeds, st.one_of(st.none(), st.integers(1, 4)))
def test_segmentation_is_the_best_of_all(count: int, seed: int, longest: int | None) -> None:
    gain = random(seed, count, count)
    found = segmentation.best_segmentation(gain, longest)
    assert [begin for begin, _ in found] == [0, *[end for _, end in found[:-1]]]
    assert found[-1][1] == count

    def total(segments: list[tuple[int, int]]) -> float:
        return sum(float(gain[begin, end - 1]) for begin, end in segments)

    best = float("-inf")
    for cuts in itertools.product([False, True], repeat=count - 1):
        bounds = [0, *[place + 1 for place, cut in enumerate(cuts) if cut], count]
        segments = list(itertools.pairwise(bounds))
        if longest is None or all(end - begin <= longest for begin, end in segments):
            best = max(best, total(segments))
    assert total(found) == pytest.approx(best, abs=1e-5)


@law
@given(st.integers(1, 7), st.integers(1, 5), seeds)
def test_static_counts(count: int, positions: int, seed: int) -> None:
    alike = random(seed, count - 1, positions) > -0.5
    counts = segmentation.static_counts(alike)
    for begin in range(count):
        for end in range(begin, count):
            assert int(counts[begin, end]) == sum(bool(alike[begin:end, p].all()) for p in range(positions))


def test_cut_below() -> None:
    assert segmentation.cut_below(torch.tensor([0.9, 0.1, 0.8, 0.2]), 0.5) == [(0, 2), (2, 4), (4, 5)]
    assert segmentation.cut_below(torch.zeros(0), 0.5) == [(0, 1)]


# Merging.


@law
@given(sizes, seeds, st.data())
def test_dominant_and_contextual(count: int, seed: int, data: st.DataObject) -> None:
    scores, metric = random(seed, count), random(seed + 1, count, 4)
    dominant = data.draw(st.integers(0, count))
    contextual = data.draw(st.integers(0 if dominant else 1, count - dominant))
    assign = merging.dominant_contextual(scores, metric, dominant, contextual).tolist()
    kept = {i for i in range(count) if assign[i] == i}
    assert len(kept) == dominant + contextual
    best = set(sorted(range(count), key=lambda i: -float(scores[i]))[:dominant])
    assert best <= kept
    similar = cosine(metric)
    for i in set(range(count)) - kept:
        if contextual == 0:
            assert assign[i] == -1
        else:
            assert assign[i] in kept - best
            assert float(similar[i, assign[i]]) == pytest.approx(max(float(similar[i, j]) for j in kept - best))
