"""The tool `embed`: texts and pictures to vectors, whatever the backends."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tools.embed import TextEmbedder, VisualEmbedder
from tools.errors import ToolUnavailable

Vectors = npt.NDArray[np.float32]


class EmbedTool:
    """Embeds for indexing and for search. Safe to call from several threads at once.

    Args:
        text: for sentences.
        visual: for pictures and sentences in one space, or None where the profile has none.
    """

    def __init__(self, text: TextEmbedder, visual: VisualEmbedder | None) -> None:
        self._text = text
        self._visual = visual

    @property
    def model(self) -> str:
        """Names of the models, text first."""
        return self._text.model if self._visual is None else f"{self._text.model} + {self._visual.model}"

    def texts(self, texts: Sequence[str]) -> Vectors:
        """float32 ``[N, D]``, rows of length 1."""
        return self._text.embed(texts)

    def images(self, images: npt.NDArray[np.uint8]) -> Vectors:
        """float32 ``[N, Dv]``, rows of length 1, from uint8 ``[N, H, W, 3]`` RGB.

        Raises:
            ToolUnavailable: if the profile has no visual embedding.
        """
        return self._need_visual().embed_images(images)

    def visual_texts(self, texts: Sequence[str]) -> Vectors:
        """float32 ``[N, Dv]``, rows of length 1, in the space of the pictures.

        Raises:
            ToolUnavailable: if the profile has no visual embedding.
        """
        return self._need_visual().embed_texts(texts)

    def has_visual(self) -> bool:
        """Whether pictures can be embedded."""
        return self._visual is not None

    def visual_model(self) -> str:
        """What clips found by their picture name as their model; raises `ToolUnavailable` where there is none."""
        return self._need_visual().model

    def dims(self) -> tuple[int, int | None]:
        """Lengths of the text and the visual vectors; None for no visual ones."""
        return self._text.dim, None if self._visual is None else self._visual.dim

    def _need_visual(self) -> VisualEmbedder:
        if self._visual is None:
            raise ToolUnavailable(
                "this profile has no visual embedding",
                remedy="name a backend under 'visual_embedding' in the profile",
                field="visual_embedding",
            )
        return self._visual
