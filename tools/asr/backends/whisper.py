"""OpenAI Whisper: many languages; its weights are not in any wheel."""

import os
import pickle
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.asr import SAMPLE_RATE, AsrBackend, Word
from tools.errors import ProfileError, did_you_mean
from tools.media.span import Span

#: Files of the names that stand for another model.
_ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}

#: Text that gzip shrinks by more than this repeats itself: Whisper caught in a loop (its own default threshold).
_LOOPING = 2.4
#: No word is shorter than this many seconds, and the alignment of words needs a few frames.
_SHORTEST = 0.1


class Whisper(AsrBackend):
    """Recognises speech with word times from cross-attention.

    Args:
        model: name of an official model ("base", "turbo", ...) or path of a checkpoint file.
        language: code such as "en"; detected in each call if None.
        device: of torch, e.g. "cuda"; the best there is if None.
        download: whether a named model that is not in the cache is fetched.

    Raises:
        ProfileError: the model is not on this machine.
    """

    max_seconds = 30.0

    def __init__(
        self, model: str = "base", *, language: str | None = None, device: str | None = None, download: bool = False
    ) -> None:
        if find_spec("whisper") is None:
            raise ImportError("openai-whisper is not installed", name="whisper")
        problem = _missing(model, download)
        if problem is not None:
            raise problem
        self.model = f"whisper-{Path(model).stem}"
        self._name = model
        self._language = language
        self._device = device
        # Word times are read by hooks on the model's layers, so one call at a time.
        self._lock = threading.Lock()
        self._loaded: Any = None

    @staticmethod
    def check(model: str = "base", *, download: bool = False, **_options: object) -> str | None:
        """What keeps the model from being used, without loading it; None if nothing."""
        if find_spec("whisper") is None:
            return "the Python package 'openai-whisper' is not installed: pip install 'loupe-video[models]'."
        problem = _missing(model, download)
        return str(problem) if problem else None

    def transcribe(self, audio: npt.NDArray[np.float32]) -> list[Word]:
        """Words with their times to 20 ms and their token probabilities as scores."""
        duration = len(audio) / SAMPLE_RATE
        if duration < _SHORTEST or not np.any(audio):
            return []
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            result = self._loaded.transcribe(
                np.ascontiguousarray(audio, np.float32),
                language=self._language,
                # No second attempt at a random temperature: the same sound must give the same words.
                temperature=0.0,
                word_timestamps=True,
                condition_on_previous_text=False,
                fp16=self._loaded.device.type == "cuda",
            )
        whole = Span.of(0, duration)
        words = []
        for segment in result["segments"]:
            if segment["compression_ratio"] > _LOOPING:
                continue
            for word in segment.get("words", ()):
                text = word["word"].strip()
                if text:
                    span = Span.of(float(word["start"]), max(float(word["start"]), float(word["end"]))).clamp(whole)
                    words.append(Word(text=text, span=span, score=float(np.clip(word["probability"], 0, 1))))
        return sorted(words, key=lambda word: (word.span.start, word.span.end))

    def close(self) -> None:
        """Lets go of the weights."""
        with self._lock:
            self._loaded = None

    def _load(self) -> Any:
        import whisper

        path = _checkpoint(self._name)
        if path is None:
            if self._name not in whisper.available_models():
                remedy = did_you_mean(self._name, whisper.available_models())
                raise ProfileError(f"there is no Whisper model '{self._name}'", remedy=remedy, field="model")
            try:
                return whisper.load_model(self._name, device=self._device)
            except OSError as error:
                raise ProfileError(
                    f"the Whisper model '{self._name}' could not be downloaded ({error})",
                    remedy="try again, or write the path of a checkpoint under 'model'",
                    field="model",
                ) from error
        try:
            # By path, so that nothing is fetched whatever state the file is in.
            loaded = whisper.load_model(str(path), device=self._device)
        except (EOFError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
            raise ProfileError(
                f"'{path}' is no whole Whisper checkpoint", remedy="download it again", field="model"
            ) from error
        heads = whisper._ALIGNMENT_HEADS.get(self._name)
        if heads is not None:
            loaded.set_alignment_heads(heads)
        return loaded


def _missing(model: str, download: bool) -> ProfileError | None:
    """The error for a model that is not on this machine and must not be fetched."""
    if _checkpoint(model) is not None:
        return None
    if "/" in model or model.endswith(".pt"):
        return ProfileError(
            f"there is no Whisper checkpoint '{model}'", remedy="correct the path under 'model'", field="model"
        )
    if download:
        return None
    return ProfileError(
        f"the Whisper model '{model}' is not in {_cache()}",
        remedy=f"put {_ALIASES.get(model, model)}.pt there, or write its path under 'model', "
        "or write 'download: true' beside it",
        field="model",
    )


def _cache() -> Path:
    """Folder in which openai-whisper keeps its models."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper"


def _checkpoint(model: str) -> Path | None:
    """The file of a model named by path or by name; None if it is not there."""
    for path in (Path(model).expanduser(), _cache() / f"{_ALIASES.get(model, model)}.pt"):
        if path.is_file():
            return path
    return None
