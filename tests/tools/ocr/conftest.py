"""Drawn pictures of text, and EasyOCR weight files of the real classes with random numbers in them."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import easyocr.config
import numpy as np
import numpy.typing as npt
import pytest
import torch
from easyocr.craft import CRAFT
from easyocr.model.vgg_model import Model
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]
Draw = Callable[..., Picture]


@pytest.fixture(scope="session")
def draw_text() -> Draw:
    """Draws lines ``(x, y, text)``, positions in pixels, dark on light."""

    def draw(lines: list[tuple[int, int, str]], *, size: tuple[int, int] = (640, 360), font: int = 24) -> Picture:
        image = Image.new("RGB", size, (240, 240, 232))
        pen = ImageDraw.Draw(image)
        for x, y, text in lines:
            pen.text((x, y), text, font=ImageFont.load_default(font), fill=(20, 24, 40))
        return np.asarray(image)

    return draw


@pytest.fixture(scope="session")
def easyocr_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a detector that sees text everywhere and a recogniser that reads random letters."""
    folder = tmp_path_factory.mktemp("easyocr")
    torch.manual_seed(0)
    detector = CRAFT()
    last = detector.conv_cls[-1]
    assert isinstance(last, torch.nn.Conv2d)
    with torch.no_grad():
        last.weight.zero_()
        assert last.bias is not None
        # The text map is above the threshold, the link map below it.
        last.bias.copy_(torch.tensor([0.9, 0.0]))
    torch.save(detector.state_dict(), folder / easyocr.config.detection_models["craft"]["filename"])
    known = easyocr.config.recognition_models["gen2"]["english_g2"]
    recogniser = Model(input_channel=1, output_channel=256, hidden_size=256, num_class=len(known["characters"]) + 1)
    with torch.no_grad():
        recogniser.Prediction.weight.mul_(100)
    # EasyOCR's files carry the prefix of a parallel module.
    state = {f"module.{name}": value for name, value in recogniser.state_dict().items()}
    torch.save(state, folder / known["filename"])
    return folder


@pytest.fixture(scope="session")
def trust() -> Callable[[pytest.MonkeyPatch, Path], None]:
    """Makes EasyOCR's list of check sums tell those of a folder's files."""

    def patched(patch: pytest.MonkeyPatch, folder: Path) -> None:
        for entry in (
            easyocr.config.detection_models["craft"],
            easyocr.config.recognition_models["gen2"]["english_g2"],
        ):
            digest = hashlib.md5((folder / entry["filename"]).read_bytes(), usedforsecurity=False).hexdigest()
            patch.setitem(entry, "md5sum", digest)

    return patched


@pytest.fixture
def trusted_weights(easyocr_weights: Path, trust, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of random weights, its check sums being EasyOCR's."""
    trust(monkeypatch, easyocr_weights)
    return easyocr_weights
