"""loupe serve: the HTTP service on Ray Serve."""

from typing import Annotated

import typer

from api.commands import _options


def command(
    host: Annotated[str | None, typer.Option(help="Address to listen on; the profile's by default.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")] = None,
    profile: _options.Profile = None,
) -> None:
    """Serve HTTP with every tool as a Ray Serve deployment, until Ctrl-C.

    Joins the Ray cluster that RAY_ADDRESS names, or starts Ray on this machine. Stops only what it started.
    """
    import signal
    import threading

    from api.client import running
    from api.serve import Running
    from api.show import err
    from configs import home_dir, load_profile
    from tools.errors import StoreError

    settings = load_profile(profile)
    home = home_dir()
    if (other := running(home)) is not None:
        raise StoreError(
            f"a service at {other.url} already holds {home}",
            remedy="use that one, stop it first, or set LOUPE_HOME to another folder",
            field="LOUPE_HOME",
        )
    console = err()
    listen = host or settings.api.host
    service = Running(settings, home, listen, settings.api.port if port is None else port)
    if listen not in ("127.0.0.1", "localhost", "::1") and not settings.api.tokens:
        console.print(f"[yellow]Everyone who reaches {listen} is let in: set api.tokens in the profile.[/yellow]")
    stopped = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        with console.status("starting Ray") as status:

            def on_wait(missing: list[str]) -> None:
                text = _waiting(missing)
                status.update(text)
                if not console.is_terminal:
                    console.print(text, soft_wrap=True)

            service.start(on_wait)
        console.print(f"Loupe listens on [bold]{service.url}[/bold], documentation at /docs", soft_wrap=True)
        console.print(f"[dim]data in {home} · profile {settings.name} · Ctrl-C stops it[/dim]", soft_wrap=True)
        # A wait without a limit would not let Ctrl-C through on every platform.
        while not stopped.wait(1.0):
            continue
    finally:
        signal.signal(signal.SIGTERM, previous)
        with console.status("stopping"):
            service.stop()


def _waiting(missing: list[str]) -> str:
    """Tools that merely start are named together; the others say what they lack."""
    starting = [one.removesuffix(": starting") for one in missing if one.endswith(": starting")]
    others = [one for one in missing if not one.endswith(": starting")]
    return "; ".join([*others, *([f"starting {', '.join(starting)}"] if starting else [])])
