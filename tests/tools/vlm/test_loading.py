"""Checkpoints that cannot be used are refused in one sentence, and the tool answers as its contract says."""

import json
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from tests.tools.vlm.conftest import LoadHost, make_frames
from tools.errors import BadInput, ProfileError
from tools.vlm.confidence import confidence
from tools.vlm.host import HOSTS, Host
from tools.vlm.loading import load_host
from tools.vlm.tool import Look, VlmTool

Checkpoint = Callable[[str], Path]


@pytest.fixture
def broken(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A copy of a checkpoint that a test may damage."""
    return Path(shutil.copytree(checkpoint("llava"), tmp_path / "copy"))


def refused(place: Path | str, **options: str) -> ProfileError:
    with pytest.raises(ProfileError) as caught:
        load_host(place, **options)  # type: ignore[arg-type]
    assert str(caught.value).count("\n") == 0
    return caught.value


def test_every_family_loads_under_its_own_name(host: Host, checkpoint: Checkpoint) -> None:
    assert type(host) is HOSTS.get(host.name)
    assert type(host.model).__name__ == host.model_class
    assert VlmTool.check(host.name, str(checkpoint(host.name))) is None


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "no checkpoint folder" in refused(tmp_path / "nothing").message


def test_a_hub_id_that_is_not_on_this_machine() -> None:
    error = refused("llava-hf/never-downloaded")
    assert "not on this machine" in error.message
    assert "hf download llava-hf/never-downloaded" in error.remedy


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "no config.json" in refused(tmp_path).message


def test_a_checkpoint_of_another_host(checkpoint: Checkpoint) -> None:
    error = refused(checkpoint("llava"), host="qwen2_5_vl")
    assert "'llava'" in error.message
    assert "Qwen2_5_VLForConditionalGeneration" in error.message


def test_a_checkpoint_of_another_kind(broken: Path) -> None:
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    assert "'bert'" in refused(broken).message


def found_without_loading(place: Path) -> ProfileError:
    """What `loupe doctor` says of it, which is what a look says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.vlm.loading._weights", lambda *_: pytest.fail("the weights were loaded"))
        error = refused(place)
        problem = VlmTool.check("llava", str(place))
    assert isinstance(problem, ProfileError)
    assert (problem.message, problem.field) == (error.message, "model")
    assert "download the model again" in error.remedy
    return error


@pytest.mark.parametrize("left", [0, 4, 200, -1])
def test_weights_that_were_cut_off(broken: Path, left: int) -> None:
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:left])
    assert "model.safetensors is cut off" in found_without_loading(broken).message


def test_weights_that_are_not_there(broken: Path) -> None:
    (broken / "model.safetensors").unlink()
    assert "it has no weights" in found_without_loading(broken).message


def test_a_download_that_stopped_between_two_files(broken: Path) -> None:
    index = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (broken / "model.safetensors").rename(broken / "model-1.safetensors")
    (broken / "model.safetensors.index.json").write_text(json.dumps(index))
    error = found_without_loading(broken)
    assert "1 of its 2 weight files are not there, e.g. model-2.safetensors" in error.message
    (broken / "model.safetensors.index.json").write_text("{")
    assert "model.safetensors.index.json is damaged" in found_without_loading(broken).message


def test_older_weights_are_not_judged_by_their_head(broken: Path) -> None:
    (broken / "model.safetensors").unlink()
    (broken / "pytorch_model.bin").write_bytes(b"something")
    assert VlmTool.check("llava", str(broken)) is None
    refused(broken)


def test_half_a_download_in_the_hub_s_own_folder(broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `hf download` leaves it when it is interrupted: links to the files that came, in a snapshot."""
    snapshot = tmp_path / "hub" / "models--someone--llava" / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    (tmp_path / "hub" / "models--someone--llava" / "refs").mkdir()
    (tmp_path / "hub" / "models--someone--llava" / "refs" / "main").write_text("0" * 40)
    (broken / "model.safetensors").unlink()
    broken.rename(snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("tools.vlm.loading._model_type", lambda *_: "llava")
    problem = VlmTool.check("llava", "someone/llava")
    assert isinstance(problem, ProfileError)
    assert "it has no weights" in problem.message


def test_weights_of_which_some_are_missing(broken: Path) -> None:
    weights = broken / "model.safetensors"
    with safe_open(weights, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in list(file.keys())[3:]}
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "lacks 3 of the weights" in refused(broken).message


def test_a_checkpoint_without_its_processor(broken: Path) -> None:
    for file in ("processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (broken / file).unlink(missing_ok=True)
    refused(broken)


@pytest.mark.parametrize(("option", "value"), [("dtype", "float8"), ("host", "llama"), ("device", "cuda:99")])
def test_options_that_do_not_exist(option: str, value: str, checkpoint: Checkpoint) -> None:
    refused(checkpoint("llava"), **{option: value})


# The tool.


@pytest.fixture(scope="module")
def tool(checkpoint: Checkpoint) -> VlmTool:
    return VlmTool(
        "llava_onevision",
        str(checkpoint("llava_onevision")),
        compression="average_pooling:keep=0.5",
        max_new_tokens=4,
        max_frames=6,
    )


def test_a_look_is_plain_data(tool: VlmTool) -> None:
    look = tool.look(make_frames(4), "What is red?")
    assert isinstance(look, Look)
    assert look.tokens_in == 64
    assert look.tokens_kept == 32
    assert look.model == tool.model
    assert 0 <= look.confidence <= 1
    assert pickle.loads(pickle.dumps(look)) == look
    json.dumps(look.report)
    assert look.report["methods"] == ("average_pooling:keep=0.5",)
    assert [np.shape(part["map"]) for part in look.report["heat"]] == [(4, 4)] * 4


def test_a_look_with_a_method_or_budget_of_its_own(tool: VlmTool) -> None:
    frames = make_frames(4)
    assert tool.look(frames, "What?", "none").tokens_kept == 64
    assert tool.look(frames, "What?", ":tokens=9").tokens_kept == 9
    assert tool.look(frames, "What?", ":keep=0.25").tokens_kept == 16
    assert tool.look(frames, "What?", "uniform_stride:tokens=5+fastv:tokens=1,layer=2").report["layers"] == (5, 5, 1, 1)
    for wrong in (":tokens=many", ":size=3", "no_such_method"):
        with pytest.raises(BadInput):
            tool.look(frames, "What?", wrong)


def test_more_frames_than_allowed_are_thinned_evenly(tool: VlmTool) -> None:
    assert tool.look(make_frames(30), "What?", "none").tokens_in == 6 * 16


def test_many_looks_are_those_looks(tool: VlmTool) -> None:
    calls = [((make_frames(count, seed=count), "What is red?", None), {}) for count in (1, 3, 2)]
    together = tool.look_many(calls)
    with ThreadPoolExecutor(3) as pool:
        alone = list(pool.map(lambda call: tool.look(*call[0]), calls))
    assert [look.text for look in together] == [look.text for look in alone]
    assert [look.tokens_kept for look in together] == [look.tokens_kept for look in alone]


def test_a_profile_that_cannot_work_says_so(checkpoint: Checkpoint) -> None:
    place = str(checkpoint("llava"))
    assert "no VLM host" in str(VlmTool.check("llavaa", place))
    assert "'model'" in str(VlmTool.check("llava"))
    assert "not of" in str(VlmTool.check("qwen3_vl", place))
    for problem, field in (
        (VlmTool.check("llava", place, compression="fastv:kep=1"), "compression"),
        (VlmTool.check("llava", place + "-not"), "model"),
        (VlmTool.check("qwen3_vl", place), "model"),
        (VlmTool.check("llava"), "model"),
        (VlmTool.check("llava", place, colour="red"), "colour"),
        (VlmTool.check("llava", place, max_frames=0), "max_frames"),
    ):
        assert isinstance(problem, ProfileError)
        assert problem.field == field


def test_a_profile_whose_methods_do_not_fit_is_to_blame_and_not_the_caller(checkpoint: Checkpoint) -> None:
    tool = VlmTool("llava", str(checkpoint("llava")), compression="fastv:layer=9", max_new_tokens=2)
    call = (make_frames(1), "What?")
    for _ in range(2):
        with pytest.raises(ProfileError, match="layer 9") as caught:
            tool.look(*call)
        assert caught.value.field == "compression"
    refused_, fine, bad = tool.look_many([(call, {}), ((*call, "none"), {}), ((*call, "fastv:layer=9"), {})])
    assert isinstance(refused_, ProfileError)
    assert isinstance(fine, Look)
    assert isinstance(bad, BadInput)


def test_nothing_is_loaded_for_a_request_that_cannot_be_read(tmp_path: Path) -> None:
    tool = VlmTool("llava", str(tmp_path / "nothing"))
    with pytest.raises(BadInput, match="fastvv"):
        tool.look(make_frames(1), "What?", "fastvv")
    with pytest.raises(ProfileError, match="no checkpoint folder"):
        tool.look(make_frames(1), "What?", "fastv")


# Confidence.


def test_confidence(tiny: LoadHost, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    host = tiny("llava")
    assert confidence(host, "What is it?", "a cat", [0.5, 0.5], None) == pytest.approx(0.5)
    assert confidence(host, "What is it?", "a cat", [1.0, 0.25], None) == pytest.approx(0.5)
    assert confidence(host, "What is it?", "", [], None) == 0.0
    logs = torch.full((len(host.tokenizer),), -30.0)
    encode = host.tokenizer.encode
    logs[encode("A")[0]], logs[encode("B")[0]] = np.log(0.3), np.log(0.1)
    question = "Which? A. the door B. the light"
    assert confidence(host, question, "A. the door", [0.3, 0.9], logs) == pytest.approx(0.75)
    assert confidence(host, question, "the door", [0.3, 0.3], logs) == pytest.approx(0.3)
    logs[encode("yes")[0]], logs[encode("no")[0]] = np.log(0.02), np.log(0.06)
    assert confidence(host, "Is it?", "No, it is not", [0.06], logs) == pytest.approx(0.75)
    monkeypatch.setattr(host, "calibrated", True)
    assert confidence(host, "What is it?", "a cat", [0.5, 0.5], None) == pytest.approx(0.25)
    assert confidence(host, "What is it?", "", [], None) == 0.0
    assert confidence(host, "Is it?", "No, it is not", [0.06, 0.5], logs) == pytest.approx(0.75)
