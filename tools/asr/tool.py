"""The tool `asr`: what is said in a span of a registered video, as utterances on its own clock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

from tools.asr import SAMPLE_RATE, AsrBackend, Utterance, Word
from tools.asr.captions import as_utterance
from tools.asr.vad import FRAME, MAX_SECONDS, Audio, Segment, VoiceActivity
from tools.asr.windows import stitch, utterances, windows
from tools.media.audio import read_audio
from tools.media.library import Library
from tools.media.span import Span
from tools.media.subtitles import Subtitle, read_subtitles
from tools.media.video import Video

#: What evidence names as its model when the words come from a subtitle track.
SUBTITLES = "subtitles"
#: Seconds of sound read from a file at a time.
_CHUNK = 16.0
#: Seconds read before a span, the first of them in which there is a pause.
_LEADS = (5.0, 20.0, MAX_SECONDS + 5)

Recognised = tuple[Span, "Future[list[Word]]"]


class AsrTool:
    """Recognises speech of registered videos.

    Every stretch of speech is found and recognised whole, so what is heard depends on the video and not on where a
    span begins; a call returns the utterances that concern its span. Memory holds a few stretches of a minute at most.

    Args:
        subtitles: whether a subtitle track in the file is used in place of recognition.
    """

    def __init__(self, backend: AsrBackend, library: Library, *, subtitles: bool = True) -> None:
        self._backend = backend
        self._library = library
        self._use_subtitles = subtitles
        self._read_subtitles = lru_cache(maxsize=16)(_read_subtitles)
        self._activity = VoiceActivity()

    @property
    def model(self) -> str:
        """The recogniser's name; `model_of` says where a certain video's words come from."""
        return self._backend.model

    def model_of(self, video_id: str) -> str:
        """The recogniser's name, or "subtitles" for a video that has a subtitle track; raises `NotFound`."""
        return SUBTITLES if self._subtitles(self._library.get(video_id)) else self.model

    def transcribe(self, video_id: str, span: Span) -> list[Utterance]:
        """The utterances that are heard in ``span``, whole, in order of time.

        Raises:
            NotFound, MediaError: there is no such video, or its file cannot be read.
        """
        said = self._said(video_id, span, lambda stretch: stretch.overlaps(span))
        return [one for one in said if one.span.overlaps(span)]

    def utterances(self, video_id: str, span: Span) -> list[Utterance]:
        """The utterances of speech that begins in ``span``: consecutive spans give each of a video's utterances once.

        Raises:
            NotFound, MediaError: as `transcribe`.
        """
        return self._said(video_id, span, lambda stretch: stretch.start in span)

    def close(self) -> None:
        """Gives back what the recogniser holds; a later call takes it again."""
        self._backend.close()

    def _said(self, video_id: str, span: Span, wanted: Callable[[Span], bool]) -> list[Utterance]:
        video = self._library.get(video_id)
        subtitles = self._subtitles(video)
        if subtitles:
            return [as_utterance(one) for one in subtitles if wanted(one.span)]
        if video.info.audio_codec is None:
            return []
        stretches = (one for one in self._stretches(video, span.clamp(video.info.span)) if wanted(one.span))
        return [one for words in self._words(stretches) for one in utterances(words)]

    def _subtitles(self, video: Video) -> tuple[Subtitle, ...]:
        if not self._use_subtitles or video.info.subtitle_codec is None:
            return ()
        return self._read_subtitles(video.path)

    def _stretches(self, video: Video, span: Span) -> Iterator[Segment]:
        """Speech that may begin or be heard in ``span``, and perhaps some before it."""
        start = self._start(video, span.start)
        return self._activity.segments(_chunks(video, start), start, until=span.end)

    def _start(self, video: Video, time: float) -> float:
        """Where to begin listening so that speech at ``time`` is found from its own beginning on."""
        first = video.info.span.start
        for lead in _LEADS:
            # On the frames that a pass from the beginning would see, so that both find the same edges.
            frames = max(0, int((time - lead - first) * SAMPLE_RATE / FRAME))
            start = first + frames * FRAME / SAMPLE_RATE
            if start == first or self._activity.pauses(read_audio(video.path, Span.of(start, time))):
                break
        return start

    def _words(self, stretches: Iterable[Segment]) -> Iterator[list[Word]]:
        """The words of each stretch; as many windows are recognised at a time as the backend likes."""
        pending: deque[list[Recognised]] = deque()
        with ThreadPoolExecutor(self._backend.parallel, thread_name_prefix="asr") as threads:
            for stretch in stretches:
                pending.append(
                    [
                        (window, threads.submit(self._recognise, stretch, window))
                        for window in windows(stretch.span, self._backend.max_seconds)
                    ]
                )
                while sum(map(len, pending)) > 2 * self._backend.parallel:
                    yield _stitched(pending.popleft())
            while pending:
                yield _stitched(pending.popleft())

    def _recognise(self, stretch: Segment, window: Span) -> list[Word]:
        words = self._backend.transcribe(stretch.cut(window))
        return [Word(word.text, word.span.shift(window.start), word.score) for word in words]


def _stitched(parts: list[Recognised]) -> list[Word]:
    return stitch([(window, words.result()) for window, words in parts])


def _chunks(video: Video, start: float) -> Iterator[Audio]:
    """The video's sound from ``start`` on; lengths are whole samples, so that no time is lost between chunks."""
    end = video.info.span.end
    position = start
    while position < end:
        following = min(position + _CHUNK, end)
        if round((following - position) * SAMPLE_RATE) == 0:
            return
        yield read_audio(video.path, Span.of(position, following))
        position = following


def _read_subtitles(path: str) -> tuple[Subtitle, ...]:
    return tuple(read_subtitles(path))
