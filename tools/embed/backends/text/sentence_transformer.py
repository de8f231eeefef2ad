"""Any sentence-transformers model."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.embed import TextEmbedder
from tools.embed.folders import missing, model_folder
from tools.errors import ProfileError


class SentenceTransformerEmbedder(TextEmbedder):
    """A sentence-transformers model by local path or hub id; it is loaded when the embedder is made.

    Args:
        model: local folder, or id on the hub.
        device: where it runs, e.g. "cpu" or "cuda".
        batch: texts that go through the model at once.
        query_prompt: put before every text, for models that were trained with an instruction.
        download: whether a model that is not on this machine is fetched.

    Raises:
        ProfileError: a model that is missing or is no sentence-transformers model.
    """

    def __init__(
        self,
        model: str,
        device: str = "cpu",
        batch: int = 32,
        query_prompt: str = "",
        download: bool = False,
    ) -> None:
        folder = model_folder(model, download=download)
        if not (folder / "modules.json").is_file():
            raise ProfileError(
                f"'{model}' is no sentence-transformers model (it has no modules.json)",
                remedy="name a model that lists sentence-transformers as its library",
                field="model",
            )
        from sentence_transformers import SentenceTransformer

        self.model = model
        self._batch = batch
        self._prompt = query_prompt
        # The tokenizer changes its own padding while it runs, so only one thread may be in it.
        self._lock = threading.Lock()
        self._encoder: Any = SentenceTransformer(str(folder), device=device, local_files_only=True)
        self.dim = int(self._encoder.get_embedding_dimension())

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32 ``[len(texts), dim]``, rows of length 1."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        with self._lock:
            vectors = self._encoder.encode(
                [self._prompt + text for text in texts],
                batch_size=self._batch,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return np.asarray(vectors, np.float32)

    @classmethod
    def check(cls, model: str, download: bool = False, **_: Any) -> ProfileError | None:
        """What is wrong with the model's files, or None."""
        return missing(model, download=download)
