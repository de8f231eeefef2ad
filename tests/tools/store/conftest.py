"""Stores of every backend; the server's is a real HTTP server on loopback."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tools.store import BACKENDS, Store

TEXT_DIM, VISUAL_DIM = 16, 8


@pytest.fixture(scope="session")
def rest_app(load_module: Callable[[str], Any]) -> Any:
    """The module with Qdrant's REST interface over qdrant-client's local mode."""
    return load_module("rest_server")


@pytest.fixture(scope="session")
def load_module() -> Callable[[str], Any]:
    """Imports a helper that lies beside the tests (they are no package)."""
    import importlib.util

    def _load(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return _load


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Any], str]]:
    """Starts an ASGI app on a free loopback port and returns its address."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def _serve(app: Any) -> str:
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield _serve
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def rest_url(serve: Callable[[Any], str], rest_app: Any) -> str:
    """Address of one running server; tests use a collection each."""
    return serve(rest_app.make_app())


@pytest.fixture
def open_store(tmp_path: Path, rest_url: str) -> Iterator[Callable[..., Store]]:
    """Opens a store of a backend by name; the same name opens the same data again (except "local", which has none)."""
    opened: list[Store] = []

    def _open(name: str, text_dim: int = TEXT_DIM, visual_dim: int | None = VISUAL_DIM) -> Store:
        options: dict[str, Any] = {}
        if name == "edge":
            options = {"path": tmp_path / "store"}
        elif name == "server":
            options = {"url": rest_url, "collection": f"c{abs(hash(tmp_path))}"}
        store = BACKENDS.create(name, options, text_dim=text_dim, visual_dim=visual_dim)
        opened.append(store)
        return store

    yield _open
    for store in opened:
        store.close()
