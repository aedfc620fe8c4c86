"""The command line: a table of verbs and one error door. Results on stdout, the rest on stderr."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from crossface import __version__
from crossface.core.errors import CrossfaceError

COMMANDS = {
    "demo": "crossface.app.commands.demo",
    "train": "crossface.app.commands.train",
    "distill": "crossface.app.commands.distill",
    "train-detector": "crossface.app.commands.train_detector",
    "ladder": "crossface.app.commands.ladder",
    "evaluate": "crossface.app.commands.evaluate",
    "compare": "crossface.app.commands.compare",
    "compat": "crossface.app.commands.compat",
    "card": "crossface.app.commands.card",
    "audit": "crossface.app.commands.audit",
    "detect": "crossface.app.commands.detect",
    "embed": "crossface.app.commands.embed",
    "verify": "crossface.app.commands.verify",
    "enroll": "crossface.app.commands.enroll",
    "identify": "crossface.app.commands.identify",
    "gallery": "crossface.app.commands.gallery",
    "cluster": "crossface.app.commands.cluster",
    "bench": "crossface.app.commands.bench",
    "export": "crossface.app.commands.export",
    "quantize": "crossface.app.commands.quantize",
    "models": "crossface.app.commands.models",
    "protocol": "crossface.app.commands.protocol",
    "protocols": "crossface.app.commands.protocols",
    "doctor": "crossface.app.commands.doctor",
}


class _InOrder(TyperGroup):
    """Verbs in the order a user says them."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401  # typer's own context
        """Names of the verbs."""
        return list(COMMANDS)


def build(verb: str | None = None) -> typer.Typer:
    """The command tree, or the branch of one verb; importing a verb's module imports nothing heavy.

    Reading the options of all verbs takes longer than everything else that ``--help`` needs.
    """
    app = typer.Typer(
        name="crossface",
        cls=_InOrder,
        help="Distil a face-recognition teacher into a CNN, prove how good it is, and run it.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name, module in COMMANDS.items():
        if verb not in {None, name}:
            continue
        app.command(name)(import_module(module).command)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only warnings on stderr.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    del version  # its callback has answered
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("crossface: %(message)s"))
    logger = logging.getLogger("crossface")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    if debug:
        os.environ["CROSSFACE_DEBUG"] = "1"
    context.obj = {"quiet": quiet}


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exit codes are those of ``core.errors``."""
    given = sys.argv[1:] if arguments is None else arguments
    first = next((word for word in given if not word.startswith("-")), None)
    try:
        build(first if first in COMMANDS else None)(args=given, standalone_mode=True)
    except CrossfaceError as error:
        if os.environ.get("CROSSFACE_DEBUG"):
            raise
        print(f"crossface: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("crossface: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if os.environ.get("CROSSFACE_DEBUG"):
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"crossface: {place}{error.strerror or error}", file=sys.stderr)
        sys.exit(4)
    except ModuleNotFoundError as error:
        extra = {
            "torch": "train",
            "lightning_fabric": "train",
            "onnx": "export",
            "onnxscript": "export",
            "matplotlib": "plots",
            "scipy": "cluster",
            "faiss": "ann",
            "numba": "ann",
            "cryptography": "crypto",
        }.get(error.name or "")
        if extra is None or os.environ.get("CROSSFACE_DEBUG"):
            raise
        print(
            f"crossface: {error.name} is not installed; this needs it: "
            f"pip install 'crossface[{extra}]'",
            file=sys.stderr,
        )
        sys.exit(2)
