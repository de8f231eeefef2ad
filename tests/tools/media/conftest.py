"""Small generated videos whose every picture says which one it is."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

#: Picture numbers are drawn as this many black or white bars, the highest bit on the left.
BITS = 10

MakeVideo = Callable[..., Path]


def draw(number: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """A picture that carries ``number``; its top left corner is red, so that its orientation shows."""
    bits = [(number >> bit) & 1 for bit in reversed(range(BITS))]
    columns = np.array(bits, dtype=np.uint8)[np.arange(width) * BITS // width] * 220 + 16
    picture = np.repeat(np.repeat(columns[None, :, None], height, axis=0), 3, axis=2)
    picture[: height // 4, : width // 4] = (230, 20, 20)
    return picture


def read_number(picture: npt.NDArray[np.uint8]) -> int:
    """The number that `draw` put into a picture of any size."""
    height, width = picture.shape[:2]
    row = picture[height // 2 : -height // 8 or None].mean(axis=(0, 2))
    bits = [row[(2 * i + 1) * width // (2 * BITS)] > 128 for i in range(BITS)]
    return int("".join("1" if bit else "0" for bit in bits), 2)


@pytest.fixture(scope="session")
def number_of() -> Callable[[npt.NDArray[np.uint8]], int]:
    """Reads the number of a generated picture."""
    return read_number


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Writes a video whose picture ``i`` shows the number i from ``stamps[i]`` milliseconds on."""

    def make(
        stamps: Sequence[int],
        name: str = "video.mp4",
        *,
        size: tuple[int, int] = (160, 96),
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        gop: int = 12,
        bframes: int = 2,
        rotation: int = 0,
        tone: tuple[float, float] | None = None,
        options: dict[str, str] | None = None,
        unit: Fraction = Fraction(1, 1000),
        picture: Callable[[int, int, int], npt.NDArray[np.uint8]] = draw,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            if stamps:
                video = container.add_stream(codec, rate=25)
                video.width, video.height, video.pix_fmt = *size, pix_fmt
                video.codec_context.time_base = unit
                video.gop_size = gop
                if codec == "libx264":
                    video.max_b_frames = bframes
                    video.options = {"preset": "veryfast", "crf": "18", "sc_threshold": "0", **(options or {})}
                if rotation:
                    video.set_display_rotation(-rotation)
            if tone:
                audio = container.add_stream("aac", rate=16000, layout="mono")
            if stamps:
                for number, stamp in enumerate(stamps):
                    frame = av.VideoFrame.from_ndarray(picture(number, *size), "rgb24")
                    frame.pts, frame.time_base = stamp, Fraction(1, 1000)
                    container.mux(video.encode(frame))
                container.mux(video.encode())
            if tone:
                start, end = (round(second * 16000) for second in tone)
                for at in range(start, end, 1024):
                    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(at, at + 1024) / 16000)
                    sound = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], "fltp", "mono")
                    sound.sample_rate, sound.pts, sound.time_base = 16000, at, Fraction(1, 16000)
                    container.mux(audio.encode(sound))
                container.mux(audio.encode())
        return path

    return make
