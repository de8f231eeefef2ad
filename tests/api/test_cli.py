"""The command line: exit codes, one-sentence errors, JSON, progress without a terminal."""

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import api.session
from agents.loupe import Loupe
from api.cli import build, run
from api.commands.bench import _table
from evals.bench import media
from tests.api.conftest import Bench, write_video
from tools.errors import BadInput

QUESTION = "When was the bridge opened?"


@pytest.fixture
def home(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The commands' data directory, with this room's small tools in place of the profile's."""
    monkeypatch.setenv("LOUPE_HOME", str(bench.home))
    monkeypatch.delenv("LOUPE_PROFILE", raising=False)
    monkeypatch.setattr(Loupe, "open", lambda *_: bench.loupe)
    return bench


def result_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_ask_indexes_first_and_cites(home: Bench, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = result_of(capsys, "ask", str(video), QUESTION)
    assert code == 0
    assert "bridge was opened" in out
    assert "talk.mp4 00:00-00:01" in out
    assert "trace 2" in out
    assert "real time" in err
    code, out, err = result_of(capsys, "ask", str(video), QUESTION, "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["citations"][0]["kind"] == "speech"
    assert "real time" not in err


def test_ask_by_id_and_all(home: Bench, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = result_of(capsys, "index", str(video), "--json")
    assert code == 0
    (report,) = json.loads(out)
    assert report["clips"] == {"speech": 1}
    for name in (report["video"]["id"][:8], "all"):
        assert result_of(capsys, "ask", name, QUESTION)[0] == 0


def test_not_found_is_3_and_says_where_was_looked(home: Bench, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = result_of(capsys, "ask", str(video), "Which zebra plays the violin in Oslo?")
    assert code == 3
    assert "not found" in out.lower()
    assert "looked in vain" in out


def test_search_and_trace(home: Bench, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert result_of(capsys, "trace", "ls")[2].strip() == "no traces yet"
    assert result_of(capsys, "trace", "show", "last")[0] == 2
    assert result_of(capsys, "ask", str(video), QUESTION)[0] == 0
    code, out, _ = result_of(capsys, "search", "bridge")
    assert code == 0
    assert "opened in nineteen" in out
    assert json.loads(result_of(capsys, "search", "bridge", "--kind", "text", "--json")[1]) == []
    (listed,) = json.loads(result_of(capsys, "trace", "ls", "--json")[1])
    assert QUESTION in result_of(capsys, "trace", "ls")[1]
    code, out, _ = result_of(capsys, "trace", "show", "last")
    assert code == 0
    assert listed["id"] in out
    shown = json.loads(result_of(capsys, "trace", "show", listed["id"], "--json")[1])
    assert shown["events"][-1]["node"] == "answer"
    code, out, _ = result_of(capsys, "trace", "replay", "last")
    assert code == 0, out
    assert "the same answer" in out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["ask", "VIDEO", ""], "question is empty"),
        (["ask", "VIDEO", "why " * 25_000], "QUESTION"),
        (["ask", "VIDEO", QUESTION, "--budget-steps", "-1"], "--budget-steps"),
        (["ask", "VIDEO", QUESTION, "--budget-seconds", "0"], "--budget-seconds"),
        (["ask", "VIDEO", QUESTION, "--strategy", "guess"], "guess"),
        (["ask", "VIDEO", QUESTION, "--span", "5-1"], "span"),
        (["ask", "VIDEO", QUESTION, "--span", "10:00-11:00"], "outside"),
        (["ask", "nothing.mp4", QUESTION], "nothing.mp4"),
        (["index", "nothing.mp4"], "nothing.mp4"),
        (["search", "x", "--kind", "sound"], "sound"),
        (["search", "x", "--limit", "0"], "--limit"),
        (["trace", "show", "../../etc"], "trace id"),
        (["ask", "VIDEO", QUESTION, "--profile", "embeded"], "embedded"),
        (["bench", "nothing"], "nothing"),
        (["demo", "VIDEO"], "question"),
        (["ask", "VIDEO"], "QUESTION"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_bad_input_is_2_with_one_sentence(
    home: Bench, video: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    code, out, err = result_of(capsys, *[str(video) if one == "VIDEO" else one for one in arguments])
    assert code == 2
    assert out == ""
    assert named in err
    assert "Traceback" not in err
    assert len(err) < 1500


def test_a_bad_file_does_not_stop_the_others(home: Bench, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = home.root / "letter.mp4"
    bad.write_text("no film")
    code, out, err = result_of(capsys, "index", str(bad), str(video))
    assert code == 2
    assert "letter.mp4" in err
    assert "talk.mp4" in out


def test_an_unknown_key_of_a_profile_is_named(
    home: Bench, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("clustr: {}\n")
    code, _, err = result_of(capsys, "ask", str(video), QUESTION, "--profile", str(profile))
    assert code == 2
    assert "clustr" in err
    assert "cluster" in err


def test_interrupted_is_130(home: Bench, video: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api.session.Local, "index", interrupted)
    code, _, err = result_of(capsys, "index", str(video))
    assert code == 130
    assert "interrupted" in err


def test_progress_without_a_terminal_is_plain_lines(home: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(home.root / "longer.mp4", seconds=6)
    code, _, err = result_of(capsys, "index", str(path))
    assert code == 0
    assert "\x1b" not in err
    assert "\r" not in err
    assert any("pictures" in line and "real time" in line for line in err.splitlines())


def test_doctor_says_what_is_there(home: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = result_of(capsys, "doctor", "--json")
    found = {one["key"]: one for one in json.loads(out)}
    assert {"python", "memory", "LOUPE_HOME", "service", "store", "reasoner", "vlm"} <= found.keys()
    assert found["LOUPE_HOME"]["ok"]


def test_results_with_many_columns_are_shown_side_by_side() -> None:
    rows = [{f"figure_{number}": number for number in range(12)} for _ in range(3)]
    assert [len(table.columns) for table in (_table("x", rows), _table("x", rows * 4))] == [4, 12]


def test_results_of_a_long_row_are_shown_in_part() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "one", "right": 3, "tasks": {}},
        {"name": "two", "right": 1, "change": "all"},
    ]
    table = _table("x", rows, ("change", "name", "absent"))
    assert [(column.header, column.justify) for column in table.columns] == [("change", "left"), ("name", "left")]
    assert [column.header for column in _table("x", rows).columns] == ["name", "right", "change"]


def test_a_benchmark_that_breaks_leaves_its_rows_and_the_last_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> Iterator[dict[str, Any]]:
        yield {"way": "short"}
        raise BadInput("the film is cut off", remedy="make it again", field="film")

    arguments = ("bench", "media", "--out", str(tmp_path), "--json")
    monkeypatch.setattr(media, "run", lambda _: [{"way": "long"}])
    code, out, _ = result_of(capsys, *arguments)
    assert (code, json.loads(out)[0]["rows"]) == (0, [{"way": "long"}])
    assert [path.name for path in tmp_path.iterdir()] == ["media.json"]
    monkeypatch.setattr(media, "run", broken)
    code, _, err = result_of(capsys, *arguments)
    assert code == 2
    assert "rows so far: 1" in err
    assert json.loads((tmp_path / "media.unfinished.jsonl").read_text("utf-8")) == {"way": "short"}
    assert json.loads((tmp_path / "media.json").read_text("utf-8"))["rows"] == [{"way": "long"}]
    monkeypatch.setattr(media, "run", lambda path: islice(broken(path), 1, None))
    _, _, err = result_of(capsys, *arguments)
    assert "rows so far" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["media.json"]


def test_every_verb_has_help() -> None:
    app = build()
    runner = CliRunner()
    names = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    assert {"index", "ask", "search", "trace", "serve", "doctor", "demo", "bench"} <= names
    for name in names:
        result = runner.invoke(app, [str(name), "--help"])
        assert result.exit_code == 0, name
        assert "Usage" in result.output


def test_a_command_talks_to_the_service_that_holds_the_data(
    home: Bench, video: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import threading

    import uvicorn

    server = uvicorn.Server(uvicorn.Config(home.app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    (home.home / "service.json").write_text(json.dumps({"url": f"http://127.0.0.1:{port}", "pid": os.getpid()}))

    def local(*_: object) -> None:
        raise AssertionError("the index belongs to the service")

    monkeypatch.setattr(Loupe, "open", local)
    try:
        code, out, _ = result_of(capsys, "ask", str(video), QUESTION, "--json")
        assert code == 0
        assert json.loads(out)["citations"]
        elsewhere = write_video(home.home.parent / "elsewhere.mp4", shade=40)
        assert result_of(capsys, "index", str(elsewhere))[0] == 0
        assert (home.home / "uploads").is_dir()
        assert "opened" in result_of(capsys, "search", "bridge")[1]
        code, _, err = result_of(capsys, "ask", str(video), QUESTION, "--strategy", "guess")
        assert code == 2
        assert "guess" in err
        assert "runs at" in result_of(capsys, "doctor")[1]
    finally:
        server.should_exit = True
        thread.join()
    code, _, err = result_of(capsys, "search", "bridge")
    assert code == 2
    assert "does not answer" in err


@pytest.mark.slow
@pytest.mark.parametrize("command", [["-m", "api"], ["-c", "from api.cli import main; main()"]])
def test_entry_points(command: list[str], tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *command, *arguments], capture_output=True, text=True, check=False)

    assert call("--help").returncode == 0
    bad = call("ask", str(tmp_path / "nothing.mp4"), "why?")
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1


@pytest.mark.slow
def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, api.cli; api.cli.build(); print([m for m in sys.modules if m.split('.')[0] in set(sys.argv[1:])])"
    )
    heavy = ["ray", "torch", "numpy", "pydantic", "fastapi", "av", "langgraph", "httpx", "yaml"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
