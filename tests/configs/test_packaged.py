"""Models that come with Loupe are found by name, wherever the program is started."""

from pathlib import Path

import pytest

from tools.packaged import names, packaged


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
    assert {"nano", "nano/search"} <= set(names())
    assert all(Path(packaged(name)).is_dir() for name in names())
