"""The media benchmark counts what it says."""

from pathlib import Path

import pytest

from evals.bench.media import generate, measure_scan, measure_views
from tools.errors import BadInput


@pytest.mark.parametrize(("key_every", "decoded"), [(2, range(4, 5)), (8, range(60, 160))])
def test_rows(key_every: int, decoded: range, tmp_path: Path) -> None:
    path = tmp_path / "generated.mp4"
    generate(path, seconds=8, key_every=key_every, size=(160, 96))
    row = measure_scan(path, rounds=1)
    assert row["pictures"] == 200
    assert row["pictures_decoded"] in decoded
    assert row["seconds"] == 8
    assert row["samples"] in (4, *range(8, 12))
    assert row["scan_to_needed_decode"] > 0
    assert 1 <= measure_views(path, views=2)["view_pictures_decoded"] <= 200


def test_a_file_without_pictures(shared_data: Path) -> None:
    with pytest.raises(BadInput):
        measure_scan(shared_data / "jfk.flac")
