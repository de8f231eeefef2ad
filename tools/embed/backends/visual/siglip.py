"""SigLIP (Zhai et al., arXiv:2303.15343) and SigLIP 2 (Tschannen et al., arXiv:2502.14786) with fixed resolution."""

from typing import Any

from tools.embed.dual import DualEncoder


class Siglip(DualEncoder):
    """A SigLIP or SigLIP 2 checkpoint, e.g. google/siglip2-base-patch16-224.

    The tokenizer of the first SigLIP needs the Python package sentencepiece; that of SigLIP 2 does not.
    """

    model_types = ("siglip",)

    def _vector_size(self) -> int:
        return int(self._config.text_config.projection_size)

    def _tokens(self, tokenizer: Any, texts: list[str]) -> Any:
        # The text tower was trained on lower case, padded to its full length without a mask, and reads its last token.
        longest = self._config.text_config.max_position_embeddings
        lower = [text.lower() for text in texts]
        inputs = tokenizer(lower, padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
        inputs.pop("attention_mask", None)
        return inputs
