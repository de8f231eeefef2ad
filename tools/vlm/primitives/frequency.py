"""Resizing a map by its low frequencies: a cosine transform cut short and taken back at the smaller size."""

import torch
from torch import Tensor


def lowpass(size: int, kept: int) -> Tensor:
    """float32 ``[kept, size]``: orthonormal cosine transform (DCT-II) of ``size`` values, of which the ``kept`` lowest
    frequencies stay, and the inverse transform of that smaller size, as one matrix. Its rows are orthonormal."""
    inverse = _cosines(kept).T
    return (inverse @ _cosines(size)[:kept]).float()


def resize(maps: Tensor, height: int, width: int) -> Tensor:
    """``maps [..., H, W, C]`` at ``[..., height, width, C]``, float32; a constant c becomes c * sqrt(HW / hw)."""
    rows = lowpass(maps.shape[-3], height).to(maps.device)
    columns = lowpass(maps.shape[-2], width).to(maps.device)
    narrow: Tensor = torch.einsum("jw,...hwc->...hjc", columns, maps.float())
    small: Tensor = torch.einsum("ih,...hwc->...iwc", rows, narrow)
    return small


def _cosines(size: int) -> Tensor:
    """float64 ``[size, size]``, the orthonormal DCT-II matrix, lowest frequency first."""
    places = torch.arange(size, dtype=torch.float64)
    matrix: Tensor = torch.cos(torch.pi / size * (places[None] + 0.5) * places[:, None]) * (2 / size) ** 0.5
    matrix[0] /= 2**0.5
    return matrix
