"""loupe methods: the published systems, and which of them work."""

from typing import TYPE_CHECKING, Annotated

import typer

from api.commands import _options

if TYPE_CHECKING:
    from api.catalogue import System


def command(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A number or a name: everything about this one.", show_default=False)
    ] = "",
    stage: Annotated[
        str | None, typer.Option(help="Only this stage: select, encode, ..., decode, agent, tool, training, benchmark.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only families with this word in their name.")] = None,
    works: Annotated[bool | None, typer.Option("--works/--missing", help="Only those with code, or without.")] = None,
    training_free: Annotated[
        bool | None, typer.Option("--training-free/--trained", help="Only those that need no training, or do.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/methods.md.")] = False,
    json: _options.Json = False,
) -> None:
    """List the published systems with paper, family and stage, and say which of them work.

    What works is found in the code. With a NAME its options are shown with their defaults and meaning.
    """
    from api import catalogue
    from api.method_docs import page
    from api.methods_view import Card, table
    from api.show import err, out, print_json

    console = err()
    if console.is_terminal:
        with console.status("looking through the code"):
            found, plugins = catalogue.systems(), catalogue.plugins()
    else:
        found, plugins = catalogue.systems(), catalogue.plugins()
    if markdown:
        out().out(page(found, plugins), end="")
        return
    if name:
        one = catalogue.find(found, name)
        if json:
            print_json(one.model_dump(mode="json"))
        else:
            out().print(Card(one, [plugin for plugin in plugins if plugin.name in one.plugins]))
        return
    chosen = _filter(found, stage, family, works, training_free)
    if json:
        print_json([system.model_dump(mode="json") for system in chosen])
    elif chosen:
        out().print(table(chosen, found))
    else:
        console.print("none is like that")


def _filter(
    found: "list[System]", stage: str | None, family: str | None, works: bool | None, training_free: bool | None
) -> "list[System]":
    from tools.errors import BadInput, did_you_mean

    stages = {part for system in found for part in system.stage.split("+")}
    if stage is not None and stage not in stages:
        raise BadInput(f"there is no stage '{stage}'", remedy=did_you_mean(stage, stages), field="--stage")
    if family is not None and not any(family.lower() in system.family.lower() for system in found):
        raise BadInput(
            f"no family has '{family}' in its name",
            remedy="use a word of the column 'family', e.g. pruning",
            field="--family",
        )
    return [
        system
        for system in found
        if (stage is None or stage in system.stage.split("+"))
        and (family is None or family.lower() in system.family.lower())
        and (works is None or works == (system.status == "works"))
        and (training_free is None or system.training_free == training_free)
    ]
