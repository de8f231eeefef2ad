"""CLIP (Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", arXiv:2103.00020)."""

from typing import Any

from tools.embed.dual import DualEncoder


class Clip(DualEncoder):
    """A CLIP checkpoint, e.g. openai/clip-vit-base-patch32."""

    model_types = ("clip",)

    def _vector_size(self) -> int:
        return int(self._facts.get("projection_dim") or self._config.projection_dim)

    def _tokens(self, tokenizer: Any, texts: list[str]) -> Any:
        longest = self._config.text_config.max_position_embeddings
        return tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
