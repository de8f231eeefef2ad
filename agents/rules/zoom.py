"""Where the rules look next: from what the index knows to the few views that prove it."""

from agents.actions import Action, Detect, Finish, Listen, Look, Read, Search, key
from agents.retrieval import LISTED, in_windows, near
from agents.rules.anchors import Window
from agents.rules.judge import Finding, assess
from agents.rules.looking import Zoom, looks
from agents.rules.match import Match
from agents.state import State
from tools.evidence import Evidence, Kind
from tools.media.span import Span
from tools.media.view import View

#: Most looks of one step, and most clips that one sub-question has looked at side by side.
MOST_LOOKS = 4
MOST_CLIPS = 3
#: Frames of a coarse look, and of a reading.
COARSE_FRAMES = 8
READ_FRAMES = 3
#: Short sides in pixels: of a coarse look, of a reading, and of a closer look or a reading of one region.
COARSE, READING, CLOSE = 360, 720, 1080
#: Coverage from which on an utterance of the index is taken without hearing it first (it is checked in the end).
CLEAR = 0.9
#: Confidence of a vision-language model from which on it need not look closer, and how often it may.
SURE, DEEPEST = 0.75, 2
#: Confidence of a reading, and height as a share of the frame, below which a text is read again in close-up.
LEGIBLE, SMALL = 0.95, 0.06
#: Seconds of a part that the index does not know which one look takes.
CHUNK = 120.0


def decide(state: State, zoom: Zoom) -> tuple[Action, ...]:
    """The next looks, those of independent sub-questions side by side; `Finish` when nothing is left to look at."""
    actions: list[Action] = []
    for finding in assess(state).values():
        if finding.where:
            chosen = looks(state, finding, zoom) or _next(state, finding)
            actions += [one for one in chosen if key(one) not in state.done]
    unique = {key(action): action for action in actions}
    if not unique:
        return (Finish(reason="every place that could answer has been looked at"),)
    return tuple(unique.values())[:MOST_LOOKS]


def _next(state: State, finding: Finding) -> list[Action]:
    if finding.matches:
        return _complete(state, finding) + _closer(state, finding)
    steps = (_ask_index, _look_at_clips, _look_anywhere)
    for step in steps:
        if found := [one for one in step(state, finding) if _possible(state, one)]:
            return found
    return []


def _possible(state: State, action: Action) -> bool:
    return key(action) not in state.done and action.kind not in state.missing


def _complete(state: State, finding: Finding) -> list[Action]:
    """Counting needs all there is, not the best hits."""
    if finding.parsed.form not in ("times", "count"):
        return []
    return [one for one in _list(state, finding, finding.where or []) if _possible(state, one)]


def _ask_index(state: State, finding: Finding) -> list[Action]:
    """Search the windows by words; then, for words may have been misheard, go through everything there."""
    where = [near(window) for window in finding.where or []] if finding.anchor.near else finding.where or []
    found: list[Action] = []
    if finding.item.query:
        found += [one for one in in_windows(state, finding.item, where, finding.item.query) if _possible(state, one)]
    return found or _list(state, finding, where) or _list(state, finding, finding.where or [])


def _list(state: State, finding: Finding, where: list[Window]) -> list[Action]:
    """Listings of the windows, by the hour where one is longer than a listing holds."""
    listings: list[Action] = []
    for search in in_windows(state, finding.item, where, ""):
        if _possible(state, search):
            listings.append(search)
        elif rest := _continued(state, search):
            listings.append(rest)
    return [one for one in listings if _possible(state, one)][:MOST_LOOKS]


def _continued(state: State, search: Search) -> Search | None:
    """The listing that goes on where a full one ended, for a single video."""
    ids = search.scope.video_ids or tuple(video.id for video in state.videos)
    if len(ids) != 1:
        return None
    span = search.scope.span or state.videos[[video.id for video in state.videos].index(ids[0])].info.span
    inside = [
        hit
        for hit in state.hits.get(search.sub_question, ())
        if hit.video_id == ids[0] and hit.kind in search.scope.kinds and hit.span.overlaps(span)
    ]
    last = max((hit.span.start for hit in inside), default=span.end)
    if len(inside) < LISTED or last >= span.end or last <= span.start:
        return None
    scope = search.scope.model_copy(update={"video_ids": ids, "span": Span.of(last, span.end)})
    return search.model_copy(update={"scope": scope})


def _closer(state: State, finding: Finding) -> list[Action]:
    """A look at the best match itself, then at its region."""
    best = finding.matches[0]
    found: list[Action] = []
    for entry in best.evidence[:2]:
        action = _perceive(state, finding, best, entry) if entry.view is None else _zoom_in(state, finding, entry)
        if action is not None and _possible(state, action):
            found.append(action)
    return found


def _perceive(state: State, finding: Finding, best: Match, entry: Evidence) -> Action | None:
    item, bound = finding.item.id, _bound(state, entry.video_id)
    if entry.kind == "speech":
        if best.score >= CLEAR:
            return None
        return Listen(
            view=View(video_id=entry.video_id, span=entry.span.pad(1.5).clamp(bound)),
            sub_question=item,
            reason="hear the utterance that the index found",
        )
    if entry.kind == "text":
        return Read(
            view=_sampled(entry.video_id, entry.span.clamp(bound), READ_FRAMES, READING),
            sub_question=item,
            reason="read the text that the index found",
        )
    if entry.kind == "object" and finding.parsed.form != "count":
        return Detect(
            view=_sampled(entry.video_id, entry.span.clamp(bound), COARSE_FRAMES, COARSE),
            labels=(entry.text,),
            sub_question=item,
            reason="see the object that the index found",
        )
    return None


def _zoom_in(state: State, finding: Finding, entry: Evidence) -> Action | None:
    """A child view of the one that gave this evidence."""
    assert entry.view is not None
    view, item = entry.view, finding.item.id
    if entry.kind == "text" and view.region is None and entry.region is not None:
        if entry.score >= LEGIBLE and entry.region.y1 - entry.region.y0 >= SMALL:
            return None
        return Read(
            view=view.zoom(region=entry.region.pad(0.5), short_side=CLOSE),
            parent=view.id,
            sub_question=item,
            reason="read the line in close-up",
        )
    unsure = entry.kind == "visual" and entry.score < SURE and view.region is None
    if unsure and _depth(state, view) < DEEPEST and view.span.duration > 1:
        middle, quarter = view.span.middle, view.span.duration / 4
        span = Span.of(middle - quarter, middle + quarter)
        return Look(
            view=view.zoom(span=span, fps=min(view.fps * 2, 8.0), short_side=min(view.short_side * 2, CLOSE)),
            parent=view.id,
            question=finding.item.text,
            sub_question=item,
            reason="look closer, for the first look was not sure",
        )
    return None


def _look_at_clips(state: State, finding: Finding) -> list[Action]:
    """The pictures of the best clips, for what only looking tells."""
    if "visual" not in finding.item.kinds or "look" in state.missing:
        return []
    clips = [hit for hit in state.hits.get(finding.item.id, ()) if hit.kind in ("visual", "object")]
    if finding.parsed.subject and any(hit.kind == "visual" for hit in clips):
        # These were glanced at (`agents.rules.looking`).
        return []
    inside = [hit for hit in clips if any(window.admits(hit.video_id, hit.span) for window in finding.where or [])]
    return [
        Look(
            view=_sampled(hit.video_id, hit.span.clamp(_bound(state, hit.video_id)), COARSE_FRAMES, COARSE).zoom(
                region=hit.region if hit.kind == "visual" else None
            ),
            question=finding.item.text,
            sub_question=finding.item.id,
            reason="look at a clip that the index found",
        )
        for hit in inside[:MOST_CLIPS]
    ]


def _look_anywhere(state: State, finding: Finding) -> list[Action]:
    """Where the index knows nothing of a kind, the windows themselves, piece by piece."""
    known = {hit.kind for hit in state.hits.get(finding.item.id, ())}
    indexed = {video.id: video.indexed_kinds for video in state.videos}
    found: list[Action] = []
    for kind in finding.item.kinds:
        if kind in known:
            continue
        for window in finding.where or []:
            if window.video_id is None:
                continue
            part = near(window) if finding.anchor.bounded else window
            # Whoever listened to the whole video would hear the same nothing again; one piece is worth a second look.
            if part.span.duration > CHUNK and kind in indexed.get(window.video_id, ()):
                continue
            chunks = part.span.windows(CHUNK) if part.span.duration > 0 else []
            looks = [_unindexed(finding, kind, window.video_id, chunk) for chunk in chunks]
            found += [one for one in looks if _possible(state, one)]
            if len(found) >= MOST_LOOKS:
                return found
    return found


def _unindexed(finding: Finding, kind: Kind, video_id: str, span: Span) -> Action:
    item, reason = finding.item.id, f"the index knows no {kind} here"
    if kind == "speech":
        return Listen(view=View(video_id=video_id, span=span), sub_question=item, reason=reason)
    if kind == "text":
        count = max(READ_FRAMES, min(int(span.duration), 24))
        return Read(view=_sampled(video_id, span, count, READING), sub_question=item, reason=reason)
    view = _sampled(video_id, span, COARSE_FRAMES, COARSE)
    if kind == "object":
        return Detect(view=view, labels=finding.parsed.words, sub_question=item, reason=reason)
    return Look(view=view, question=finding.item.text, sub_question=item, reason=reason)


def _sampled(video_id: str, span: Span, frames: int, short_side: int) -> View:
    """A view of ``span`` with this many frames, at most four a second."""
    fps = min(frames / span.duration, 4.0) if span.duration > 0 else 1.0
    return View(video_id=video_id, span=span, fps=max(fps, 1e-3), short_side=short_side)


def _bound(state: State, video_id: str) -> Span:
    return next(video.info.span for video in state.videos if video.id == video_id)


def _depth(state: State, view: View) -> int:
    parents = {looked.view.id: looked.parent for looked in state.views}
    depth, at = 0, parents.get(view.id)
    while at is not None and depth < DEEPEST + 1:
        depth, at = depth + 1, parents.get(at)
    return depth
