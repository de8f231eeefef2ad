"""What only one backend has to do: hold a folder, survive a killed process, talk HTTP."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.errors import StoreError, ToolUnavailable
from tools.evidence import Evidence, Scope
from tools.media.span import Span
from tools.store import BACKENDS, Clip, Query, Store

ROOT = Path(__file__).parents[3]


def clip(i: int, dim: int = 4) -> Clip:
    evidence = Evidence.make(
        video_id=f"v{i % 3}", kind="speech", span=Span.of(i, i + 1), text=f"word{i}", score=1, tool="asr", model="m"
    )
    vector = np.ones(dim, np.float32) / np.sqrt(dim, dtype=np.float32)
    return Clip(evidence, vector)


def edge(path: Path, text_dim: int = 4, visual_dim: int | None = None) -> Store:
    return BACKENDS.create("edge", {"path": path}, text_dim=text_dim, visual_dim=visual_dim)


def test_a_folder_keeps_its_clips(tmp_path: Path) -> None:
    store = edge(tmp_path / "a" / "b")
    store.upsert([clip(i) for i in range(20)])
    before = store.list(Scope())
    store.close()
    again = edge(tmp_path / "a" / "b")
    assert again.list(Scope()) == before
    assert [e.text for e in again.query(Query(text="word7"))] == ["word7"]
    again.close()


def test_a_folder_that_this_process_holds(tmp_path: Path) -> None:
    store = edge(tmp_path)
    with pytest.raises(StoreError, match="held by this process") as caught:
        edge(tmp_path)
    assert caught.value.field == "store.path"
    store.upsert([clip(1)])
    assert store.count() == 1
    store.close()
    edge(tmp_path).close()


@pytest.mark.slow
def test_a_folder_that_another_process_holds(tmp_path: Path) -> None:
    process = _start(tmp_path, "hold")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match=f"held by process {process.pid} ") as caught:
            edge(tmp_path)
        assert "running service" in caught.value.remedy
    finally:
        process.kill()
        process.communicate()
    edge(tmp_path).close()


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 7, 40])
def test_what_was_written_survives_a_killed_process(tmp_path: Path, after: int) -> None:
    process = _start(tmp_path, "write")
    assert process.stdout is not None
    done = 0
    for line in process.stdout:
        done = int(line)
        if done >= after * 50:
            os.kill(process.pid, signal.SIGKILL)
            break
    # Lines that were on their way when it died also count: each was printed after its upsert had returned.
    done = max([done, *[int(line) for line in process.communicate()[0].splitlines()]])
    assert process.returncode == -signal.SIGKILL
    store = edge(tmp_path)
    texts = {e.text for e in store.list(Scope(), 100_000)}
    assert texts >= {f"word{i}" for i in range(done)}
    assert store.count() == len(texts)
    # A second run continues, and changes nothing about what is there.
    store.upsert([clip(i) for i in range(done + 10)])
    assert store.count() >= done + 10
    assert len(store.query(Query(text_vector=clip(0).text_vector, limit=5))) == 5
    store.close()


def test_a_crash_while_the_store_is_made_leaves_no_half(tmp_path: Path) -> None:
    (tmp_path / "clips.new" / "segments" / "x").mkdir(parents=True)
    (tmp_path / "clips.json").write_text(json.dumps({"text": 99}))
    store = edge(tmp_path)
    store.upsert([clip(0)])
    assert store.count() == 1
    store.close()


def test_other_lengths_are_refused_with_both(tmp_path: Path) -> None:
    edge(tmp_path, 4, 8).close()
    for dims, field, words in (
        (
            (5, 8),
            "text_embedding",
            "text vectors of length 4, but this profile's text embedding makes vectors of length 5",
        ),
        ((4, 9), "visual_embedding", "visual vectors of length 8"),
    ):
        with pytest.raises(StoreError, match="LOUPE_HOME") as caught:
            edge(tmp_path, *dims)
        assert words in caught.value.message
        assert caught.value.field == field
    # Nothing is held after a refusal, and a profile that makes no visual vectors can still search.
    edge(tmp_path, 4, None).close()
    edge(tmp_path, 4, 8).close()
    plain = tmp_path / "plain"
    edge(plain, 4, None).close()
    with pytest.raises(StoreError, match="no visual vectors"):
        edge(plain, 4, 8)


def test_a_damaged_folder(tmp_path: Path) -> None:
    edge(tmp_path).close()
    (tmp_path / "clips.json").write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        edge(tmp_path)
    (tmp_path / "clips.json").write_text('{"text": 4}')
    (tmp_path / "clips" / "edge_config.json").write_text("{")
    with pytest.raises(StoreError, match="failed"):
        edge(tmp_path)


def test_a_place_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used") as caught:
        edge(tmp_path / "file" / "store")
    assert caught.value.field == "store.path"


def server(url: str, **options: Any) -> Store:
    return BACKENDS.create("server", {"url": url, **options}, text_dim=4, visual_dim=None)


def test_server_that_is_not_there() -> None:
    with pytest.raises(StoreError, match="does not answer") as caught:
        server("http://127.0.0.1:9", timeout=1)
    assert caught.value.field == "store.url"
    with pytest.raises(StoreError, match="not the address"):
        server("http://[bad")
    for url in ("http://127.0.0.1:9", "http://[bad", "nowhere"):
        assert f"no Qdrant server answers at {url}" in BACKENDS.get("server").check(url)


def test_server_with_a_key(serve: Callable[[Any], str], rest_app: Any) -> None:
    url = serve(rest_app.make_app(api_key="sesame"))
    with pytest.raises(StoreError, match="401"):
        server(url)
    kind = BACKENDS.get("server")
    assert "401" in kind.check(url)
    assert kind.check(url, api_key="sesame") is None
    with pytest.warns(UserWarning, match="insecure connection"):
        store = server(url, api_key="sesame")
    store.upsert([clip(0)])
    assert store.count() == 1
    store.close()


def test_server_creates_indexes_with_the_collection(serve: Callable[[Any], str], rest_app: Any) -> None:
    app = rest_app.make_app()
    store = server(serve(app), collection="mine")
    assert app.state.indexes == {"mine": {"video_id": "keyword", "kind": "keyword", "start": "float", "end": "float"}}
    store.close()


def test_server_is_shared(rest_url: str) -> None:
    one, two = server(rest_url, collection="shared"), server(rest_url, collection="shared")
    one.upsert([clip(0)])
    assert two.count() == 1
    one.close()
    two.upsert([clip(1)])
    assert two.count() == 2
    two.close()
    with pytest.raises(StoreError, match="length 4, but this profile's text embedding makes vectors of length 5"):
        BACKENDS.create("server", {"url": rest_url, "collection": "shared"}, text_dim=5, visual_dim=None)


def test_server_that_goes_away(serve: Callable[[Any], str], rest_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = server(serve(rest_app.make_app()))
    import httpx

    def _refuse(*_: Any, **__: Any) -> Any:
        raise httpx.ConnectError("connection refused")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", _refuse)
    with pytest.raises(ToolUnavailable, match="does not answer"):
        store.count()
    store.close()


_SCRIPT = """
import sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from test_backends import clip, edge
from pathlib import Path
store = edge(Path({path!r}))
if {mode!r} == "hold":
    print("open", flush=True)
    time.sleep(60)
i = 0
while True:
    store.upsert([clip(j) for j in range(i, i + 50)])
    i += 50
    print(i, flush=True)
"""


def _start(path: Path, mode: str) -> "subprocess.Popen[str]":
    script = _SCRIPT.format(root=str(ROOT), tests=str(Path(__file__).parent), path=str(path), mode=mode)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
