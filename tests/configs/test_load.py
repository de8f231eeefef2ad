"""Profiles: what is read, what is refused and how it is said."""

import itertools
import pickle
from pathlib import Path

import pytest
import yaml

from configs import Profile, home_dir, load_profile, profile_names
from tools.errors import ProfileError


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOUPE_PROFILE", "LOUPE_HOME", "LOUPE_PORT", "LOUPE_ROOTS", "LOUPE_TOKENS", "LOUPE_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return _write


@pytest.mark.parametrize("name", profile_names())
def test_packaged_profiles_load_and_travel(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert pickle.loads(pickle.dumps(profile)) == profile
    assert Profile.model_validate(profile.model_dump()) == profile


@pytest.mark.parametrize("name", profile_names())
def test_every_key_of_a_packaged_profile_has_a_comment(name: str) -> None:
    lines = (Path(__file__).parents[2] / "configs" / f"{name}.yaml").read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        key = line.strip().removeprefix("- ")
        if key.startswith("#") or ":" not in key or key.startswith("backend:"):
            continue
        assert before.strip().startswith("#") or before.strip() == "detect:", line


def test_the_default_is_embedded_and_the_environment_can_name_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_profile(None).name == "embedded"
    monkeypatch.setenv("LOUPE_PROFILE", "cpu")
    assert load_profile(None).name == "cpu"
    assert load_profile("embedded").name == "embedded"


def test_a_file_is_a_profile(write) -> None:
    profile = load_profile(write("asr: {backend: whisper, model: tiny}\ndetect:\n  - backend: motion\n"))
    assert profile.name == "mine"
    assert profile.asr is not None
    assert (profile.asr.backend, profile.asr.options) == ("whisper", {"model": "tiny"})
    assert profile.ocr is None
    assert load_profile(write("")).text_embedding.backend == "minilm"


def test_variables_are_expanded_before_types_are_read(write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write('api:\n  port: ${LOUPE_PORT:-8000}\n  roots: "${LOUPE_ROOTS:-}"\n  host: x.${LOUPE_HOST:-a}.b\n')
    assert load_profile(path).api.port == 8000
    assert load_profile(path).api.roots == ()
    monkeypatch.setenv("LOUPE_PORT", "99")
    monkeypatch.setenv("LOUPE_ROOTS", "/a, /b c ,")
    monkeypatch.setenv("LOUPE_HOST", "")
    assert load_profile(path).api.port == 99
    assert load_profile(path).api.roots == ("/a", "/b c")
    assert load_profile(path).api.host == "x.a.b"
    options = load_profile(write("store:\n  backend: server\n  a: ${LOUPE_PORT}\n  b: '${LOUPE_PORT}'\n")).store.options
    assert options == {"a": 99, "b": "99"}


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("indx: {}", "indx", "did you mean 'index'"),
        ("index: {shortside: 3}", "index.shortside", "did you mean 'short_side'"),
        ("cluster: {asr: {num_cpu: 3}}", "cluster.asr.num_cpu", "did you mean 'num_cpus'"),
        ("index: {fps: fast}", "index.fps", "should be a valid number, unable to parse string as a number, not 'fast'"),
        ("index: {fps: 0}", "index.fps", "greater than 0"),
        ("index: 3", "index", "'index'"),
        ("asr: whisper", "asr", "'asr'"),
        ("asr: {model: tiny}", "asr.backend", "Field required"),
        ("detect: [{backend: motion}, {label: 3}]", "detect.1.backend", "Field required"),
        ("api: {port: 70000}", "api.port", "65535"),
        ("cluster: {asr: {min_replicas: 3, max_replicas: 2}}", "cluster.asr", "min_replicas 3 is larger"),
        ("cluster: {store: {max_replicas: 2}}", "profile", "cluster.store must have"),
        ("api:\n  host: ${LOUPE_NOWHERE}", "LOUPE_NOWHERE", "set it"),
        ("- a", "profile", "list"),
        ("a: [", "profile", "line 1"),
        ("index: {}\nindex: {}", "profile", "twice"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(write, text: str, field: str, words: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(write(text))
    assert caught.value.field == field
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_tokens_are_never_printed(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOUPE_TOKENS", "swordfish")
    profile = load_profile(write('api: {tokens: "${LOUPE_TOKENS}"}\nreasoner: {backend: chat, api_key: swordfish}'))
    assert profile.api.tokens == ("swordfish",)
    assert "swordfish" not in repr(profile)
    with pytest.raises(ProfileError) as caught:
        load_profile(write("api: {tokens: {swordfish: 1}}"))
    assert "swordfish" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"), [("embeded", "did you mean 'embedded'"), ("no/such.yaml", "cannot be read (No such file")]
)
def test_a_profile_that_is_not_there(name: str, words: str) -> None:
    with pytest.raises(ProfileError, match="profile") as caught:
        load_profile(name)
    assert words in str(caught.value)
    assert caught.value.field == "profile"


def test_a_folder_or_binary_file_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "video.yaml"
    binary.write_bytes(b"\xff\xfe\x00\xf0")
    for path in (binary, tmp_path / "sub.yaml"):
        (tmp_path / "sub.yaml").mkdir(exist_ok=True)
        with pytest.raises(ProfileError, match="cannot be read"):
            load_profile(str(path))


def test_yaml_tags_run_nothing(write) -> None:
    with pytest.raises(ProfileError, match="not readable YAML"):
        load_profile(write("asr: !!python/object/apply:os.getcwd []"))


def test_home_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert home_dir() == Path("~/.loupe").expanduser()
    monkeypatch.setenv("LOUPE_HOME", str(tmp_path))
    assert home_dir() == tmp_path


def test_packaged_files_are_plain_yaml() -> None:
    # Other programs may read them too: no tag or construct that safe YAML lacks.
    for name in profile_names():
        yaml.safe_load((Path(__file__).parents[2] / "configs" / f"{name}.yaml").read_text())
