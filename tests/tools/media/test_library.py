"""The registry of videos."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.errors import BadInput, MediaError, NotFound
from tools.media.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "home")


def test_the_same_bytes_are_the_same_video(library: Library, make_video: Callable[..., Path], tmp_path: Path) -> None:
    path = make_video([0, 40, 80])
    video = library.add(path)
    assert (video.name, video.path) == ("video.mp4", str(path))
    assert library.add(path) == video
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(path.read_bytes())
    assert library.add(copy) == video
    assert library.add(copy, name="the film").name == "the film"
    assert library.get(video.id).name == "the film"
    assert len(library.list()) == 1
    path.unlink()
    assert library.add(copy).path == str(copy)


def test_get_list_and_remove(library: Library, make_video: Callable[..., Path]) -> None:
    assert library.list() == []
    first = library.add(make_video([0, 40], name="b.mp4"))
    second = library.add(make_video([0, 40, 80], name="a.mp4"))
    assert library.list() == [second, first]
    library.remove(first.id)
    assert library.list() == [second]
    assert Path(first.path).exists()
    for unknown in (first.id, "nonsense", "../" + second.id, ""):
        with pytest.raises(NotFound) as caught:
            library.get(unknown)
        assert caught.value.field == "video_id"
        with pytest.raises(NotFound):
            library.remove(unknown)


def test_uploads_are_whole_and_belong_to_the_library(library: Library, make_video: Callable[..., Path]) -> None:
    data = make_video([0, 40, 80]).read_bytes()
    chunks = [data[i : i + 1000] for i in range(0, len(data), 1000)]
    path = library.store_upload("../../My film.MP4", iter(chunks), len(data))
    assert path.read_bytes() == data
    assert path.suffix == ".mp4"
    assert library.store_upload("again.mp4", [data], len(data)) == path
    video = library.add(path, name="My film.MP4")
    library.remove(video.id)
    assert not path.exists()


def test_an_upload_that_fails_leaves_nothing(library: Library, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        library.store_upload("big.mp4", [b"x" * 600, b"x" * 600], 1000)
    assert caught.value.field == "file"

    def broken() -> Iterator[bytes]:
        yield b"x"
        raise ConnectionError("the client went away")

    with pytest.raises(ConnectionError):
        library.store_upload("half.mp4", broken(), 1000)
    assert list((tmp_path / "home" / "uploads").iterdir()) == []


def test_what_is_no_video_is_not_registered(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("hello")
    with pytest.raises(MediaError):
        library.add(path)
    assert library.list() == []


def test_a_damaged_record_is_written_anew(
    library: Library, make_video: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_video([0, 40])
    video = library.add(path)
    record = tmp_path / "home" / "videos" / f"{video.id}.json"
    assert json.loads(record.read_text())["id"] == video.id
    record.write_text('{"id": ')
    with caplog.at_level(logging.WARNING):
        assert library.list() == []
    assert "add its file again" in caplog.text
    with pytest.raises(NotFound):
        library.get(video.id)
    assert library.add(path) == video
    assert library.get(video.id) == video


@pytest.mark.slow
def test_processes_share_a_home(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = make_video([0, 40])
    script = (
        "import sys; from pathlib import Path; from tools.media.library import Library\n"
        "for i in range(20): Library(Path(sys.argv[1])).add(sys.argv[2], name=f'{sys.argv[3]}{i}')"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "home"), str(path)]
    workers = [subprocess.Popen([*command, name]) for name in "ab"]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    videos = Library(tmp_path / "home").list()
    assert len(videos) == 1
    assert videos[0].name in ("a19", "b19")
    assert [file.suffix for file in (tmp_path / "home" / "videos").iterdir()] == [".json"]
