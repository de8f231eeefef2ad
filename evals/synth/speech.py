"""Speech from espeak-ng, synthesised to memory with the exact time of every word."""

import _ctypes
import ctypes
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import espeakng_loader
import numpy as np
import numpy.typing as npt

from tools.errors import ToolUnavailable

# Numbers of espeak-ng's C interface (speak_lib.h).
_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_PARAMETER_RATE = 1
_EVENT_END_OF_LIST = 0
_EVENT_WORD = 1
_SEED = 1

#: The speaker whom pocketsphinx understands best among the English ones that were tried, and how fast she talks.
VOICE, WORDS_PER_MINUTE = "en-us+f2", 140
#: One engine exists per process and it keeps its state in globals.
_LOCK = threading.Lock()


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class SpokenWord:
    """A word of synthesised speech; seconds count from the start of the speech."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Spoken:
    """Synthesised speech without silence at either end.

    Attributes:
        samples: float32 ``[S]``, mono, -1..1.
        rate: samples a second.
    """

    samples: npt.NDArray[np.float32]
    rate: int
    words: tuple[SpokenWord, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.rate


@contextmanager
def _engine() -> Iterator[tuple[ctypes.CDLL, int]]:
    """A fresh engine and its samples a second."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        rate = library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        if rate <= 0:
            raise ToolUnavailable("espeak-ng did not start", remedy="reinstall the package espeakng-loader")
        # Its breath noise is seeded by the clock otherwise: the same words would sound different in every process.
        library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
        yield library, rate
    finally:
        library.espeak_Terminate()
        # What it has said stays in its static variables and would change the next sentence.
        _ctypes.dlclose(library._handle)


@lru_cache(maxsize=64)
def speak(text: str, *, voice: str = VOICE, words_per_minute: int = WORDS_PER_MINUTE) -> Spoken:
    """Speaks ``text``.

    Raises:
        ToolUnavailable: if espeak-ng cannot start or does not know the voice.
    """
    chunks: list[npt.NDArray[np.int16]] = []
    starts: list[tuple[int, float]] = []

    def collect(sound: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]") -> int:
        if count > 0:
            chunks.append(np.ctypeslib.as_array(sound, (count,)).copy())
        index = 0
        while (event := events[index]).type != _EVENT_END_OF_LIST:
            if event.type == _EVENT_WORD:
                starts.append((event.text_position - 1, event.audio_position / 1000))
            index += 1
        return 0

    callback = _Callback(collect)
    encoded = text.encode()
    with _LOCK, _engine() as (library, rate):
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ToolUnavailable(f"espeak-ng has no voice '{voice}'", remedy="use en-us", field="voice")
        library.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)
        library.espeak_SetSynthCallback(callback)
        library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
    wave = np.concatenate(chunks) if chunks else np.zeros(0, np.int16)
    samples = wave.astype(np.float32) / np.float32(32768)
    loud = np.flatnonzero(np.abs(samples) > 1e-3)
    first, last = (int(loud[0]), int(loud[-1]) + 1) if loud.size else (0, 0)
    words = _words(text, starts, loud / rate)
    samples = samples[first:last]
    samples.setflags(write=False)
    return Spoken(samples=samples, rate=rate, words=words)


def _words(text: str, starts: list[tuple[int, float]], loud: npt.NDArray[np.float64]) -> tuple[SpokenWord, ...]:
    """Words of the text with their times.

    Args:
        starts: character position and second of each word event; espeak-ng may report several a word ("2014") or none.
        loud: sorted seconds at which something is heard; a word ends with the last of them before the next word.
    """
    if not loud.size:
        return ()
    begins: list[tuple[str, float]] = []
    for match in re.finditer(r"[^\W_]+(?:['’.-][^\W_]+)*", text):
        times = [time for position, time in starts if match.start() <= position < match.end()]
        if times:
            begins.append((match.group(), max(min(times), float(loud[0]))))
        elif begins:
            # Spoken in one breath with the word before.
            begins[-1] = (f"{begins[-1][0]} {match.group()}", begins[-1][1])
    words = []
    for index, (word, start) in enumerate(begins):
        limit = begins[index + 1][1] if index + 1 < len(begins) else float(loud[-1]) + 1
        last = int(np.searchsorted(loud, limit)) - 1
        end = max(float(loud[last]), start)
        words.append(SpokenWord(text=word, start=start - float(loud[0]), end=end - float(loud[0])))
    return tuple(words)
