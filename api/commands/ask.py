"""loupe ask: a question about a video, answered with proof."""

from typing import TYPE_CHECKING, Annotated

import typer

from api.commands import _options

if TYPE_CHECKING:
    from agents.question import Question

#: Exit status when the answer is that it is not in the video.
NOT_FOUND = 3


def command(
    video: Annotated[str, typer.Argument(metavar="FILE_OR_ID", help="A video file, the id of one, or 'all'.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In plain words.")],
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="A choice, without its letter; give it several times.")
    ] = None,
    span: Annotated[str | None, typer.Option(help="Where to look, e.g. 1:15-2:40.")] = None,
    strategy: Annotated[str | None, typer.Option(help="How the budget is spent, e.g. zoom or single_pass.")] = None,
    budget_steps: Annotated[int | None, typer.Option(help="Looks of the agent.")] = None,
    budget_frames: Annotated[int | None, typer.Option(help="Frames decoded.")] = None,
    budget_seconds: Annotated[float | None, typer.Option(help="Wall-clock seconds.")] = None,
    budget_visual_tokens: Annotated[int | None, typer.Option(help="Visual tokens into a model.")] = None,
    budget_llm_tokens: Annotated[int | None, typer.Option(help="Tokens of the reasoner.")] = None,
    profile: _options.Profile = None,
    json: _options.Json = False,
) -> None:
    """Ask a question about a video; a file is indexed first if need be.

    The exit status is 0 with an answer and 3 where it is not found in the video.
    """
    from api.asking import void
    from api.questions import make_question
    from api.session import open_session
    from api.show import describe_step, err, out, print_json, progress, show_answer
    from configs import home_dir, load_profile

    budget = {
        "steps": budget_steps,
        "frames": budget_frames,
        "seconds": budget_seconds,
        "visual_tokens": budget_visual_tokens,
        "llm_tokens": budget_llm_tokens,
    }

    def wanted(video_ids: tuple[str, ...]) -> "Question":
        return make_question(
            question, options=option or (), video_ids=video_ids, span=span, strategy=strategy, budget=budget
        )

    # A question that cannot be asked is refused before a video is indexed for it.
    wanted(())
    with open_session(load_profile(profile), home_dir()) as session:
        video_ids: tuple[str, ...] = ()
        if video != "all":
            found = session.find(video)
            video_ids = (found.id,)
            if not session.indexed(found.id):
                with progress(found.name) as log:
                    session.index(found, log)
        console = err()
        if console.is_terminal:
            with console.status("thinking") as status:
                answer = session.ask(wanted(video_ids), lambda step: status.update(describe_step(step)))
        else:
            answer = session.ask(wanted(video_ids), void)
        names = {one.id: one.name for one in session.videos()}
    if json:
        print_json(answer.model_dump(mode="json"))
    else:
        show_answer(out(), answer, names)
        out().print(f"[dim]trace {answer.trace_id} · loupe trace show {answer.trace_id}[/dim]")
    if answer.verdict == "not_found":
        raise typer.Exit(NOT_FOUND)
