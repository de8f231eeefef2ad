"""How many visual tokens each decoder layer gets: places as shares of the depth, curves, and a search."""


def layer_at(share: float, depth: int) -> int:
    """The decoder layer at a ``share`` of the depth, rounded half up, so that a published layer carries over to a
    decoder of another depth."""
    return int(share * depth + 0.5)
