"""Models that come with Loupe are found by name, wherever the program is started."""

from pathlib import Path

import pytest

from agents.loupe import index_fingerprint
from configs.load import load_profile
from tools import packaged as models
from tools.packaged import names, packaged, weights


def test_packaged_names_win_over_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nano").mkdir()
    (tmp_path / "nano" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    found = Path(packaged("nano"))
    assert found.is_absolute()
    assert (found / "model.safetensors").is_file()
    assert packaged("./nano") == "./nano"
    assert packaged(str(tmp_path / "nano")) == str(tmp_path / "nano")
    assert packaged("org/model") == "org/model"


def test_all_are_listed() -> None:
    assert {"nano", "nano/search", "nano-qwen"} <= set(names())
    assert all(Path(packaged(name)).is_dir() for name in names())


def test_a_model_trained_anew_makes_old_indexes_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = load_profile("embedded")
    before = index_fingerprint(profile)
    assert before == index_fingerprint(load_profile("embedded"))
    assert weights("org/model") is None
    for name in ("nano", "nano/search"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(name.encode())
    monkeypatch.setattr(models, "_HERE", tmp_path)
    assert index_fingerprint(profile) != before
