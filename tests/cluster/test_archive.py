"""The manifest of a sweep: the last line counts, a torn one costs one item. Sweeps on Ray: `test_transports`."""

from pathlib import Path
from typing import Any

from cluster.archive import Item, Manifest


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
