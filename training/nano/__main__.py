"""``python -m training.nano``: trains, measures and writes a nano model."""

# Drawing processes import this module again, so that heavy imports wait until they are needed.
import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tools.errors import LoupeError
from training.nano.config import RECIPES, recipe


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 0 if all went well."""
    options = _options(arguments)
    try:
        _run(options)
    except LoupeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m training.nano", description=__doc__)
    parser.add_argument("--config", default="nano", help=f"one of {', '.join(RECIPES)} (default: nano)")
    parser.add_argument("--out", type=Path, help="folder of the run (default: out/CONFIG)")
    parser.add_argument("--minutes", type=float, help="train that long instead of as long as the config says")
    parser.add_argument("--steps", type=int, help="train that many steps, which is reproducible, instead of by time")
    parser.add_argument("--resume", action="store_true", help="go on with what is in the folder")
    parser.add_argument(
        "--changed", action="store_true", help="with --resume: teach by the config as it is now, if it has changed"
    )
    parser.add_argument(
        "--begun", type=Path, metavar="FOLDER", help="begin with a run that --pack wrote, unless there is one to resume"
    )
    parser.add_argument(
        "--pack", type=Path, metavar="FOLDER", help="train nothing: write the run to go on with on another machine"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto (default)")
    parser.add_argument(
        "--processes", type=int, help="processes that share a step, of one thread each (default: one a core)"
    )
    parser.add_argument("--plain", action="store_true", help="do not compile layers, even where there is a compiler")
    parser.add_argument("--speed", type=float, metavar="SECONDS", help="only measure how fast each stage is")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    chosen = recipe(options.config).limited(minutes=options.minutes, steps=options.steps)
    out = options.out or Path("out") / options.config
    import torch

    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    processes = 1
    if options.device == "cpu":
        processes = options.processes or torch.get_num_threads()
        torch.set_num_threads(1)
    if options.speed is not None:
        from training.nano.speed import speeds

        for row in speeds(
            chosen, out, options.speed, device=options.device, processes=processes, fused=not options.plain
        ):
            _tell(row)
        return
    from training.nano.loop import Training
    from training.nano.release import release

    training = Training(
        chosen,
        out,
        resume=options.resume or options.pack is not None,
        changed=options.changed,
        begun=options.begun,
        device=options.device,
        processes=processes,
        fused=not options.plain,
        tell=_tell,
    )
    if options.pack is not None:
        training.pack(options.pack)
        return
    training.run()
    torch.set_num_threads(processes)
    _tell({"event": "released", "folder": str(release(training, out / "checkpoint"))})


def _tell(row: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
