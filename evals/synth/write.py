"""Writes a script as a video file, streaming, with its truth beside it."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from evals.synth.draw import Painter, Pixels
from evals.synth.script import Script, Speech
from evals.synth.truth import Truth, spoken, truth_of, truth_path

#: Samples a second of the audio track.
AUDIO_RATE = 24_000
#: Seconds between key frames.
KEY_FRAME_SECONDS = 2


def write(script: Script, path: Path) -> Truth:
    """Draws ``script`` into an MP4 (H.264, AAC) and saves the truth beside it (`truth_path`).

    Memory does not grow with the duration. The file appears only when it is complete.

    Raises:
        BadInput: if a speech goes on past the end of the video.
    """
    truth = truth_of(script)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        _encode(script, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    truth.save(truth_path(path))
    return truth


def _encode(script: Script, path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=script.fps)
        video.width, video.height, video.pix_fmt = script.width, script.height, "yuv420p"
        video.codec_context.gop_size = KEY_FRAME_SECONDS * script.fps
        # One thread, so that the bytes do not depend on the machine's core count.
        video.codec_context.thread_count = 1
        video.options = {"preset": "ultrafast", "qp": "24"}
        audio = container.add_stream("aac", rate=AUDIO_RATE, layout="mono") if script.sound else None
        if audio is not None:
            audio.bit_rate = 64_000
            # The default search for the best scale factors takes ten times as long.
            audio.options = {"aac_coder": "fast"}
        painter, sounds = Painter(script), _sounds(script)
        frame, drawn, written_samples = None, None, 0
        for index in range(script.frame_count):
            picture = painter.picture(index / script.fps)
            if frame is None or picture is not drawn:
                frame, drawn = _frame(picture), picture
            frame.pts, frame.time_base = index, Fraction(1, script.fps)
            container.mux(video.encode(frame))
            while audio is not None and written_samples < (index + 1) * AUDIO_RATE // script.fps:
                chunk = next(sounds, None)
                if chunk is None:
                    break
                sound = av.AudioFrame.from_ndarray(chunk[None], format="fltp", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = AUDIO_RATE, written_samples, Fraction(1, AUDIO_RATE)
                container.mux(audio.encode(sound))
                written_samples += len(chunk)
        container.mux(video.encode(None))
        if audio is not None:
            container.mux(audio.encode(None))


def _frame(picture: Pixels) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")


def _sounds(script: Script) -> Iterator[npt.NDArray[np.float32]]:
    """The sound track in chunks of one second (the last may be shorter): float32 ``[S]`` at `AUDIO_RATE`."""
    waiting = script.of(Speech)
    playing: list[tuple[int, npt.NDArray[np.float32]]] = []
    total = script.frame_count * AUDIO_RATE // script.fps
    for begin in range(0, total, AUDIO_RATE):
        end = min(begin + AUDIO_RATE, total)
        while waiting and waiting[0].start * AUDIO_RATE < end:
            speech = waiting.pop(0)
            playing.append((round(speech.start * AUDIO_RATE), _resampled(script, speech)))
        chunk = np.zeros(end - begin, np.float32)
        for start, samples in playing:
            first, last = max(start, begin), min(start + len(samples), end)
            if first < last:
                chunk[first - begin : last - begin] += samples[first - start : last - start]
        playing = [(start, samples) for start, samples in playing if start + len(samples) > end]
        yield np.clip(chunk, -1, 1)


def _resampled(script: Script, speech: Speech) -> npt.NDArray[np.float32]:
    sound = spoken(script, speech)
    frame = av.AudioFrame.from_ndarray(sound.samples[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = sound.rate, 0, Fraction(1, sound.rate)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=AUDIO_RATE)
    pieces = [piece.to_ndarray()[0] for given in (frame, None) for piece in resampler.resample(given)]
    return np.concatenate(pieces).astype(np.float32)
