"""RapidOCR: PP-OCRv4 detection and recognition on ONNX Runtime, with the models inside the wheel."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rapidocr_onnxruntime import RapidOCR

from tools.errors import ProfileError
from tools.ocr import OcrBackend, TextLine
from tools.ocr.lines import box_region, clean, reading_order

#: Longest side in pixels that the detector gets, so that a thin strip is not blown up.
_LONGEST = 2000
#: How much the detector's picture is enlarged at most: a part of a picture need not become as large as the whole.
_ENLARGE = 2.0
#: Height in pixels of the recogniser's input.
_LINE_HEIGHT = 48
#: How far the detector's kernels are grown into boxes. The library's 1.6 cuts large letters so close that the
#: recogniser no longer sees gaps between words: of capitals 66 pixels high it gets 1.7 % wrong then, and 0.4 % at 2.
_GROW = 2.0
#: A full stop is followed by a space in sentences and by none in addresses: behind it the network must be surer.
_SPACE_AFTER_STOP = 0.05
#: Marks that no space is put before, and marks that none is put behind.
_CLOSING, _OPENING = frozenset(".,:;!?'’)]}%@"), frozenset("@$€£#([{'’")


class RapidOcr(OcrBackend):
    """PP-OCRv4 (Latin and Chinese script) on the CPU.

    The recogniser was trained mostly on Chinese and leaves out most spaces between capitals, though where one belongs
    it gives the space some probability: on lines drawn in seven typefaces, 98.6 % of the gaps between words have more
    than 0.01 of it and 99.8 % of those between letters less. So a space is put where that probability passes
    ``space`` between two characters.

    Lines are recognised one at a time at their own width. In batches they are padded to the widest, which costs more
    than it saves on a CPU and makes a line's reading depend on its neighbours.

    Args:
        threads: of one ONNX session. One is best when several frames are read at once, as `OcrTool` does.
        min_side: short side in pixels below which a picture is enlarged for the detector (not for the recogniser).
        max_side: short side above which it is made smaller for the detector. Text needs a height of 9 pixels there.
        min_score: mean character probability below which a line is dropped.
        space: probability of a space that is enough to put one; 1 leaves the network's own spaces.
        angle_classifier: also look for lines that stand on their head.

    Raises:
        ProfileError: an option out of its range.
    """

    model = "pp-ocrv4-mobile"

    def __init__(
        self,
        *,
        threads: int = 1,
        min_side: int = 360,
        max_side: int = 736,
        min_score: float = 0.6,
        space: float = 0.01,
        angle_classifier: bool = False,
    ) -> None:
        if not 32 <= min_side <= max_side <= _LONGEST:
            raise ProfileError(
                f"the detector's sides {min_side} to {max_side} are no range",
                remedy=f"write 32 <= min_side <= max_side <= {_LONGEST}",
                field="min_side",
            )
        if threads < 1:
            raise ProfileError(f"{threads} threads cannot work", remedy="write threads: 1 or more", field="threads")
        self._sides = (min_side, max_side)
        self._min_score = min_score
        self._space = space
        self._angles = angle_classifier
        # Pictures are scaled here, so the library's own scaling only rounds to whole cells of the network.
        self._engine: Any = RapidOCR(
            intra_op_num_threads=threads,
            inter_op_num_threads=1,
            det_limit_side_len=32,
            det_limit_type="min",
            det_unclip_ratio=_GROW,
        )
        self._characters: list[str] = self._engine.text_rec.postprocess_op.character
        self._blank, self._gap = 0, self._characters.index(" ")

    def read(self, image: npt.NDArray[np.uint8]) -> list[TextLine]:
        """Lines of ``image`` (uint8 ``[H, W, 3]`` RGB) in reading order."""
        height, width = image.shape[:2]
        # The models were trained on pictures in OpenCV's order of channels.
        picture = np.ascontiguousarray(image[:, :, ::-1])
        boxes = self._boxes(picture)
        crops = self._engine.get_crop_img_list(picture, boxes)
        if self._angles and crops:
            crops = self._engine.text_cls(crops)[0]
        lines = []
        for box, crop in zip(boxes, crops, strict=True):
            text, score = self._recognise(crop)
            region = box_region(box.tolist(), width, height)
            if text and region is not None and score >= self._min_score:
                lines.append(TextLine(text, region, score))
        return reading_order(lines)

    def _boxes(self, picture: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """Corners ``[4, 2]`` of lines in pixels of ``picture``, at least two pixels wide and high."""
        height, width = picture.shape[:2]
        low, high = self._sides
        side = min(max(min(height, width), low), high)
        scale = min(side / min(height, width), _ENLARGE, _LONGEST / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        scaled = picture
        if size != (width, height):
            scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        found, _ = self._engine.text_det(scaled)
        if found is None:
            return []
        back = np.array([width / size[0], height / size[1]], np.float32)
        boxes = [np.asarray(box, np.float32) * back for box in found]
        return [box for box in boxes if np.linalg.norm(box[0] - box[1]) >= 2 and np.linalg.norm(box[0] - box[3]) >= 2]

    def _recognise(self, crop: npt.NDArray[np.uint8]) -> tuple[str, float]:
        """Text of one line and its mean character probability."""
        height, width = crop.shape[:2]
        pixels = self._engine.text_rec.resize_norm_img(crop, max(width / height, 1 / _LINE_HEIGHT))
        probabilities = self._engine.text_rec.session(pixels[np.newaxis].astype(np.float32))[0][0]
        return self._decode(probabilities)

    def _decode(self, probabilities: npt.NDArray[np.float32]) -> tuple[str, float]:
        """Greedy CTC decoding of ``[T, C]`` with the spaces that the network half saw."""
        best = probabilities.argmax(axis=1)
        starts = np.flatnonzero((best != self._blank) & (np.diff(best, prepend=-1) != 0))
        if len(starts) == 0:
            return "", 0.0
        text, last = "", -1
        for step in starts:
            char = self._characters[best[step]]
            if text and not text.endswith(" ") and char != " ":
                between = probabilities[last + 1 : step, self._gap]
                if len(between) and self._is_space(text[-1], char, float(between.max())):
                    text += " "
            text += char
            last = int(step)
        return clean(text), float(probabilities[starts, best[starts]].mean())

    def _is_space(self, before: str, after: str, probability: float) -> bool:
        if after in _CLOSING or before in _OPENING:
            return False
        needed = max(self._space, _SPACE_AFTER_STOP) if before == "." else self._space
        return probability >= needed
