"""Speech recognition: speed as a multiple of real time, and word error rate, of every backend that works offline.

The speech is synthesised, so the words are known. Each backend recognises the demo's sentences with one caller and with
as many as it says are worth while; the tool is measured on a whole file of continuous speech: reading sound, voice
activity, recognition and stitching together.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evals.synth.builders import long_script
from evals.synth.demo import demo_script
from evals.synth.script import Script
from evals.synth.truth import Truth, truth_of, truth_path
from evals.synth.write import write
from tools.asr import BACKENDS, SAMPLE_RATE, AsrBackend, Utterance
from tools.asr.tool import AsrTool
from tools.asr.vad import VoiceActivity
from tools.media.audio import read_audio
from tools.media.library import Library
from tools.media.span import Span

Audio = npt.NDArray[np.float32]

#: Minutes of continuous speech for the tool.
_MINUTES = 2.0


def run(out_dir: Path) -> list[dict[str, Any]]:
    """Rows for voice activity, each backend, and the tool with each backend; files are kept in ``out_dir``."""
    out_dir = Path(out_dir)
    demo = _file(demo_script(), out_dir / "asr-demo.mp4")
    talk = _file(long_script(1, _MINUTES, speech=True), out_dir / "asr-talk.mp4")
    sound = read_audio(talk, Span.of(0, _MINUTES * 60))
    began = time.perf_counter()
    VoiceActivity().probabilities(sound)
    rows: list[dict[str, Any]] = [
        {"case": "voice activity", "realtime": len(sound) / SAMPLE_RATE / (time.perf_counter() - began)}
    ]
    for name, options in _offline():
        backend = BACKENDS.create(name, options)
        try:
            label = " ".join([name, *map(str, options.values())])
            rows.append({"case": f"{label}: demo sentences", **_sentences(backend, demo)})
            rows.append({"case": f"{label}: continuous speech", **_talk(backend, talk, out_dir / "asr-home")})
        finally:
            backend.close()
    return rows


def word_error_rate(said: str, heard: str) -> tuple[int, int]:
    """Wrong words and all words: the Levenshtein distance over words, without case and punctuation."""
    wanted, got = (re.findall(r"[\w']+", text.lower()) for text in (said, heard))
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1], len(wanted)


def heard_during(utterances: Sequence[Utterance], span: Span) -> str:
    """The words whose middle lies in ``span``."""
    return " ".join(word.text for one in utterances for word in one.words if word.span.middle in span)


def _offline() -> list[tuple[str, dict[str, Any]]]:
    """Backends and options that need no download here."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name in BACKENDS:
        check = getattr(BACKENDS.get(name), "check", None)
        if check is None or check() is None:
            found.append((name, {}))
    return [*found, ("pocketsphinx", {"search": "full"})]


def _small(script: Script) -> Script:
    """The same sound with a tiny picture."""
    return script.model_copy(update={"width": 64, "height": 64, "fps": 5})


def _file(script: Script, path: Path) -> Path:
    script = _small(script)
    if not path.exists() or Truth.load(truth_path(path)) != truth_of(script):
        write(script, path)
    return path


def _sentences(backend: AsrBackend, path: Path) -> dict[str, Any]:
    truth = Truth.load(truth_path(path))
    sounds = [read_audio(path, said.span.pad(0.15)) for said in truth.said]
    seconds = sum(map(len, sounds)) / SAMPLE_RATE
    backend.transcribe(sounds[0])
    began = time.perf_counter()
    heard = [backend.transcribe(sound) for sound in sounds]
    alone = time.perf_counter() - began
    with ThreadPoolExecutor(backend.parallel) as threads:
        list(threads.map(backend.transcribe, sounds[: backend.parallel * 2]))
        began = time.perf_counter()
        list(threads.map(backend.transcribe, sounds))
        together = time.perf_counter() - began
    counts = [
        word_error_rate(said.text, " ".join(word.text for word in words))
        for said, words in zip(truth.said, heard, strict=True)
    ]
    return {
        "seconds": seconds,
        "realtime_one_caller": seconds / alone,
        "callers": backend.parallel,
        "realtime": seconds / together,
        "word_error_rate": _rate(counts),
    }


def _talk(backend: AsrBackend, path: Path, home: Path) -> dict[str, Any]:
    library = Library(home)
    video = library.add(path)
    tool = AsrTool(backend, library)
    began = time.perf_counter()
    utterances = tool.utterances(video.id, video.info.span)
    seconds = time.perf_counter() - began
    counts = [
        word_error_rate(said.text, heard_during(utterances, said.span.pad(0.25)))
        for said in Truth.load(truth_path(path)).said
    ]
    return {
        "seconds": video.info.duration,
        "callers": backend.parallel,
        "realtime": video.info.duration / seconds,
        "word_error_rate": _rate(counts),
    }


def _rate(counts: Sequence[tuple[int, int]]) -> float:
    return sum(wrong for wrong, _ in counts) / sum(words for _, words in counts)
