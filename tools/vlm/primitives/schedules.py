"""How many visual tokens each decoder layer gets: places as shares of the depth, curves, and a search."""

from collections.abc import Callable, Sequence
from math import exp

from tools.errors import BadInput


def layer_at(share: float, depth: int) -> int:
    """The decoder layer at a ``share`` of the depth, rounded half up, so that a published layer carries over to a
    decoder of another depth."""
    return int(share * depth + 0.5)


def stage_layers(shares: Sequence[float], depth: int, method: str) -> tuple[int, ...]:
    """The decoder layers before which the stages of ``method`` prune, from their ``shares`` of the depth.

    Raises:
        BadInput: stages before the first layer or after the last, out of order, or two at one layer.
    """
    layers = tuple(layer_at(share, depth) for share in shares)
    if not layers or list(layers) != sorted(set(layers)) or layers[0] < 1 or layers[-1] >= depth:
        raise BadInput(
            f"{method} cannot prune before decoder layers {'/'.join(map(str, layers)) or 'none'} of {depth}",
            remedy=f"give increasing shares of the depth that fall on different layers 1 to {depth - 1}",
            field="layers",
        )
    return layers


def p_sigmoid(layers: int, mean: float, steepness: float, whole: int = 0) -> list[float]:
    """Share of tokens of each layer, falling as ``1 / (1 + exp(steepness * (layer - middle)))``.

    The middle is solved for by bisection, so that the mean over layers is ``mean``.

    Args:
        mean: 0..1; at least ``whole / layers``.
        steepness: above 0; high values make a step.
        whole: how many of the first layers have all tokens, whatever the curve says there.

    Raises:
        ValueError: a mean that cannot be had.
    """
    if not (0 <= mean <= 1 and whole <= mean * layers + 1e-9 and steepness > 0):
        raise ValueError(f"no curve over {layers} layers, {whole} of them whole, has mean {mean}")
    if mean == 1:
        return [1.0] * layers

    def curve(middle: float) -> list[float]:
        # The exponent is bounded, for beyond it the share is 0 or 1 to the last digit.
        exponents = [min(max(steepness * (layer - middle), -700.0), 700.0) for layer in range(layers)]
        return [1.0 if layer < whole else 1 / (1 + exp(power)) for layer, power in enumerate(exponents)]

    low, high = -800.0 / steepness, layers + 800.0 / steepness
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(curve(middle)) < mean * layers else (low, middle)
    return curve(high)


def g_search(
    loss: Callable[[Sequence[float]], float], layers: int, tolerance: float, levels: int = 16, whole: int = 1
) -> list[float]:
    """The least share of tokens for each layer, from the first to the last, that costs no more than ``tolerance``.

    G-Search of "Accelerating Multimodal Large Language Models by Searching Optimal Vision Token Reduction" (arXiv
    2412.00556, section 3.2): a layer's share is the smallest with which the loss is still tolerable when all deeper
    layers have it too; it is fixed, and the next layer may only have less. If a loss never rises when some layer gets
    more, this is the smallest tolerable schedule read from the front; if tokens that matter in a layer matter in all
    before it (the paper's assumption, that rankings agree and needs only fall), it is the smallest in every layer at
    once. The share is found by bisection, ``layers * log2(levels)`` calls at most; the paper searches it by Bayesian
    optimisation.

    Args:
        loss: measured loss of a schedule; see `tools.vlm.tuning.divergence`.
        levels: shares are multiples of ``1 / levels``.
        whole: how many of the first layers have all tokens, since rankings are not stable there yet.

    Returns:
        Shares of all layers, never rising. All ones if not even the full schedule is tolerable.
    """
    found = [levels] * whole
    while len(found) < layers:
        deeper = layers - len(found)

        def tolerable(level: int, rest: int = deeper) -> bool:
            return loss([share / levels for share in found + [level] * rest]) <= tolerance

        low, high = 0, found[-1] if found else levels
        # The share of the layer before is tolerable by now: it was tried with all deeper layers.
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if tolerable(middle) else (middle + 1, high)
        found.append(high)
    return [share / levels for share in found]


def best_steepness(
    loss: Callable[[Sequence[float]], float],
    layers: int,
    mean: float,
    candidates: Sequence[float] = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0),
    rounds: int = 2,
    whole: int = 1,
) -> float:
    """The steepness whose curve of that mean loses least: the candidates, then twice the middles around the best.

    The paper tunes this one number by Bayesian optimisation; a search over few values that halves its steps finds as
    much on one axis, and always the same. Ties go to the first tried.
    """
    tried = {value: loss(p_sigmoid(layers, mean, value, whole)) for value in candidates}
    for _ in range(rounds):
        best = min(tried, key=tried.__getitem__)
        ordered = sorted(tried)
        place = ordered.index(best)
        for near in ordered[max(0, place - 1) : place] + ordered[place + 1 : place + 2]:
            value = (best * near) ** 0.5
            tried[value] = loss(p_sigmoid(layers, mean, value, whole))
    return min(tried, key=tried.__getitem__)
