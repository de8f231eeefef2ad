"""EasyOCR: CRAFT detection and a CRNN recogniser in PyTorch, over eighty languages."""

import urllib.error
from collections.abc import Sequence
from pathlib import Path

import easyocr
import numpy as np
import numpy.typing as npt
from easyocr import config

from tools.errors import ProfileError
from tools.ocr import OcrBackend, TextLine
from tools.ocr.lines import box_region, clean, reading_order

#: File of the text detector's weights.
_DETECTOR: str = config.detection_models["craft"]["filename"]


class EasyOcr(OcrBackend):
    """EasyOCR's reader. Its weights are files in a folder; nothing is downloaded unless the profile says so.

    Args:
        languages: EasyOCR's codes, e.g. en, de, ch_sim; the recogniser follows from them.
        model_directory: folder of the weight files; by default EasyOCR's own (``EASYOCR_MODULE_PATH``).
        download: fetch missing weight files.
        device: torch device, e.g. cpu or cuda.
        network: recognition network; ``standard`` chooses by language, any other name is a file pair
            ``<network>.yaml`` and ``<network>.py`` in ``model_directory`` with its weights ``<network>.pth``.
        max_side: longest side in pixels that the detector gets.
        min_score: probability below which a line is dropped.

    Raises:
        ProfileError: weights that are missing, damaged or not to be downloaded, or an unknown language.
    """

    def __init__(
        self,
        *,
        languages: Sequence[str] = ("en",),
        model_directory: str | None = None,
        download: bool = False,
        device: str = "cpu",
        network: str = "standard",
        max_side: int = 1280,
        min_score: float = 0.3,
    ) -> None:
        self.model = f"easyocr-{'+'.join(languages)}"
        self._max_side = max_side
        self._min_score = min_score
        folder = _folder(model_directory)
        if problem := self.check(languages=languages, model_directory=model_directory, download=download):
            raise problem
        try:
            self._reader = easyocr.Reader(
                list(languages),
                gpu=False if device == "cpu" else device,
                model_storage_directory=str(folder),
                user_network_directory=str(folder),
                recog_network=network,
                download_enabled=download,
                verbose=False,
            )
        except FileNotFoundError as error:
            raise _missing(str(error), languages) from error
        except (urllib.error.URLError, TimeoutError) as error:
            raise _missing(f"the download failed ({error})", languages) from error
        except ValueError as error:
            raise ProfileError(
                f"EasyOCR does not know the languages {', '.join(languages)} together",
                remedy="write codes of EasyOCR's list of languages, e.g. [en, de]",
                field="languages",
            ) from error

    @staticmethod
    def check(
        *,
        languages: Sequence[str] = ("en",),
        model_directory: str | None = None,
        download: bool = False,
        **_options: object,
    ) -> ProfileError | None:
        """What keeps the detector's weights from being used, without loading them; None if nothing shows. Whether the
        languages' recogniser is there shows when it is loaded."""
        folder = _folder(model_directory)
        if download or (folder / _DETECTOR).is_file():
            return None
        return _missing(f"{folder / _DETECTOR} is not there", languages)

    def read(self, image: npt.NDArray[np.uint8]) -> list[TextLine]:
        """Lines of ``image`` (uint8 ``[H, W, 3]`` RGB) in reading order."""
        height, width = image.shape[:2]
        # EasyOCR takes arrays in OpenCV's order of channels.
        found = self._reader.readtext(np.ascontiguousarray(image[:, :, ::-1]), canvas_size=self._max_side)
        lines = []
        for points, text, score in found:
            text, region = clean(text), box_region(points, width, height)
            if text and region is not None and score >= self._min_score:
                lines.append(TextLine(text, region, min(max(float(score), 0.0), 1.0)))
        return reading_order(lines)


def _folder(model_directory: str | None) -> Path:
    return Path(model_directory) if model_directory is not None else Path(config.MODULE_PATH) / "model"


def _missing(why: str, languages: Sequence[str]) -> ProfileError:
    return ProfileError(
        f"the weights of EasyOCR for {', '.join(languages)} cannot be used, {why}",
        remedy="write 'download: true' under this backend, or put EasyOCR's weight files (detector craft_mlt_25k.pth "
        "and the language's recogniser, e.g. english_g2.pth) into a folder and name it as 'model_directory'",
        field="model_directory",
    )
