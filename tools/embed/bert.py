"""A BERT encoder in numpy, for sentence models small enough that importing torch takes longer than running them.

Follows "BERT: Pre-training of Deep Bidirectional Transformers" (arXiv:1810.04805): learned positions, post-layer-norm
blocks, exact GELU. Sentence vectors are mean-pooled over tokens and normalised as in "Sentence-BERT"
(arXiv:1908.10084). Equal to the transformers class on the same weights up to float32 rounding.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

#: Tokens, padding included, that go through the encoder at once: bounds memory and keeps matrices in cache.
_TOKENS = 2048


class BertSentenceEncoder:
    """Texts to unit vectors; read-only after construction, so any number of threads may call it.

    Args:
        folder: a sentence-transformers folder of a BERT model (``config.json``, ``tokenizer.json``,
            ``model.safetensors``).
        max_tokens: longer texts are cut there.
    """

    def __init__(self, folder: Path, max_tokens: int = 256) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        config = json.loads((folder / "config.json").read_text("utf-8"))
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._eps: float = config["layer_norm_eps"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.no_padding()
        weights = load_file(folder / "model.safetensors")
        self._w: dict[str, Array] = {
            name.removeprefix("bert."): np.ascontiguousarray(value.T if value.ndim == 2 else value, np.float32)
            for name, value in weights.items()
            if "position_ids" not in name
        }
        # One product instead of three for queries, keys and values.
        for i in range(self._layers):
            parts = [f"encoder.layer.{i}.attention.self.{part}" for part in ("query", "key", "value")]
            for kind, axis in (("weight", 1), ("bias", 0)):
                self._w[f"encoder.layer.{i}.qkv.{kind}"] = np.concatenate(
                    [self._w.pop(f"{part}.{kind}") for part in parts], axis=axis
                )
        # Embeddings are looked up by row.
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
            self._w[f"embeddings.{name}.weight"] = np.ascontiguousarray(self._w[f"embeddings.{name}.weight"].T)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._w["embeddings.word_embeddings.weight"].shape[1])

    def encode(self, texts: Sequence[str]) -> Array:
        """float32 ``[N, dim]``, rows of length 1."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        vectors = np.empty((len(tokens), self.dim), np.float32)
        # Texts of one length share a batch: no padding, so a vector does not depend on its neighbours.
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        start = 0
        while start < len(order):
            length = len(tokens[order[start]])
            stop = start
            while stop < len(order) and len(tokens[order[stop]]) == length and (stop - start + 1) * length <= _TOKENS:
                stop += 1
            stop = max(stop, start + 1)
            batch = order[start:stop]
            vectors[batch] = self._forward(np.array([tokens[i] for i in batch])).mean(axis=1)
            start = stop
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def _forward(self, ids: npt.NDArray[np.int64]) -> Array:
        """Last hidden states ``[B, L, D]`` of token ids ``[B, L]`` without padding."""
        w = self._w
        batch, length = ids.shape
        x = w["embeddings.word_embeddings.weight"][ids]
        x += w["embeddings.position_embeddings.weight"][:length]
        x += w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x.reshape(batch * length, -1), "embeddings.LayerNorm")
        dim = x.shape[1]
        head = dim // self._heads
        for i in range(self._layers):
            layer = f"encoder.layer.{i}"
            qkv = self._linear(x, f"{layer}.qkv").reshape(batch, length, 3, self._heads, head)
            q, k, v = qkv.transpose(2, 0, 3, 1, 4)
            scores = (q * np.float32(head**-0.5)) @ k.transpose(0, 1, 3, 2)
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            context = (scores @ v).transpose(0, 2, 1, 3).reshape(batch * length, dim)
            x = self._norm(
                x + self._linear(context, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm"
            )
            hidden = gelu(self._linear(x, f"{layer}.intermediate.dense"))
            x = self._norm(x + self._linear(hidden, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return x.reshape(batch, length, dim)

    def _linear(self, x: Array, name: str) -> Array:
        y = x @ self._w[f"{name}.weight"]
        y += self._w[f"{name}.bias"]
        return y

    def _norm(self, x: Array, name: str) -> Array:
        x = x - x.mean(axis=-1, keepdims=True)
        x *= 1 / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(self._eps))
        x *= self._w[f"{name}.weight"]
        x += self._w[f"{name}.bias"]
        return x


#: Coefficients of the rational approximation 7.1.26 of erf in Abramowitz and Stegun, "Handbook of Mathematical
#: Functions"; its error is below 1.5e-7, the rounding of float32.
_ERF_P = 0.3275911
_ERF_A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
#: Rows worked on together, so that intermediate results stay in cache: measured 4 times as fast as all rows at once.
_ROWS = 32


def gelu(x: Array) -> Array:
    """``x * (1 + erf(x / sqrt 2)) / 2`` of a matrix, in place; faster than through ``scipy.special.erf``, whose import
    alone takes longer than a question's vector."""
    for start in range(0, len(x), _ROWS):
        _gelu(x[start : start + _ROWS])
    return x


def _gelu(x: Array) -> None:
    magnitude = np.abs(x)
    scaled = magnitude * np.float32(0.5**0.5)
    t = scaled * np.float32(_ERF_P)
    t += 1
    np.reciprocal(t, out=t)
    tail = t * np.float32(_ERF_A[-1])
    for a in reversed(_ERF_A[:-1]):
        tail += np.float32(a)
        tail *= t
    np.square(scaled, out=scaled)
    np.negative(scaled, out=scaled)
    tail *= np.exp(scaled, out=scaled)
    # With tail = erfc(|x| / sqrt 2): x > 0 gives x - x * tail / 2, and x < 0 gives x * tail / 2.
    tail *= np.float32(0.5)
    tail *= magnitude
    np.maximum(x, 0, out=x)
    x -= tail
