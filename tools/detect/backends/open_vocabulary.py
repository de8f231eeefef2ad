"""Things by any name: zero-shot object detection of transformers (OWLv2, Grounding DINO and their kin)."""

import threading
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoProcessor

from tools.detect import DetectBackend, Detection
from tools.errors import ProfileError
from tools.media.frames import Frames
from tools.media.view import Region

#: What is looked for when no label is asked for.
COMMON = ("person", "animal", "vehicle", "building", "screen", "food", "tool", "text")


class OpenVocabulary(DetectBackend):
    """A detector that finds what a label names.

    Sources: OWLv2, Minderer et al. 2023 (Scaling Open-Vocabulary Object Detection); Grounding DINO, Liu et al. 2023.

    Args:
        model: a checkpoint's folder or its id on the hub.
        labels: what to look for when no label is asked for.
        device: torch device.
        threshold: score below which a box is dropped; OWLv2's scores run low (0.1 to 0.2 is usual), those of Grounding
            DINO higher (0.3 to 0.4).
        batch: frames that go through the network together.
        download: fetch the checkpoint from the hub if it is not on disk.

    Raises:
        ProfileError: the checkpoint is missing or of another kind.
    """

    def __init__(
        self,
        *,
        model: str,
        labels: Sequence[str] = COMMON,
        device: str = "cpu",
        threshold: float = 0.2,
        batch: int = 4,
        download: bool = False,
    ) -> None:
        self.model = model.rstrip("/").rsplit("/", 1)[-1]
        self._common = tuple(labels)
        self._device = device
        self._threshold = threshold
        self._batch = max(1, batch)
        # Tokenizers keep their padding settings in shared state.
        self._preparing = threading.Lock()
        try:
            self._processor: Any = AutoProcessor.from_pretrained(model, local_files_only=not download)
            self._network: Any = AutoModelForZeroShotObjectDetection.from_pretrained(
                model, local_files_only=not download
            )
        except (OSError, ValueError) as error:
            raise _unusable(model, error) from error
        self._network.to(device).eval()
        # Grounding DINO reads all labels as one sentence; the OWL family has one query a label.
        self._one_sentence = hasattr(self._network.config, "text_config") and not hasattr(
            self._network.config, "projection_dim"
        )

    @staticmethod
    def check(model: str, *, download: bool = False, **_options: object) -> ProfileError | None:
        """What keeps the checkpoint from being used, without loading it; None if nothing shows."""
        if download:
            return None
        try:
            AutoConfig.from_pretrained(model, local_files_only=True)
        except (OSError, ValueError) as error:
            return _unusable(model, error)
        return None

    def labels(self) -> None:
        """None: any label can be asked for."""
        return

    @torch.inference_mode()
    def detect(self, frames: Frames, labels: Sequence[str]) -> list[Detection]:
        """Things in ``frames`` that the labels name, lower case; the configured labels when none is asked for."""
        wanted = [label.casefold() for label in labels or self._common]
        found: list[Detection] = []
        for first in range(0, len(frames), self._batch):
            images = list(frames.images[first : first + self._batch])
            for i, boxes in enumerate(self._boxes(images, wanted)):
                found += [Detection(first + i, *box) for box in boxes]
        return found

    def _boxes(self, images: list[Any], wanted: list[str]) -> list[list[tuple[str, Region, float]]]:
        """(label, region, score) of every box in every image."""
        texts: list[list[str]] = [wanted if self._one_sentence else [f"a photo of a {one}" for one in wanted]] * len(
            images
        )
        with self._preparing:
            inputs = self._processor(text=texts, images=images, return_tensors="pt", padding=True, truncation=True)
        outputs = self._network(**inputs.to(self._device))
        height, width = images[0].shape[:2]
        results = self._processor.post_process_grounded_object_detection(
            outputs,
            threshold=self._threshold,
            target_sizes=[(height, width)] * len(images),
            text_labels=[wanted] * len(images),
            **({"input_ids": inputs["input_ids"]} if self._one_sentence else {}),
        )
        return [self._kept(result, wanted, width, height) for result in results]

    @staticmethod
    def _kept(result: Any, wanted: list[str], width: int, height: int) -> list[tuple[str, Region, float]]:
        kept: list[tuple[str, Region, float]] = []
        # Where nothing is found, Grounding DINO's processor still gives one empty phrase.
        if not len(result["scores"]):
            return kept
        for box, score, phrase in zip(
            result["boxes"].tolist(), result["scores"].tolist(), result["text_labels"], strict=True
        ):
            label = _label(phrase, wanted)
            x0, x1 = (min(max(x / width, 0.0), 1.0) for x in (box[0], box[2]))
            y0, y1 = (min(max(y / height, 0.0), 1.0) for y in (box[1], box[3]))
            if label is not None and x0 < x1 and y0 < y1:
                kept.append((label, Region.of(x0, y0, x1, y1), float(score)))
        return kept


def _label(phrase: str, wanted: list[str]) -> str | None:
    """The label that a phrase means: Grounding DINO gives the words that light up, which may be part of one."""
    if phrase in wanted:
        return phrase
    words = set(phrase.split())
    shared = [(len(words & set(label.split())), label) for label in wanted]
    most, label = max(shared, key=lambda pair: pair[0], default=(0, ""))
    return label if most else None


def _unusable(model: str, error: Exception) -> ProfileError:
    why = str(error).strip().split("\n", 1)[0].rstrip(".")
    return ProfileError(
        f"the detector '{model}' cannot be loaded ({why})",
        remedy="name the folder of an OWLv2 or Grounding DINO checkpoint as 'model', or write 'download: true' "
        f"under this backend, or fetch it with `hf download {model}`",
        field="model",
    )
