"""Embeddings: vectors of texts and of pictures for the clip store."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tools.registry import Registry


class TextEmbedder(ABC):
    """Sentences to vectors, safe to call from several threads at once."""

    model: str
    #: Length of its vectors.
    dim: int

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32 ``[len(texts), dim]``, rows of length 1."""


class VisualEmbedder(ABC):
    """Pictures and sentences to vectors of one space, safe to call from several threads at once."""

    model: str
    dim: int

    @abstractmethod
    def embed_images(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """float32 ``[N, dim]``, rows of length 1, from uint8 ``[N, H, W, 3]`` RGB."""

    @abstractmethod
    def embed_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32 ``[len(texts), dim]``, rows of length 1."""


TEXT_BACKENDS: Registry[TextEmbedder] = Registry("tools.embed.backends.text", TextEmbedder, "text embedder")  # type: ignore[type-abstract]
VISUAL_BACKENDS: Registry[VisualEmbedder] = Registry(
    "tools.embed.backends.visual",
    VisualEmbedder,  # type: ignore[type-abstract]
    "visual embedder",
)
