"""From profiles to tools: everything lazy, every mistake at its key."""

import subprocess
import sys
from pathlib import Path

import pytest

from configs import Profile, load_profile, profile_names
from configs.build import build_tool, build_tools, tool_names
from configs.check import check
from configs.lazy import Lazy
from configs.profile import TOOLS
from tools.errors import ProfileError, ToolUnavailable
from tools.evidence import Evidence, Scope
from tools.media.library import Library
from tools.media.span import Span
from tools.ocr import BACKENDS, OcrBackend
from tools.store import Clip, Store

NO_TOOL = Profile.model_validate({"name": "bare"})


def test_the_tools_of_the_embedded_profile(tmp_path: Path) -> None:
    tools = build_tools(load_profile("embedded"), Library(tmp_path), tmp_path)
    assert list(tools) == list(TOOLS)
    assert not any(tool.built for tool in tools.values() if isinstance(tool, Lazy))
    assert not (tmp_path / "store").exists()


def test_embed_and_store_fit_together(tmp_path: Path) -> None:
    tools = build_tools(load_profile("embedded"), Library(tmp_path), tmp_path)
    store, embed = tools["store"], tools["embed"]
    evidence = Evidence.make(
        video_id="v", kind="speech", span=Span.of(0, 1), text="hello", score=1, tool="asr", model="m"
    )
    store.upsert([Clip(evidence, embed.texts(["hello"])[0])])
    assert store.list(Scope()) == [evidence]
    assert (tmp_path / "store").is_dir()
    assert isinstance(store.get(), Store)
    store.close()


def test_a_tool_that_the_profile_lacks(tmp_path: Path) -> None:
    assert tool_names(NO_TOOL) == ["media", "embed", "store"]
    for name in ("asr", "ocr", "detect", "vlm", "nonsense"):
        with pytest.raises(ToolUnavailable, match=f"'bare' has no tool '{name}'") as caught:
            build_tool(NO_TOOL, name, Library(tmp_path), tmp_path)
        assert caught.value.field == name
    assert set(TOOLS) >= set(tool_names(load_profile("cpu"))) == set(TOOLS)


@pytest.mark.parametrize(
    ("data", "tool", "field", "words"),
    [
        ({"ocr": {"backend": "rapidocrr"}}, "ocr", "ocr.backend", "did you mean 'rapidocr'"),
        ({"ocr": {"backend": "rapidocr", "thread": 2}}, "ocr", "ocr.thread", "did you mean 'threads'"),
        ({"detect": [{"backend": "motion", "sides": 1}]}, "detect", "detect.0.sides", "did you mean 'side'"),
        ({"store": {"backend": "disk"}}, "store", "store.backend", "edge"),
        ({"text_embedding": {"backend": "minilm", "max": 1}}, "embed", "text_embedding.max", "max_tokens"),
        (
            {"visual_embedding": {"backend": "clip", "model": "/no/such"}},
            "embed",
            "visual_embedding.model",
            "no model folder '/no/such'",
        ),
        ({"asr": {"backend": "whisper", "model": "/no/such.pt"}}, "asr", "asr.model", "/no/such.pt"),
    ],
)
def test_a_mistake_is_found_at_its_key(data: dict, tool: str, field: str, words: str, tmp_path: Path) -> None:
    profile = Profile.model_validate(data)
    with pytest.raises(ProfileError) as caught:
        build_tool(profile, tool, Library(tmp_path), tmp_path)
    assert caught.value.field == field
    assert words in str(caught.value)
    findings = [finding for finding in check(profile) if not finding.ok]
    assert len(findings) == 1
    assert findings[0].key in (field, field.rsplit(".", 1)[0])
    assert words in f"{findings[0].message}: {findings[0].remedy}"


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    class Unbuildable(OcrBackend):
        """Needs what nobody has."""

        def __init__(self) -> None:
            raise ImportError("no", name="nowhere_to_be_had")

        def read(self, image):
            return []

    BACKENDS.register("unbuildable", Unbuildable)
    try:
        with pytest.raises(ProfileError, match="'nowhere_to_be_had', which is not installed") as caught:
            build_tool(Profile.model_validate({"ocr": {"backend": "unbuildable"}}), "ocr", Library(tmp_path), tmp_path)
        assert caught.value.field == "ocr.backend"
    finally:
        BACKENDS.unregister("unbuildable")


@pytest.mark.slow
@pytest.mark.parametrize("name", profile_names())
def test_packaged_profiles_name_what_exists(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for finding in check(load_profile(name)):
        assert "there is no " not in finding.message
        assert "has no option" not in finding.message
        assert "needs the option" not in finding.message
        assert finding.ok != bool(finding.remedy)


def test_the_embedded_profile_lacks_nothing() -> None:
    assert [finding for finding in check(load_profile("embedded")) if not finding.ok] == []


@pytest.mark.slow
def test_building_lazily_imports_nothing_heavy(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from configs import load_profile
from configs.build import build_tools
from tools.media.library import Library

home = Path(sys.argv[1])
tools = build_tools(load_profile("embedded"), Library(home), home)
tools["store"].query, tools["ocr"].read
tools["store"].count()
tools["store"].close()
assert tools["embed"].texts(["a"]).shape == (1, 384)
heavy = {"torch", "transformers", "onnxruntime", "scipy", "ray", "sentence_transformers", "qdrant_client"}
print(*sorted(heavy & set(sys.modules)))
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
