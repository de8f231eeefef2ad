"""One look from the command line and over HTTP: a real (tiny, random) model over a real file, and nothing indexed."""

import base64
import io
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from agents.actions import Look
from agents.loupe import Loupe
from agents.run import Outcome
from agents.trace import TraceStore
from api.app import create_app
from api.cli import run
from configs.profile import Api, Backend, Profile
from evals import checkpoints
from tests.api.conftest import Bench, write_video
from tools.evidence import Observation
from tools.media.library import Library
from tools.media.span import Span
from tools.media.tool import MediaTool
from tools.media.view import View
from tools.transport import InProcess
from tools.vlm.heatmap import Shares
from tools.vlm.tool import VlmTool

QUESTION = "What is red?"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Path of the tiny checkpoint of a host; each is built once."""

    @cache
    def build(host: str) -> Path:
        return checkpoints.build(host, tmp_path_factory.mktemp(host))

    return build


@pytest.fixture(scope="module")
def vlm(checkpoint: Callable[[str], Path]) -> VlmTool:
    return VlmTool("llava_onevision", str(checkpoint("llava_onevision")), max_new_tokens=4)


class Eyes:
    """A service that can look."""

    def __init__(self, folder: Path, vlm: VlmTool) -> None:
        self.home, self.root = folder / "home", folder
        self.video = write_video(folder / "film.mp4", seconds=6)
        self.profile = Profile(name="seeing", vlm=Backend(backend="llava_onevision"), api=Api(roots=(str(folder),)))
        tools: dict[str, object] = {"media": MediaTool(Library(self.home)), "vlm": vlm}
        self.loupe = Loupe.open(self.profile, self.home, InProcess(tools))
        self.app = create_app(self.loupe, self.profile.api)


@pytest.fixture
def eyes(tmp_path: Path, vlm: VlmTool, monkeypatch: pytest.MonkeyPatch) -> Eyes:
    found = Eyes(tmp_path, vlm)
    monkeypatch.setenv("LOUPE_HOME", str(found.home))
    monkeypatch.delenv("LOUPE_PROFILE", raising=False)
    monkeypatch.setattr(Loupe, "open", lambda *_: found.loupe)
    return found


def look(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run(["look", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def picture(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_a_moment_is_one_picture(eyes: Eyes, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = look(capsys, eyes.video, "--at", "0:02", "-q", QUESTION)
    assert code == 0
    assert err == ""
    assert "film.mp4 00:02" in out
    for row in ("confidence", "tokens", "prefill", "KV cache", "time", "vision tower", "decoding"):
        assert row in out
    assert not (eyes.home / "index").exists(), "nothing is indexed"
    assert not eyes.loupe.traces.list()


def test_a_span_with_a_method_as_json(eyes: Eyes, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [eyes.video, "--at", 1, "--for", 2, "--fps", 2, "-q", QUESTION, "-m", "average_pooling:tokens=10"]
    code, out, _ = look(capsys, *arguments, "--region", "0.5,0,1,1", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["tokens_in"], found["tokens_kept"]) == (64, 10)
    assert found["view"]["span"] == {"start": 1.0, "end": 3.0}
    assert found["view"]["region"] == {"x0": 0.5, "y0": 0.0, "x1": 1.0, "y1": 1.0}
    assert found["report"]["methods"] == ["average_pooling:keep=0.25,tokens=10"]
    assert found["report"]["stages"] == [{"stage": "merge", "method": "average_pooling", "tokens": 10}]
    assert found["report"]["layers"] == [10] * 4
    assert 0 < found["report"]["flops"] < found["report"]["flops_full"]
    assert 0 < found["report"]["kv_bytes"] < found["report"]["kv_bytes_full"]
    assert {"encode", "prefill", "decode"} <= found["report"]["seconds"].keys()
    assert found["evidence"][0]["tool"] == "look"
    assert 0 <= found["confidence"] <= 1
    assert found["heatmap"] is None


def test_a_long_span_takes_at_most_so_many_pictures(eyes: Eyes, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = look(capsys, eyes.video, "--span", "0:00-0:04", "-q", QUESTION, "--json")
    assert json.loads(out)["report"]["frames_in"] == 8
    long = write_video(eyes.root / "long.mp4", seconds=40, audio=False)
    _, out, _ = look(capsys, long, "--span", "0-40", "-q", QUESTION, "-m", ":tokens=9", "--json")
    assert out == ""
    _, out, _ = look(capsys, long, "--span", "0-40", "-q", QUESTION, "-m", "uniform_stride:tokens=9", "--json")
    assert json.loads(out)["report"]["frames_in"] == 32


def test_the_heat_map_is_a_picture(eyes: Eyes, capsys: pytest.CaptureFixture[str]) -> None:
    path = eyes.root / "seen.png"
    arguments = [eyes.video, "--span", "1-3", "-q", QUESTION, "--heatmap", path, "-m"]
    code, out, _ = look(capsys, *arguments, "uniform_stride:keep=0.25")
    assert code == 0
    assert "seen.png" in out
    hard = picture(path.read_bytes())
    assert hard.format == "PNG"
    assert hard.width >= 738
    assert look(capsys, *arguments, "none")[0] == 0
    whole = picture(path.read_bytes())
    assert hard.size == whole.size
    assert (np.asarray(hard) != np.asarray(whole)).any(-1).mean() > 0.2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "needs a moment or a span"),
        (["--at", "1", "--span", "1-2"], "either a moment or a span"),
        (["--span", "1-2", "--for", "3"], "--for goes with --at"),
        (["--at", "soon"], "'soon' is not a time"),
        (["--span", "3-1"], "not a span"),
        (["--at", "10:00"], "lies outside 'film.mp4'"),
        (["--at", "1", "--for", "-1"], "--for"),
        (["--at", "1", "--fps", "0"], "--fps 0"),
        (["--at", "1", "--short-side", "2"], "--short-side 2"),
        (["--at", "1", "--region", "0,0,1"], "no part of a picture"),
        (["--at", "1", "--region", "0.5,0,0.2,1"], "no part of a picture"),
        (["--at", "1", "--question", "  "], "question is empty"),
        (["--at", "1", "--heatmap", "/nowhere/at/all.png"], "no folder '/nowhere/at'"),
        (["--at", "1", "-m", "fastvv"], "did you mean 'fastv'"),
        (["--at", "1", "-m", "fastv:kep=1"], "no option 'kep'"),
        (["--at", "1", "-m", "fastv:keep=2"], "keep=2"),
        (["--at", "1", "-m", "uniform_stride:tokens=0"], "budget of 0"),
        (["--at", "1", "-m", "uniform_stride:tokens=100000"], "ask for 1 to"),
        (["--at", "1", "-m", ":tokens=9"], "no method with a token budget"),
        (["--at", "1", "-m", ":size=9"], "write :tokens=64 or :keep=0.1"),
        (["--at", "1", "-m", "fastv+fastv"], "twice"),
        (["--at", "1", "-m", "tc_llava+zipvl"], "methods 'tc_llava' and 'zipvl' both replace 'attend'"),
        (["--at", "1", "-m", "damro:source=cls"], "'damro' needs the signal 'cls', which host 'llava_onevision'"),
        (["--at", "1", "-m", "fastv:layer=40"], "layer 40"),
    ],
)
def test_bad_input_is_one_sentence_before_the_model_runs(
    eyes: Eyes,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    says: str,
) -> None:
    tower = eyes.loupe.transport._tools["vlm"]._ready().host.tower  # type: ignore[attr-defined]
    monkeypatch.setattr(tower, "encode", lambda *_: pytest.fail("model time was spent"))
    asked = [] if "--question" in arguments else ["--question", QUESTION]
    code, out, err = look(capsys, eyes.video, *asked, *arguments)
    assert code == 2
    assert out == ""
    assert says in err
    assert "Traceback" not in err


def test_without_a_model_it_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOUPE_HOME", str(bench.home))
    monkeypatch.setattr(Loupe, "open", lambda *_: bench.loupe)
    code, out, err = look(capsys, write_video(bench.root / "film.mp4"), "--at", "1", "-q", QUESTION)
    assert (code, out) == (2, "")
    assert "no vision-language model" in err
    assert "under 'vlm' in the profile" in err


@pytest.fixture
def checked(
    tmp_path: Path,
    checkpoint: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[str, str, str]]:
    """What `loupe look` and `loupe doctor` say with a profile of this VLM: the error, the finding's key and text."""
    monkeypatch.setenv("LOUPE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tools.vlm.loading._weights", lambda *_: pytest.fail("the weights were loaded"))
    video = write_video(tmp_path / "film.mp4", seconds=1, audio=False)

    def check(**vlm: str) -> tuple[str, str, str]:
        profile = tmp_path / "mine.yaml"
        profile.write_text(json.dumps({"vlm": vlm}))
        code, out, err = look(capsys, video, "--at", "0", "-q", QUESTION, "--profile", profile)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        run(["doctor", "--profile", str(profile), "--json"])
        (finding,) = [one for one in json.loads(capsys.readouterr().out) if one["key"].startswith("vlm")]
        assert not finding["ok"]
        return err, finding["key"], finding["message"]

    return check


def test_a_profile_whose_model_cannot_be_used(
    checked: Callable[..., tuple[str, str, str]], checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    place = checkpoint("llava")
    half = Path(shutil.copytree(place, tmp_path / "half"))
    (half / "model.safetensors").write_bytes((place / "model.safetensors").read_bytes()[:5000])
    for vlm, key, says in (
        ({"backend": "qwen3_vl", "model": str(place)}, "vlm.model", "is a checkpoint of a 'llava' model"),
        ({"backend": "llava", "model": str(half)}, "vlm.model", "model.safetensors is cut off"),
        ({"backend": "llava", "model": str(tmp_path / "not")}, "vlm.model", "no checkpoint folder"),
        ({"backend": "llava", "model": "someone/never-fetched"}, "vlm.model", "not on this machine"),
        ({"backend": "llavaa", "model": str(place)}, "vlm.backend", "no VLM host 'llavaa'"),
        ({"backend": "llava"}, "vlm.model", "has no 'model'"),
        ({"backend": "llava", "model": str(place), "colour": "red"}, "vlm.colour", "no option 'colour'"),
        ({"backend": "llava", "model": str(place), "compression": "fastvv"}, "vlm.compression", "called 'fastvv'"),
    ):
        error, found, message = checked(**vlm)
        assert found == key
        assert says in error
        assert says in message


# Over HTTP.


@pytest.fixture
def client(eyes: Eyes) -> Iterator[TestClient]:
    with TestClient(eyes.app, raise_server_exceptions=False) as client:
        yield client


def body(eyes: Eyes, **more: object) -> dict[str, object]:
    view = {"video_id": eyes.loupe.find(str(eyes.video)).id, "span": {"start": 1, "end": 3}, "fps": 2}
    return {"view": view, "question": QUESTION, **more}


def test_the_service_looks_and_shows_what_was_seen(eyes: Eyes, client: TestClient) -> None:
    reply = client.post("/v1/look", json=body(eyes, method="uniform_stride:tokens=16", pictures=3))
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert found["cost"]["visual_tokens_kept"] == 16
    assert [one["time"] for one in found["heat"]] == [one["time"] for one in found["frames"]]
    assert len(found["frames"]) == 3
    assert picture(base64.b64decode(found["frames"][0]["jpeg"])).size[1] <= 360
    assert picture(base64.b64decode(found["heat"][0]["png"])).size == (4, 4)
    seen = Observation.model_validate_json(reply.text)
    assert Shares.of(seen.heat).cells == 3 * 16


@pytest.mark.parametrize(
    ("more", "status", "field"),
    [
        ({"question": ""}, 422, "question"),
        ({"question": " "}, 422, "question"),
        ({"method": "fastvv"}, 422, "method"),
        ({"method": "fastv+fastv"}, 422, "method"),
        ({"method": "uniform_stride:tokens=100000"}, 422, "tokens"),
        ({"method": "uniform_stride:keep=0"}, 422, "keep"),
        ({"pictures": -1}, 422, "pictures"),
        ({"view": {"video_id": "0" * 32, "span": {"start": 0, "end": 1}}}, 404, None),
        ({"view": {"video_id": "../../etc", "span": {"start": 0, "end": 1}}}, 404, None),
        ({"view": {"video_id": "x", "span": {"start": 2, "end": 1}}}, 422, None),
        ({"colour": "red"}, 422, "colour"),
    ],
)
def test_bad_requests_are_problems(
    eyes: Eyes, client: TestClient, more: dict[str, object], status: int, field: str | None
) -> None:
    reply = client.post("/v1/look", json=body(eyes) | more)
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["remedy"]
    if field is not None:
        assert reply.json()["field"] == field


def test_the_service_without_a_model_is_503(bench: Bench) -> None:
    video = bench.loupe.find(str(write_video(bench.root / "film.mp4")))
    wanted = {"view": {"video_id": video.id, "span": {"start": 0, "end": 1}}, "question": QUESTION}
    with TestClient(bench.app) as client:
        reply = client.post("/v1/look", json=wanted)
    assert reply.status_code == 503
    assert reply.json()["field"] == "vlm"


def test_the_command_looks_through_a_running_service(
    eyes: Eyes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = uvicorn.Server(uvicorn.Config(eyes.app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    (eyes.home / "service.json").write_text(json.dumps({"url": f"http://127.0.0.1:{port}", "pid": os.getpid()}))
    monkeypatch.setattr(Loupe, "open", lambda *_: pytest.fail("the service holds the data"))
    path = eyes.root / "seen.png"
    try:
        arguments = [eyes.video, "--span", "1-3", "-q", QUESTION]
        code, out, err = look(capsys, *arguments, "-m", "random_keep:tokens=9", "--heatmap", path, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["tokens_kept"] == 9
        assert picture(path.read_bytes()).width >= 738
        code, _, err = look(capsys, *arguments, "-m", "fastvv")
        assert code == 2
        assert "did you mean 'fastv'" in err
    finally:
        server.should_exit = True
        thread.join()


# In a trace.


def test_a_trace_keeps_the_heat_maps_of_its_looks(eyes: Eyes, client: TestClient) -> None:
    from agents.question import Question
    from agents.recorded import observed
    from tests.api.conftest import run as wait

    view = View(video_id=eyes.loupe.find(str(eyes.video)).id, span=Span.of(1, 3), fps=2)
    seen: Observation = wait(eyes.loupe.toolbox.look(view, QUESTION, "average_pooling:tokens=8"))
    assert [one.time for one in seen.heat] == [one.time for one in seen.frames]
    assert len(seen.heat) == 4
    traces: TraceStore = eyes.loupe.traces
    recorder = traces.create(Question(text=QUESTION), "seeing")
    outcome = Outcome(Look(view=view, question=QUESTION), seen, 0.0, 1.0)

    class Writer:
        record = staticmethod(recorder.record)

    from agents.run import Run

    event = Run.write(Writer(), outcome, node="perceive", step=1, parent=None)  # type: ignore[arg-type]
    recorder.fail("it was only a test")
    assert [one.time for one in event.heat] == [one.time for one in event.frames]
    trace = traces.open(recorder.id)
    assert trace.heat(trace.events[0]) == seen.heat
    again = observed(trace, trace.events[0])
    assert (again.heat, again.report, again.frames) == (seen.heat, seen.report, seen.frames)
    assert again.report is not None
    assert "heat" not in again.report

    shown = client.get(f"/v1/traces/{recorder.id}").json()["events"][0]
    for name in ("1", shown["heat"][1]["sha256"]):
        reply = client.get(f"/v1/traces/{recorder.id}/heat/{name}")
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "image/png"
        assert "immutable" in reply.headers["cache-control"]
        assert reply.content == seen.heat[1].png
    assert client.get(f"/v1/traces/{recorder.id}/heat/99").status_code == 404
    assert client.get(f"/v1/traces/{recorder.id}/heat/{'0' * 64}").status_code == 404
    assert client.get(f"/v1/traces/{recorder.id}/heat/seen").status_code == 422
    assert client.get(f"/v1/traces/{recorder.id}/frames/{shown['heat'][1]['sha256']}").status_code == 404
