"""The tool `asr` over drawn videos: times, spans, subtitles, memory."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import tools.asr.tool
from evals.synth.builders import long_script
from evals.synth.script import Script, Speech
from evals.synth.truth import Truth
from evals.synth.write import write
from tools.asr import SAMPLE_RATE, AsrBackend, Word
from tools.asr.tool import AsrTool
from tools.errors import NotFound
from tools.media.library import Library
from tools.media.span import Span


class Loudness(AsrBackend):
    """Hears a word in every stretch of sound, named after its length in tenths of a second; notes what it was given."""

    model = "loudness"
    max_seconds = 6.0
    parallel = 2

    def __init__(self) -> None:
        self.heard: list[float] = []

    def transcribe(self, audio: npt.NDArray[np.float32]) -> list[Word]:
        seconds = len(audio) / SAMPLE_RATE
        self.heard.append(seconds)
        loud = np.flatnonzero(np.abs(audio) > 0.02) / SAMPLE_RATE
        return [Word(str(round(seconds * 10)), Span.of(float(loud[0]), float(loud[-1])), 1.0)] if len(loud) else []


SENTENCES = ("The train comes every Friday.", "My name is Robert.", "Everybody is happy when it comes.")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """Thirty seconds with a sentence at 3, 12 and 21."""
    path = tmp_path_factory.mktemp("drawn") / "talk.mp4"
    events = tuple(Speech(start=3.0 + 9 * index, text=text) for index, text in enumerate(SENTENCES))
    script = Script(duration=30, fps=5, width=64, height=64, voice="en-us+f2", events=events)
    return path, write(script, path)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "home")


@pytest.fixture
def opened(drawn: tuple[Path, Truth], library: Library) -> tuple[AsrTool, str, Loudness]:
    backend = Loudness()
    return AsrTool(backend, library), library.add(drawn[0]).id, backend


def test_utterances_have_the_times_of_the_truth(
    opened: tuple[AsrTool, str, Loudness], drawn: tuple[Path, Truth]
) -> None:
    tool, video_id, _ = opened
    found = tool.transcribe(video_id, Span.of(0, 30))
    assert len(found) == 3
    for utterance, said in zip(found, drawn[1].said, strict=True):
        assert utterance.span.start == pytest.approx(said.span.start, abs=0.15)
        assert utterance.span.end == pytest.approx(said.span.end, abs=0.15)


def test_the_span_chooses_and_only_it_is_recognised(opened: tuple[AsrTool, str, Loudness]) -> None:
    tool, video_id, backend = opened
    (utterance,) = tool.transcribe(video_id, Span.of(12.5, 13.0))
    assert 11.5 < utterance.span.start < 12.5
    assert len(backend.heard) == 1
    assert tool.transcribe(video_id, Span.of(7.5, 11.0)) == []
    assert tool.transcribe(video_id, Span.of(500, 600)) == []


@pytest.mark.parametrize("step", [2.3, 7.0, 12.9, 40.0])
def test_consecutive_spans_give_each_utterance_once(opened: tuple[AsrTool, str, Loudness], step: float) -> None:
    tool, video_id, _ = opened
    whole = tool.utterances(video_id, Span.of(0, 30))
    parts = [tool.utterances(video_id, window) for window in Span.of(0, 30).windows(step)]
    starts = [utterance.span.start for part in parts for utterance in part]
    assert starts == pytest.approx([utterance.span.start for utterance in whole], abs=0.05)


def test_every_time_is_on_the_videos_own_clock(
    opened: tuple[AsrTool, str, Loudness], drawn: tuple[Path, Truth], library: Library, late: Callable[..., Path]
) -> None:
    tool, video_id, _ = opened
    moved = library.add(late(drawn[0], 100.0))
    assert moved.info.span.start == pytest.approx(100, abs=0.1)
    before = tool.transcribe(video_id, Span.of(0, 30))
    after = tool.transcribe(moved.id, Span.of(0, 200))
    assert len(after) == len(before) == 3
    for a, b in zip(before, after, strict=True):
        assert b.span.start - a.span.start == pytest.approx(100, abs=0.1)


def test_an_unknown_video(library: Library) -> None:
    with pytest.raises(NotFound):
        AsrTool(Loudness(), library).transcribe("0" * 32, Span.of(0, 1))


def test_subtitles_are_used_where_there_are_some(library: Library, shared_data: Path) -> None:
    backend = Loudness()
    video = library.add(shared_data / "nasa_13013.mp4")
    tool = AsrTool(backend, library)
    assert tool.model_of(video.id) == "subtitles"
    assert tool.model == "loudness"
    found = tool.transcribe(video.id, video.info.span)
    assert found
    assert backend.heard == []
    for utterance in found:
        assert all(a.span.end <= b.span.start + 1e-6 for a, b in pairwise(utterance.words))
    heard = AsrTool(backend, library, subtitles=False)
    assert heard.model_of(video.id) == "loudness"
    assert heard.transcribe(video.id, video.info.span)
    assert backend.heard


def test_long_speech_goes_to_the_backend_in_windows_it_can_take(library: Library, tmp_path: Path) -> None:
    text = " ".join(["and the people of the old city live near the river"] * 6)
    script = Script(duration=25, fps=5, width=64, height=64, events=(Speech(start=1, text=text),))
    write(script, tmp_path / "long.mp4")
    backend = Loudness()
    tool = AsrTool(backend, library)
    assert tool.transcribe(library.add(tmp_path / "long.mp4").id, Span.of(0, 25))
    assert len(backend.heard) > 2
    assert max(backend.heard) <= backend.max_seconds + 0.01


def test_a_video_without_sound_says_nothing(library: Library, tmp_path: Path) -> None:
    write(Script(duration=1, fps=5, width=64, height=64, sound=False), tmp_path / "mute.mp4")
    video = library.add(tmp_path / "mute.mp4")
    assert AsrTool(Loudness(), library).transcribe(video.id, video.info.span) == []


@pytest.mark.slow
def test_sound_is_read_in_bounded_pieces(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = long_script(5, 3, speech=True).model_copy(update={"width": 64, "height": 64, "fps": 5})
    write(script, tmp_path / "talk.mp4")
    video = library.add(tmp_path / "talk.mp4")
    spans: list[Span] = []
    read = tools.asr.tool.read_audio

    def noted(path: str, span: Span) -> npt.NDArray[np.float32]:
        spans.append(span)
        return read(path, span)

    monkeypatch.setattr(tools.asr.tool, "read_audio", noted)
    tool = AsrTool(Loudness(), library)
    tool.utterances(video.id, Span.of(0, 180))
    assert max(span.duration for span in spans) <= 20
    spans.clear()
    tool.utterances(video.id, Span.of(60, 70))
    assert sum(span.duration for span in spans) < 70


def test_a_failing_backend_is_heard_of(opened: tuple[AsrTool, str, Loudness], monkeypatch: pytest.MonkeyPatch) -> None:
    tool, video_id, backend = opened

    def fail(audio: npt.NDArray[np.float32]) -> list[Word]:
        raise RuntimeError("broken")

    monkeypatch.setattr(backend, "transcribe", fail)
    with pytest.raises(RuntimeError, match="broken"):
        tool.transcribe(video_id, Span.of(0, 30))
