"""An archive on real Ray: bad files are noted and spoil nothing, and what is done is not done again."""

import json
import shutil
from pathlib import Path

import pytest

from api.cli import run
from evals.synth.script import Caption, Scene, Script
from evals.synth.write import write
from tools.media.span import Span


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two films, a letter that calls itself one, and something else."""
    monkeypatch.setenv("LOUPE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "archive"
    for number, (name, text) in enumerate((("deep/harbor.mp4", "Old Harbor"), ("library.mp4", "City Library"))):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scene = Scene(span=Span.of(0, 4), texture="plain", tint=number)
        write(Script(seed=number, duration=4, events=(scene, Caption(span=Span.of(1, 4), text=text))), path)
        path.with_suffix(".truth.json").unlink(missing_ok=True)
    (folder / "letter.mp4").write_text("Dear Sir\n" * 100)
    (folder / "notes.txt").write_text("not looked at")
    return folder


@pytest.mark.slow
def test_an_archive_is_asked_and_gone_on_with(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["batch", str(archive), "--question", "Which library is named on screen?", "--parallel", "2"]
    assert run(words) == 2  # one file is no film
    captured = capsys.readouterr()
    assert "City Library" in captured.out
    assert "no media file" in captured.out
    assert "2 done, 0 done before, 1 failed" in captured.err
    # Nothing is left to do once the bad file is gone, so not even Ray starts.
    (archive / "letter.mp4").unlink()
    shutil.rmtree(archive.parent / "home" / "videos")
    assert run([*words, "--json"]) == 0
    captured = capsys.readouterr()
    items = {Path(item["path"]).name: item["result"] for item in json.loads(captured.out)}
    assert items["library.mp4"]["verdict"] == "grounded"
    assert items["harbor.mp4"]["verdict"] == "not_found"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["EMPTY"], "no media files"),
        (["nothing"], "'nothing'"),
        (["ARCHIVE", "--question", " "], "question is empty"),
        (["ARCHIVE", "--parallel", "0"], "--parallel"),
    ],
)
def test_bad_input(archive: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str) -> None:
    (archive / "empty").mkdir()
    places = {"EMPTY": str(archive / "empty"), "ARCHIVE": str(archive)}
    assert run(["batch", *(places.get(one, one) for one in arguments)]) == 2
    captured = capsys.readouterr()
    assert named in captured.err
    assert captured.out == ""
