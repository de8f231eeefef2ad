"""A short drawn video that several tests look at."""

from pathlib import Path

import pytest

from evals.synth.builders import short_script
from evals.synth.script import Script
from evals.synth.truth import Truth
from evals.synth.write import write


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[Script, Path, Truth]:
    """Eight seconds with one of everything."""
    script = short_script(7, duration=8)
    path = tmp_path_factory.mktemp("short") / "short.mp4"
    return script, path, write(script, path)
