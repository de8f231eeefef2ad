"""A question with words that a model never met is told apart, and what is said to it is no evidence."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.tools.vlm.conftest import make_frames
from tools.media.frames import Frames
from tools.media.span import Span
from tools.media.tool import Glimpse
from tools.media.view import View
from tools.transport import InProcess
from tools.transport_toolbox import TransportToolbox
from tools.vlm.familiar import Familiar
from tools.vlm.tool import VlmTool

SENTENCES = ("What colour is the star?", "A red star, and the word SUN on the left.", "It doesn't move.")


def test_words_are_known_whatever_their_case(tmp_path: Path) -> None:
    known = Familiar.of(SENTENCES)
    assert known.unknown("The STAR is red: WHAT does it say?") == ("does", "say")
    assert known.unknown("What colour is the car, the car on the left?") == ("car",)
    # What is written in a picture, and numbers, are spelled.
    assert known.unknown("the word MOON and the word 47B") == ()
    assert known.unknown("") == ()
    known.save(tmp_path)
    assert Familiar.load(tmp_path) == known
    assert Familiar.load(tmp_path / "elsewhere") is None


class Media:
    """Gives the same frames for every view."""

    def frames(self, view: View) -> Frames:
        return make_frames(2)

    def glimpse(self, frames: Frames, times: Sequence[float] | None, limit: int, short_side: int) -> Glimpse:
        return Glimpse((), len(frames))


@pytest.mark.parametrize(("question", "known"), [("What colour is the star?", True), ("Is the car red?", False)])
def test_an_answer_to_strange_words_is_no_evidence(
    checkpoint: Callable[[str], Path], tmp_path: Path, question: str, known: bool
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("llava"), folder)
    Familiar.of(SENTENCES).save(folder)
    toolbox = TransportToolbox(InProcess({"vlm": VlmTool("llava", str(folder)), "media": Media()}))
    seen = asyncio.run(toolbox.look(View(video_id="v", span=Span.of(0, 4)), question))
    assert seen.report is not None
    if known:
        assert (seen.note, len(seen.evidence)) == (None, 1)
    else:
        assert seen.report["unknown"] == ["car"]
        assert not seen.evidence
        assert seen.note is not None
        assert "never met 'car'" in seen.note
