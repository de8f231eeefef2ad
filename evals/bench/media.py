"""The visual pass of indexing against the bare decode that it needs, and what single views cost.

For each file, in turn and several times in the same run: decoding every picture with PyAV, decoding only the packets
that the pass chooses (with the same threads and the same skipping, nothing done with the pictures), and the pass
itself. The pass is judged by its ratio to the second. Views are then read at random times: pictures decoded and
milliseconds for one picture.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from tools.errors import BadInput
from tools.media.choose import choose_packets, use_threads
from tools.media.container import Media, open_media, packet_time, time_base
from tools.media.decode import read_frames
from tools.media.probe import probe
from tools.media.scan import ScanStats, scan

#: Seconds between key frames of the generated files.
_CASES = (2, 10)
_SIZE = (1280, 720)
_RATE = 25
_SECONDS = 60
_ROUNDS = 3
_VIEWS = 12


def run(out_dir: Path) -> list[dict[str, Any]]:
    """Rows for generated 720p H.264 files, which are kept in ``out_dir``."""
    rows = []
    for gap in _CASES:
        path = Path(out_dir) / f"media-720p-key{gap}s.mp4"
        if not path.exists():
            generate(path, seconds=_SECONDS, key_every=gap)
        rows.append({"case": f"720p, key frame every {gap} s", **measure_scan(path), **measure_views(path)})
    return rows


def measure_scan(path: Path, rounds: int = _ROUNDS, fps: float = 1.0) -> dict[str, Any]:
    """The pass over one file against bare decodes: medians of wall seconds over ``rounds`` interleaved rounds."""
    seconds = probe(path).duration
    chosen = _chosen(path, fps)
    stats = ScanStats()

    def whole_pass() -> int:
        nonlocal stats
        stats = ScanStats()
        return sum(1 for _ in scan(path, fps=fps, stats=stats))

    walls: dict[str, list[float]] = {"every": [], "needed": [], "scan": []}
    cpus: dict[str, list[float]] = {"every": [], "needed": [], "scan": []}
    samples = 0
    for _ in range(rounds):
        _timed(lambda: _decode(path, None), walls["every"], cpus["every"])
        _timed(lambda: _decode(path, chosen), walls["needed"], cpus["needed"])
        samples = _timed(whole_pass, walls["scan"], cpus["scan"])
    wall = {name: statistics.median(values) for name, values in walls.items()}
    cpu = {name: statistics.median(values) for name, values in cpus.items()}
    return {
        "seconds": round(seconds, 1),
        "samples": samples,
        "pictures": stats.packets_total,
        "pictures_decoded": stats.decoded,
        "every_picture_times_real_time": round(seconds / wall["every"], 1),
        "needed_decode_times_real_time": round(seconds / wall["needed"], 1),
        "scan_times_real_time": round(seconds / wall["scan"], 1),
        "scan_to_needed_decode": round(wall["scan"] / wall["needed"], 2),
        "scan_to_needed_decode_cpu": round(cpu["scan"] / cpu["needed"], 2),
    }


def measure_views(path: Path, views: int = _VIEWS, short_side: int = 360) -> dict[str, Any]:
    """Medians over single pictures at random times."""
    span = probe(path).span
    chance = random.Random(7)
    decoded, millis = [], []
    for _ in range(views):
        start = time.perf_counter()
        frames = read_frames(path, [chance.uniform(span.start, span.end)], short_side=short_side)
        millis.append(1000 * (time.perf_counter() - start))
        decoded.append(frames.decoded)
    return {"view_pictures_decoded": statistics.median(decoded), "view_ms": round(statistics.median(millis), 1)}


def generate(path: Path, *, seconds: float, key_every: float, size: tuple[int, int] = _SIZE) -> None:
    """Writes an H.264 file of scenes of seven seconds with a moving disc and a running counter.

    Key frames come every ``key_every`` seconds, none at cuts.
    """
    width, height = size
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}")
    chance = np.random.default_rng(0)
    with av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = round(key_every * _RATE)
        stream.options = {"preset": "veryfast", "crf": "23", "sc_threshold": "0"}
        scene = np.zeros((height, width, 3), dtype=np.uint8)
        for number in range(round(seconds * _RATE)):
            if number % (7 * _RATE) == 0:
                small = chance.integers(0, 255, (9, 16, 3), dtype=np.uint8)
                grain = chance.integers(0, 40, (height, width, 3), dtype=np.uint8)
                scene = cv2.add(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), grain)
            picture = scene.copy()
            centre = (width // 2 + round(400 * np.sin(number / 20)), height // 2 + round(200 * np.cos(number / 13)))
            cv2.circle(picture, centre, 60, (255, 255, 0), -1)
            cv2.putText(picture, f"picture {number}", (50, height - 60), 0, 2, (255, 255, 255), 4)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, _RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    part.replace(path)


def _pictures(media: Media) -> av.VideoStream:
    if media.video is None:
        raise BadInput(f"'{media.path.name}' has no pictures", remedy="measure a video", field="path")
    return media.video


def _chosen(path: Path, fps: float) -> dict[int, str]:
    """What the pass gives to the decoder: skipping by timestamp."""
    with open_media(path) as media:
        stream = _pictures(media)
        packets = (packet for packet in media.packets(stream) if packet.size)
        choices = choose_packets(packets, float(time_base(stream)), 1 / fps)
        return {packet_time(choice.packet) or 0: choice.skip for choice in choices}


def _decode(path: Path, chosen: dict[int, str] | None) -> int:
    """Decodes the chosen packets, or all, and drops the pictures; returns how many there were."""
    count = 0
    with open_media(path) as media:
        stream = _pictures(media)
        context = stream.codec_context
        use_threads(context)
        for packet in media.packets(stream):
            if not packet.size:
                break
            if chosen is not None:
                skip = chosen.get(packet_time(packet) or 0)
                if skip is None:
                    continue
                context.skip_frame = "NONREF" if skip == "NONREF" else "DEFAULT"
            count += len(context.decode(packet))
        count += len(context.decode(None))
    return count


def _timed(work: Callable[[], int], walls: list[float], cpus: list[float]) -> int:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    walls.append(time.perf_counter() - wall)
    cpus.append(time.process_time() - cpu)
    return result
