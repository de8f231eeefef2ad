"""Two towers, one space: what CLIP and SigLIP models of transformers have in common."""

import json
import sys
import threading
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tools.embed import VisualEmbedder
from tools.embed.folders import missing, model_folder
from tools.errors import ProfileError


class DualEncoder(VisualEmbedder):
    """A contrastive vision-language model by local path or hub id. The configuration is read when the embedder is made,
    the weights at the first picture or sentence.

    Args:
        model: local folder, or id on the hub.
        device: where it runs, e.g. "cpu" or "cuda".
        dtype: float32, bfloat16 or float16.
        batch: pictures that go through the model at once.
        download: whether a model that is not on this machine is fetched.

    Raises:
        ProfileError: a model that is missing or of another class.
    """

    #: Values of ``model_type`` in config.json that the backend takes.
    model_types: ClassVar[tuple[str, ...]]

    def __init__(
        self, model: str, device: str = "cpu", dtype: str = "float32", batch: int = 32, download: bool = False
    ) -> None:
        if dtype not in ("float32", "bfloat16", "float16"):
            raise ProfileError(
                f"there is no dtype '{dtype}'", remedy="write float32, bfloat16 or float16", field="dtype"
            )
        self.model = model
        self._folder = model_folder(model, download=download)
        # Read as plain data: whoever only searches for words need not import what pictures need.
        self._facts: dict[str, Any] = json.loads((self._folder / "config.json").read_text("utf-8"))
        kind = self._facts.get("model_type")
        if kind not in self.model_types:
            raise ProfileError(
                f"'{model}' is a '{kind}' model, not one of {', '.join(self.model_types)}",
                remedy="name a checkpoint of that class, or the backend that belongs to this one",
                field="model",
            )
        self._device = device
        self._dtype = dtype
        self._batch = batch
        # Tokenizers change their own padding while they run, so only one thread may be in it.
        self._lock = threading.Lock()
        self._parts: tuple[Any, Any, Any] | None = None
        self.dim = self._vector_size()

    def embed_images(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """float32 ``[N, dim]``, rows of length 1, from uint8 ``[N, H, W, 3]`` RGB."""
        import torch

        if len(images) == 0:
            return np.zeros((0, self.dim), np.float32)
        model, processor, _ = self._load()
        vectors = []
        with torch.inference_mode():
            for start in range(0, len(images), self._batch):
                batch = list(images[start : start + self._batch])
                pixels = processor(images=batch, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
                pixels = pixels.to(self._device, model.dtype)
                vectors.append(model.get_image_features(pixel_values=pixels).pooler_output)
        return _rows(torch.cat(vectors))

    def embed_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32 ``[len(texts), dim]``, rows of length 1."""
        import torch

        if not texts:
            return np.zeros((0, self.dim), np.float32)
        model, _, tokenizer = self._load()
        with self._lock:
            inputs = self._tokens(tokenizer, list(texts)).to(self._device)
        with torch.inference_mode():
            return _rows(model.get_text_features(**inputs).pooler_output)

    @classmethod
    def check(cls, model: str, download: bool = False, **_: Any) -> ProfileError | None:
        """What is wrong with the model's files, or None."""
        return missing(model, download=download)

    @cached_property
    def _config(self) -> Any:
        """The configuration with what the file leaves to the class."""
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(self._folder, local_files_only=True)

    @abstractmethod
    def _vector_size(self) -> int:
        """Length of a vector, from the configuration."""

    @abstractmethod
    def _tokens(self, tokenizer: Any, texts: list[str]) -> Any:
        """Inputs of the text tower."""

    def _load(self) -> tuple[Any, Any, Any]:
        with self._lock:
            if self._parts is None:
                from safetensors import SafetensorError
                from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
                from transformers.utils import logging

                if not sys.stderr.isatty():
                    logging.disable_progress_bar()
                try:
                    self._parts = (
                        AutoModel.from_pretrained(self._folder, dtype=self._dtype, local_files_only=True)
                        .to(self._device)
                        .eval(),
                        AutoImageProcessor.from_pretrained(self._folder, local_files_only=True),
                        AutoTokenizer.from_pretrained(self._folder, local_files_only=True),
                    )
                except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
                    raise ProfileError(
                        f"the model '{self.model}' cannot be loaded ({str(error).strip().splitlines()[0]})",
                        remedy="download it again, install what it needs, or choose another device",
                        field="model",
                    ) from error
            return self._parts


def _rows(vectors: Any) -> npt.NDArray[np.float32]:
    import torch

    unit = torch.nn.functional.normalize(vectors.float(), dim=-1)
    return np.asarray(unit.cpu().numpy(), np.float32)
