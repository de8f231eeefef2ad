"""The clip store as it grows: writing, reopening, and hybrid queries within one video and over all of them.

Random unit vectors as long as the embedded profile's, texts of random words, a few hundred clips a video. The embedding
of the question is not in it. Edge at every size; qdrant-client's local mode, the independent reference, at the first.
"""

import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tools.evidence import Evidence, Scope
from tools.media.span import Span
from tools.store import BACKENDS, Clip, Query, Store

_DIM = 384
_CLIPS_A_VIDEO = 500
_WORDS = 4000
_WORDS_A_CLIP = 12
_BATCH = 500
_QUERIES = 50


def run(out_dir: Path, sizes: Sequence[int] = (1_000, 10_000, 100_000)) -> list[dict[str, Any]]:
    """One row for each size: clips written a second, seconds to reopen, MiB on disk, milliseconds of queries."""
    rows = [_measure("edge", out_dir, size) for size in sizes]
    return [*rows, _measure("local", out_dir, min(sizes))]


def _measure(name: str, out_dir: Path, size: int) -> dict[str, Any]:
    folder = Path(out_dir) / f"store-{name}-{size}"
    shutil.rmtree(folder, ignore_errors=True)
    options = {"path": folder} if name == "edge" else {}
    row: dict[str, Any] = {"store": name, "clips": size}
    try:
        store = BACKENDS.create(name, options, text_dim=_DIM, visual_dim=None)
        seconds = 0.0
        for batch in _batches(size):
            started = time.perf_counter()
            store.upsert(batch)
            seconds += time.perf_counter() - started
        row["upsert_clips_per_s"] = round(size / seconds)
        if name == "edge":
            store.close()
            row["disk_mib"] = round(sum(f.stat().st_blocks for f in folder.rglob("*") if f.is_file()) * 512 / 2**20, 1)
            started = time.perf_counter()
            store = BACKENDS.create(name, options, text_dim=_DIM, visual_dim=None)
            row["reopen_s"] = round(time.perf_counter() - started, 3)
        for scope, video_ids in (("video", ("v0",)), ("all", ())):
            times = _query_times(store, Scope(video_ids=video_ids))
            row[f"query_{scope}_p50_ms"] = round(statistics.median(times) * 1000, 2)
            row[f"query_{scope}_p95_ms"] = round(statistics.quantiles(times, n=20)[-1] * 1000, 2)
        started = time.perf_counter()
        store.list(Scope(video_ids=("v0",)))
        row["list_video_ms"] = round((time.perf_counter() - started) * 1000, 2)
        store.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return row


def _batches(size: int) -> Iterator[list[Clip]]:
    rng = np.random.default_rng(0)
    for start in range(0, size, _BATCH):
        count = min(_BATCH, size - start)
        vectors = _unit(rng.normal(size=(count, _DIM)))
        words = rng.zipf(1.3, (count, _WORDS_A_CLIP)) % _WORDS
        yield [
            Clip(
                Evidence.make(
                    video_id=f"v{(start + i) // _CLIPS_A_VIDEO}",
                    kind="speech",
                    span=Span.of(4.0 * ((start + i) % _CLIPS_A_VIDEO), 4.0 * ((start + i) % _CLIPS_A_VIDEO) + 4.0),
                    text=" ".join(f"word{word}" for word in words[i]),
                    score=1.0,
                    tool="asr",
                    model="random",
                ),
                vectors[i],
            )
            for i in range(count)
        ]


def _query_times(store: Store, scope: Scope) -> list[float]:
    rng = np.random.default_rng(1)
    times = []
    for i in range(_QUERIES + 1):
        text = " ".join(f"word{word}" for word in rng.integers(2, 200, 3))
        query = Query(text=text, text_vector=_unit(rng.normal(size=(1, _DIM)))[0], scope=scope, limit=10)
        started = time.perf_counter()
        store.query(query)
        # The first one is a warm-up.
        if i:
            times.append(time.perf_counter() - started)
    return times


def _unit(vectors: Any) -> Any:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
