"""Adding a method is one file and no other edit: a copy of the code, one file more, and everything knows it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
CODE = ("agents", "api", "cluster", "configs", "evals", "tools", "tests/tools/vlm")
METHOD = '''"""Every third: tokens 0, 3, 6 ..."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from tools.vlm.context import Context
from tools.vlm.method import Method, Stage
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class EveryThird(Method):
    """Keeps every third token.

    Attributes:
        step: distance between two tokens that are kept.
    """

    title: ClassVar[str] = "MLVU: A Comprehensive Benchmark for Multi-Task Long Video Understanding"
    arxiv: ClassVar[str | None] = "2406.04264"
    number: ClassVar[int | None] = 33
    family: ClassVar[str] = "a family of its own"
    stage: ClassVar[Stage] = "merge"

    step: int = 3

    def count(self, tokens: int) -> int | None:
        """A third, rounded up."""
        return -(-tokens // self.step)

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Keeps them."""
        return tokens.gather(torch.arange(0, len(tokens), self.step, device=tokens.features.device))

    @classmethod
    def identity(cls) -> "EveryThird":
        """Every token."""
        return cls(step=1)
'''
#: Run in the copy: the registry, the list over HTTP, a look by the new name.
USE = """
import json, sys
from pathlib import Path
from fastapi.testclient import TestClient
import tools.vlm.methods
from agents.loupe import Loupe
from api.app import create_app
from configs.profile import Api, Backend, Profile
from evals import checkpoints
from tests.tools.vlm.conftest import make_frames
from tools.transport import InProcess
from tools.vlm.method import METHODS
from tools.vlm.tool import VlmTool

folder = Path(sys.argv[1])
tool = VlmTool("llava", str(checkpoints.build("llava", folder / "checkpoint")), max_new_tokens=2)
app = create_app(Loupe.open(Profile(), folder / "home", InProcess({})), Api())
with TestClient(app) as client:
    listed = client.get("/v1/methods").json()
look = tool.look(make_frames(2), "What is it?", "every_third:step=4")
print(json.dumps({
    "code": str(Path(tools.vlm.methods.__file__)),
    "registry": METHODS.names(),
    "api": [row for row in listed if "every_third" in row["plugins"]],
    "kept": [look.tokens_in, look.tokens_kept],
}))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code with one file more."""
    root = tmp_path_factory.mktemp("copy")
    for name in CODE:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    shutil.copy(ROOT / "tests" / "conftest.py", root / "tests")
    (root / "tools" / "vlm" / "methods" / "every_third.py").write_text(METHOD)
    return root


def call(copy: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "LOUPE_PROFILE")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_laws_are_asked_of_it_and_it_obeys(copy: Path) -> None:
    out = call(
        copy, "-m", "pytest", "tests/tools/vlm/test_laws.py", "-k", "every_third", "-v", "-p", "no:cacheprovider"
    )
    passed = [line.partition("::")[2].partition(" PASSED")[0] for line in out.splitlines() if "PASSED" in line]
    assert {name.partition("[")[0] for name in passed} == {
        "test_describes_itself",
        "test_identity_is_the_host_itself",
        "test_keeps_its_budget_in_order_and_accounts_for_every_patch",
        "test_neither_neighbours_nor_repetition_change_a_result",
        "test_short_long_and_still",
        "test_bfloat16",
        "test_pictures_without_content",
    }
    for host in ("llava", "llava_onevision", "qwen2_5_vl", "qwen3_vl"):
        assert f"test_bfloat16[every_third-{host}]" in passed


def test_registry_service_and_requests_know_it(copy: Path, tmp_path: Path) -> None:
    found = json.loads(call(copy, "-c", USE, str(tmp_path)).splitlines()[-1])
    assert Path(found["code"]).is_relative_to(copy)
    assert "every_third" in found["registry"]
    (row,) = found["api"]
    assert (row["number"], row["status"], row["stage"]) == (33, "works", "merge")
    assert found["kept"] == [98, 25]


def test_the_command_line_knows_it(copy: Path) -> None:
    rows = json.loads(call(copy, "-m", "api", "methods", "--json"))
    (row,) = [row for row in rows if row["number"] == 33]
    assert (row["name"], row["status"], row["stage"], row["plugins"]) == ("MLVU", "works", "merge", ["every_third"])
