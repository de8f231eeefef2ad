"""Errors read as one sentence and survive the way between processes."""

import pickle

import pytest

from tools import errors
from tools.errors import BadInput, LoupeError, did_you_mean

KINDS = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, LoupeError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_pickling_keeps_everything(kind: type[LoupeError]) -> None:
    error = pickle.loads(pickle.dumps(kind("it broke", remedy="mend it", field="part")))
    assert type(error) is kind
    assert (error.message, error.remedy, error.field) == ("it broke", "mend it", "part")
    assert str(error) == "it broke: mend it."


def test_a_near_word_is_offered() -> None:
    assert did_you_mean("zom", ["zoom", "single_pass"]).startswith("did you mean 'zoom'?")
    assert did_you_mean("x", ["zoom"]) == "use one of: zoom"
    assert "nothing" in did_you_mean("x", [])


def test_statuses_tell_client_from_server() -> None:
    assert all(400 <= kind.status < 600 for kind in KINDS)
    assert BadInput.status == 422
