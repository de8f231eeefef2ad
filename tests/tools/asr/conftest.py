"""Speech, its opposites, and every ASR backend."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from evals.synth.speech import speak
from tools.asr import BACKENDS, SAMPLE_RATE, AsrBackend

Audio = npt.NDArray[np.float32]


def resampled(samples: Audio, rate: int) -> Audio:
    """The sound at 16 kHz."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    return np.concatenate([piece.to_ndarray()[0] for given in (frame, None) for piece in resampler.resample(given)])


@pytest.fixture(scope="session")
def sentence() -> Audio:
    """Somebody says "the helicopter comes every second thursday"."""
    spoken = speak("the helicopter comes every second thursday", voice="en-us+f2", words_per_minute=140)
    return resampled(spoken.samples, spoken.rate)


@pytest.fixture(scope="session")
def music() -> Audio:
    """Four seconds of chords."""
    time = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    chords = ((262, 330, 392), (294, 370, 440), (247, 311, 370), (262, 330, 392))
    tones = [
        sum(np.sin(2 * np.pi * tone * time) + 0.4 * np.sin(4 * np.pi * tone * time) for tone in chord)
        for chord in chords
    ]
    beat = (time % 1.0 < 0.9) * np.exp(-2 * (time % 1.0))
    chosen = np.choose(time.astype(int), tones)
    return (0.15 * beat * chosen).astype(np.float32)


@pytest.fixture(scope="session")
def noise() -> Audio:
    """Four seconds of hiss."""
    return np.random.default_rng(0).normal(0, 0.05, 4 * SAMPLE_RATE).astype(np.float32)


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the real Whisper class, two layers of random weights."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    dims: dict[str, int] = {
        "n_mels": 80,
        "n_audio_ctx": 1500,
        "n_audio_state": 32,
        "n_audio_head": 2,
        "n_audio_layer": 2,
        "n_vocab": 51865,
        "n_text_ctx": 24,
        "n_text_state": 32,
        "n_text_head": 2,
        "n_text_layer": 2,
    }
    model = Whisper(ModelDimensions(**dims))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    path = tmp_path_factory.mktemp("whisper") / "tiny-random.pt"
    torch.save({"dims": dims, "model_state_dict": model.state_dict()}, path)
    return path


@pytest.fixture(scope="session", params=BACKENDS.names())
def backend(request: pytest.FixtureRequest) -> Iterator[AsrBackend]:
    """Every backend of the registry; one that needs weights gets a tiny checkpoint."""
    options: dict[str, Any] = {}
    if request.param == "whisper":
        options = {"model": str(request.getfixturevalue("tiny_whisper")), "language": "en"}
    made = BACKENDS.create(request.param, options)
    yield made
    made.close()


@pytest.fixture(scope="session")
def spoken_train() -> Audio:
    """Somebody says "the train comes every friday"."""
    spoken = speak("The train comes every Friday.", voice="en-us+f2", words_per_minute=140)
    return resampled(spoken.samples, spoken.rate)


@pytest.fixture
def late(tmp_path: Path) -> Callable[[Path, float], Path]:
    """Copies a video so that its first timestamp is the given second."""

    def shifted(path: Path, seconds: float) -> Path:
        target = tmp_path / f"late-{seconds:g}.mkv"
        with av.open(str(path)) as source, av.open(str(target), "w", options={"avoid_negative_ts": "0"}) as sink:
            streams = {stream.index: sink.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is None or packet.pts is None or packet.time_base is None:
                    continue
                offset = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                packet.stream = streams[packet.stream.index]
                sink.mux(packet)
        return target

    return shifted
