"""From stored pictures to displayed ones: orientation, pixel shape, crop and scale."""

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from tools.media.view import Region

WHOLE = Region(x0=0, y0=0, x1=1, y1=1)


@dataclass(frozen=True)
class Orientation:
    """How a stored picture is turned for display: first transposed if ``swap``, then mirrored along x and y."""

    swap: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> "Orientation":
        """The orientation that the frame's display matrix asks for (nearest quarter turn)."""
        # The matrix maps stored (x, y) to displayed (a x + c y, b x + d y), y down, in 16.16 fixed point.
        side_data = frame.side_data.get("DISPLAYMATRIX")
        if side_data is None:
            return cls()
        a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(cast(Buffer, side_data)), dtype=np.int32)[:5])
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @property
    def rotation(self) -> int:
        """Clockwise degrees (mirroring left aside): 0, 90, 180 or 270."""
        if self.swap:
            return 90 if self.flip_x else 270
        return 180 if self.flip_x and self.flip_y else 0

    def stored(self, region: Region) -> Region:
        """The part of the stored picture that is displayed in ``region``."""
        x0, x1 = (1 - region.x1, 1 - region.x0) if self.flip_x else (region.x0, region.x1)
        y0, y1 = (1 - region.y1, 1 - region.y0) if self.flip_y else (region.y0, region.y1)
        return Region(x0=y0, y0=x0, x1=y1, y1=x1) if self.swap else Region(x0=x0, y0=y0, x1=x1, y1=y1)

    def turn(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The stored picture ``[H, W, 3]`` as it is displayed (a view of the same memory)."""
        if self.swap:
            picture = picture.swapaxes(0, 1)
        return picture[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


def square_pixels(width: int, height: int, aspect: Fraction | None) -> tuple[float, float]:
    """Size in square pixels of a picture whose stored pixels have the ``aspect`` width / height; never larger."""
    if not aspect or aspect <= 0 or aspect == 1:
        return float(width), float(height)
    return (width, height / float(aspect)) if aspect > 1 else (width * float(aspect), float(height))


class Converter:
    """Turns decoded frames into displayed RGB pictures, all of one size.

    Cropping comes before scaling, scaling happens while colours are converted, and turning comes last, on the small
    picture. Size and orientation are those of the first frame.

    Args:
        aspect: width / height of a stored pixel.
        region: part of the displayed frame, None for all.
        short_side: pixels of the shorter side; None and larger values keep the stored size.
        fast: area averaging on one thread, for passes that decode on the others; else bicubic scaling.
    """

    def __init__(
        self,
        aspect: Fraction | None = None,
        region: Region | None = None,
        short_side: int | None = None,
        *,
        fast: bool = False,
    ) -> None:
        self._aspect = aspect
        self._region = region or WHOLE
        self._short_side = short_side
        self._interpolation = Interpolation.AREA if fast else Interpolation.BICUBIC
        self._threads = 1 if fast else 0
        self._scaler = VideoReformatter()
        self._orientation: Orientation | None = None
        self._size: tuple[int, int] | None = None
        self._graph: tuple[tuple[object, ...], Graph] | None = None

    def __call__(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """RGB uint8 ``[H, W, 3]``, contiguous."""
        if self._orientation is None:
            # Asked of one frame only: the library's side data refer to their frame and back, and would keep every
            # picture in memory until the next run of the cycle collector.
            self._orientation = Orientation.of(frame)
        orientation = self._orientation
        x, y, width, height = self._crop_box(frame, orientation)
        if self._size is None:
            self._size = self._displayed_size(width, height, orientation)
        if (width, height) != (frame.width, frame.height):
            frame = self._crop(frame, x, y, width, height)
        out_width, out_height = self._size[::-1] if orientation.swap else self._size
        scaled = self._scaler.reformat(
            frame, out_width, out_height, "rgb24", interpolation=self._interpolation, threads=self._threads
        )
        picture: npt.NDArray[np.uint8] = scaled.to_ndarray()  # type: ignore[assignment]
        return np.ascontiguousarray(orientation.turn(picture))

    def _crop_box(self, frame: VideoFrame, orientation: Orientation) -> tuple[int, int, int, int]:
        part = orientation.stored(self._region)
        # Outwards to even corners: chroma planes have half the resolution.
        x0 = int(part.x0 * frame.width + 1e-6) // 2 * 2
        y0 = int(part.y0 * frame.height + 1e-6) // 2 * 2
        x1 = min(frame.width, -(-int(np.ceil(part.x1 * frame.width - 1e-6)) // 2) * 2)
        y1 = min(frame.height, -(-int(np.ceil(part.y1 * frame.height - 1e-6)) // 2) * 2)
        return x0, y0, max(1, x1 - x0), max(1, y1 - y0)

    def _displayed_size(self, width: int, height: int, orientation: Orientation) -> tuple[int, int]:
        wide, high = square_pixels(width, height, self._aspect)
        if orientation.swap:
            wide, high = high, wide
        scale = min(1.0, self._short_side / min(wide, high)) if self._short_side else 1.0
        return max(1, round(wide * scale)), max(1, round(high * scale))

    def _crop(self, frame: VideoFrame, x: int, y: int, width: int, height: int) -> VideoFrame:
        # libavfilter's crop moves plane pointers in any pixel format; no pixel is copied.
        key = (frame.width, frame.height, frame.format.name, x, y, width, height)
        if self._graph is None or self._graph[0] != key:
            graph = Graph()
            # Time plays no part in cropping, but a graph needs a unit of it.
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
            )
            crop = graph.add("crop", f"w={width}:h={height}:x={x}:y={y}:exact=1")
            graph.link_nodes(source, crop, graph.add("buffersink")).configure()
            self._graph = key, graph
        graph = self._graph[1]
        graph.vpush(frame)
        return graph.vpull()
