"""Sweeps: isolation of items, a manifest that grows, resumption."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.archive import Item, Manifest, sweep


def _item(path: str, **fields: Any) -> Item:
    return Item.model_validate({"path": path, "task": "index", "status": "done", "seconds": 1.0} | fields)


def test_the_last_line_about_an_item_counts(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "deep" / "manifest.jsonl")
    assert manifest.items() == []
    for item in (_item("a", status="failed", error="no"), _item("b"), _item("a"), _item("a", task="ask")):
        manifest.append(item)
    assert manifest.done("index") == {"a", "b"}
    assert manifest.done("ask") == {"a"}
    assert len(manifest.items()) == 3


def test_a_torn_line_costs_one_item_only(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    manifest = Manifest(path)
    manifest.append(_item("a"))
    manifest.append(_item("b"))
    path.write_bytes(path.read_bytes()[:-20])
    manifest.append(_item("c"))
    assert manifest.done("index") == {"a", "c"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_items_are_isolated_and_a_second_sweep_goes_on(served: SimpleNamespace, tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    runs = tmp_path / "runs"
    runs.mkdir()

    def run(path: str) -> dict[str, Any]:
        (runs / f"{path}-{len(list(runs.iterdir()))}").touch()
        if path == "bad":
            raise ValueError("not a video")
        if path == "deadly":
            os._exit(1)
        return {"path": path}

    paths = ["a", "bad", "b", "deadly", "c", "a"]
    first = []
    for item in sweep(paths, manifest, run, parallel=2):
        first.append(item)
        assert item in manifest.items()
        if len(first) == 2:
            break
    rest = list(sweep(paths, manifest, run, parallel=2))
    done = {item.path: item for item in manifest.items()}
    assert done.keys() == {"a", "bad", "b", "deadly", "c"}
    assert {path for path, item in done.items() if item.status == "done"} == {"a", "b", "c"}
    assert done["bad"].error == "ValueError: not a video"
    assert "gone" in str(done["deadly"].error)
    assert not {item.path for item in first if item.status == "done"} & {item.path for item in rest}
    again = list(sweep(paths, manifest, run, parallel=2))
    assert {item.path for item in again} == {"bad", "deadly"}
