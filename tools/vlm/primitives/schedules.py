"""How many visual tokens each decoder layer gets: places as shares of the depth, curves, and a search."""

from collections.abc import Sequence

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
