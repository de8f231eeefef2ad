"""Indexing: speed against real time and a bare decode, memory, and what questions cost afterwards.

All on videos of several lengths with and without speech, the bare decode of the same file in the same run.

Each video is indexed by a fresh process, so that its peak memory is its own. Longer videos are the five-minute ones
several times over, copied without encoding.
"""

import asyncio
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import av
import psutil

if TYPE_CHECKING:
    from agents.answer import Answer
    from tools.indexing.indexer import Progress

#: Minutes, a multiple of `_PIECE`, and whether somebody speaks all the time.
CASES: tuple[tuple[int, bool], ...] = ((5, True), (5, False), (60, False))
_PIECE = 5
_SEED = 7
#: Seconds between two copies, more than any encoder's delay.
_GAP = 0.1
#: About something that no video of this bench says or shows.
_ABSENT = (
    "What does the speaker say about the bridge?",
    "What is written on screen right after the speaker mentions the market?",
    "What is written about zebras?",
)


def run(out_dir: Path, cases: Sequence[tuple[int, bool]] = CASES) -> list[dict[str, Any]]:
    """A row a case; videos are made under ``out_dir`` and kept for the next run."""
    rows = []
    for minutes, speech in cases:
        path = _video(out_dir, minutes, speech)
        with tempfile.TemporaryDirectory() as home:
            questions = json.dumps(_questions(min(minutes, _PIECE), speech))
            command = [sys.executable, "-m", "evals.bench.index", str(path), home, questions]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        rows.append({"minutes": minutes, "speech": speech, **json.loads(done.stdout.splitlines()[-1])})
    return rows


def measure(path: Path, home: Path, questions: Mapping[str, str]) -> dict[str, Any]:
    """Indexes one file in this process and asks it a few questions.

    Args:
        questions: with words of their answers, the empty text where there is none.
    """
    from agents.loupe import Loupe
    from agents.question import Question
    from configs import load_profile
    from tools.evidence import Scope

    bare = _bare_decode(path)
    with Loupe.open(load_profile("embedded"), home) as loupe:
        memory = _Memory()
        report = asyncio.run(loupe.index(str(path), memory))
        peak = memory.peak_mb()
        answers = {
            text: asyncio.run(loupe.ask(Question(text=text, scope=Scope(video_ids=(report.video.id,)))))
            for text in questions
        }
    found = [answers[text] for text, words in questions.items() if words]
    absent = [answers[text] for text, words in questions.items() if not words]
    right = [words in answers[text].answer.lower() for text, words in questions.items() if words]
    return {
        "x_realtime": round(report.realtime, 1),
        "seconds": round(report.seconds, 2),
        "every_frame_decode_s": round(bare, 2),
        "index_to_decode": round(report.seconds / bare, 2),
        "frames_decoded": report.frames_decoded,
        "frames_read": report.frames_read,
        "clips": sum(report.clips.values()),
        "peak_mb": peak,
        "resident_mb": "/".join(map(str, memory.resident)),
        "questions_right": sum(right) + sum(answer.verdict == "not_found" for answer in absent),
        "questions": len(answers),
        **_cost("found", found),
        **_cost("absent", absent),
    }


def _cost(name: str, answers: "Sequence[Answer]") -> dict[str, float]:
    """What the answers cost each."""
    costs = [answer.cost for answer in answers]
    return {
        f"{name}_frames": round(fmean(cost.frames_decoded for cost in costs), 1),
        f"{name}_calls": round(fmean(sum(cost.tool_calls.values()) for cost in costs), 1),
        f"{name}_s": round(fmean(cost.seconds for cost in costs), 2),
    }


def _questions(minutes: int, speech: bool) -> dict[str, str]:
    """Questions about the video with words of their answers: three lines of text, a sentence if somebody speaks, and
    three that have no answer."""
    from evals.synth.builders import long_script
    from evals.synth.truth import truth_of

    truth = truth_of(long_script(_SEED, minutes, speech=speech))
    lines = [one.text for one in truth.written if one.part == "line"]
    chosen = [lines[0], lines[len(lines) // 2], lines[-1]]
    questions = {f"What is written on screen with {line.split()[-1]}?": line.lower() for line in chosen}
    if speech:
        questions["What does the speaker say about the airplane?"] = "food"
    return {**questions, **dict.fromkeys(_ABSENT, "")}


def _video(out_dir: Path, minutes: int, speech: bool) -> Path:
    from evals.synth.builders import long_script
    from evals.synth.write import write

    path = out_dir / f"{minutes}-minutes-{'speech' if speech else 'silent'}.mp4"
    if not path.exists():
        out_dir.mkdir(parents=True, exist_ok=True)
        if minutes > _PIECE:
            repeat(_video(out_dir, _PIECE, speech), path, minutes // _PIECE)
        else:
            write(long_script(_SEED, minutes, speech=speech), path)
    return path


def repeat(source: Path, target: Path, times: int) -> None:
    """Writes the streams of ``source`` one after the other ``times`` times, packet by packet."""
    draft = target.with_suffix(".part")
    with av.open(str(draft), "w", format="mp4") as sink:
        outputs: dict[int, Any] = {}
        start = 0.0
        for _ in range(times):
            with av.open(str(source)) as container:
                for stream in container.streams:
                    if stream.index not in outputs:
                        outputs[stream.index] = sink.add_stream_from_template(stream)
                end = start
                for packet in container.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round(start / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                    packet.stream = outputs[packet.stream.index]
                    sink.mux(packet)
                # The sound track may be a little longer than the pictures.
                start = end + _GAP
    draft.replace(target)


def _bare_decode(path: Path) -> float:
    """Seconds to decode every picture of the file with PyAV and nothing else."""
    started = time.perf_counter()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for _ in container.decode(stream):
            pass
    return time.perf_counter() - started


class _Memory:
    """Watches memory while the pictures of a video go by.

    Attributes:
        resident: of this process in MiB at every sixth of the pictures: a peak only ever grows, this shows whether it
            still does.
        workers: most that its child processes had together, in bytes.
    """

    def __init__(self) -> None:
        self.resident: list[int] = []
        self.workers = 0

    def __call__(self, progress: "Progress") -> None:
        process = psutil.Process()
        if progress.stage == "pictures" and progress.seconds * 6 >= progress.total * (len(self.resident) + 1):
            self.resident.append(process.memory_info().rss >> 20)
        elif progress.stage == "speech":
            self.workers = max(self.workers, sum(child.memory_info().rss for child in process.children(recursive=True)))

    def peak_mb(self) -> int:
        """Most of this process and its workers, in MiB."""
        return (_peak() + self.workers) >> 20


def _peak() -> int:
    """Most bytes that this process had in memory at once."""
    status = Path("/proc/self/status")
    if status.exists():
        # The usual number would count what the process that started this one had.
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) << 10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))) + "\n")
