"""Files with something missing, and files that are no video, through the real tools."""

import asyncio
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from agents.loupe import Loupe
from evals.synth.script import Caption, Scene, Script, Speech
from evals.synth.write import write
from tests.end_to_end.conftest import ask, cites
from tools.errors import MediaError, NotFound
from tools.media.span import Span

pytestmark = pytest.mark.slow

SENTENCE = "The train comes every Friday."


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds: a sentence, then a caption, then another one."""
    events = (
        Scene(span=Span.of(0, 12), texture="plain", tint=3),
        Speech(start=1.0, text=SENTENCE),
        Caption(span=Span.of(3, 6), text="Ferry leaves from Pier 9"),
        Caption(span=Span.of(9, 11.5), text="Tickets at Town Hall"),
    )
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write(Script(seed=5, duration=12.0, events=events), path)
    return path


def copied(source: Path, target: Path, *kinds: str) -> Path:
    """Only the streams of these kinds."""
    with av.open(str(source)) as container, av.open(str(target), "w") as sink:
        streams = [stream for stream in container.streams if stream.type in kinds]
        outputs = {stream.index: sink.add_stream_from_template(stream) for stream in streams}
        for packet in container.demux(streams):
            if packet.dts is not None:
                packet.stream = outputs[packet.stream.index]
                sink.mux(packet)
    return target


def test_sound_without_pictures(loupe: Loupe, film: Path, tmp_path: Path) -> None:
    sound = copied(film, tmp_path / "sound.mkv", "audio")
    answer = ask(loupe, sound, "On which day does the train come?")
    assert "friday" in answer.answer.lower()
    assert cites(answer, "speech", Span.of(1, 3.5))
    assert answer.cost.frames_decoded == 0
    assert ask(loupe, sound, "What is written about the ferry?").verdict == "not_found"


def test_pictures_without_sound(loupe: Loupe, film: Path, tmp_path: Path) -> None:
    silent = copied(film, tmp_path / "silent.mkv", "video")
    answer = ask(loupe, silent, "What does the caption say about the ferry?")
    assert "Pier 9" in answer.answer
    assert cites(answer, "text", Span.of(3, 6))
    assert ask(loupe, silent, "What does the speaker say about the train?").verdict == "not_found"


def test_a_single_picture(loupe: Loupe, tmp_path: Path) -> None:
    path = tmp_path / "one.mp4"
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.full((180, 320, 3), 90, np.uint8))
        sink.mux([*stream.encode(picture), *stream.encode(None)])
    report = asyncio.run(loupe.index(str(path)))
    assert report.frames_decoded == 1
    assert ask(loupe, path, "What is written on the slide?").verdict == "not_found"


def test_a_file_that_ends_too_early(loupe: Loupe, film: Path, tmp_path: Path) -> None:
    content = copied(film, tmp_path / "whole.mkv", "video", "audio").read_bytes()
    half = tmp_path / "half.mkv"
    half.write_bytes(content[: len(content) * 4 // 5])
    report = asyncio.run(loupe.index(str(half)))
    assert any("headers promise" in note for note in report.notes)
    assert cites(ask(loupe, half, "What does the caption say about the ferry?"), "text", Span.of(3, 6))
    assert ask(loupe, half, "What does the caption say about tickets?").verdict == "not_found"


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [(b"", MediaError, "empty"), (b"a letter\n" * 500, MediaError, "no media data"), (None, NotFound, "no file")],
)
def test_what_is_no_video_leaves_nothing(
    loupe: Loupe, tmp_path: Path, content: bytes | None, error: type[Exception], says: str
) -> None:
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    before = loupe.library.list()
    with pytest.raises(error, match=says) as caught:
        asyncio.run(loupe.index(str(path)))
    assert "bad.mp4" in str(caught.value)
    assert loupe.library.list() == before
