"""The command `t1d`: each command parses, calls one function, and has its errors mapped to exit codes.

A command is a module of its own, imported when it is named: the table is all that `t1d --help` needs.
In a program, `main(["encode", "a.png", "a.t1d"])` runs one and returns its exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

import click

from bitstream.errors import T1DError

COMMANDS = {
    "encode": "Turn a picture into a t1d file.",
    "decode": "Turn a t1d file back into a picture.",
    "info": "Show what a t1d file holds.",
    "demo": "Encode some photographs at several rates, beside WebP.",
    "compare": "Show pictures at several rates, beside WebP.",
    "models": "List the models; import and fetch foreign ones.",
    "bench": "Compare with JPEG, WebP and AVIF on a data set.",
    "train": "Train a model.",
}  # name, which is also that of the module and of the command in it: line of help
FAILURE = 1  # errors of the system: disk full, no permission, out of memory
INTERRUPTED = 130
# What the messages of torch say where memory ends: it raises RuntimeError, and is not imported here.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


class Program(click.Group):
    """A group that imports a command when it is asked for, and reports every expected error in one line."""

    def __call__(self, args: Sequence[str] | None = None) -> int:
        """Arguments, by default those of the process -> exit code."""
        if args is None and isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
        try:
            self.main(args, prog_name="t1d")
        except SystemExit as end:
            return end.code
        return 0

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return getattr(import_module(f"{__name__}.{name}"), name) if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> None:
        try:
            super().invoke(ctx)
            return
        except KeyboardInterrupt:
            message, code = "interrupted", INTERRUPTED
        except Exception as error:
            failure = expected_failure(error)
            if failure is None:
                raise
            message, code = failure
            if isinstance(error, OSError):
                _drop_unwritten()
        click.echo(f"t1d: {message}", err=True)
        ctx.exit(code)


def expected_failure(error: Exception) -> tuple[str, int] | None:
    """An exception -> the line that says it and its exit code; None for a defect, and for what click reports."""
    if isinstance(error, T1DError):
        message, code = str(error), error.exit_code
    elif isinstance(error, BrokenPipeError):
        return None  # click ends quietly: whoever reads the output has had enough
    elif isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        message, code = f"{place}{error.strerror or error}", FAILURE
    elif isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
    ):
        message, code = "out of memory; take a smaller picture or a machine with more", FAILURE
    else:
        return None
    return " ".join(message.split()), code


def _drop_unwritten() -> None:
    """What stdout could not take is not tried again at the end of the process, which would report it once more."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from tok1d_codec import __version__

        click.echo(f"t1d {__version__}")
        ctx.exit()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version)
def main() -> None:
    """An image codec for extremely small files: 0.002 to 0.1 bits per pixel."""
