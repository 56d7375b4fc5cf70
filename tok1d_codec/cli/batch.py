"""One file or very many: which output each input gets, and what happens when one of them fails."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import click

from tok1d_codec.cli import expected_failure
from tok1d_codec.cli.options import say
from tok1d_codec.errors import MissingData

STREAM = Path("-")
Pair = tuple[Path, Path]  # input, output

arguments = click.argument("names", metavar="IN...", type=click.Path(path_type=Path), nargs=-1, required=True)
out = click.option(
    "-o", "--out", metavar="OUT", type=click.Path(),
    help="Where to write: a file, or for several inputs and for folders a folder, which is made if it is missing.",
)  # fmt: skip


def pairs(names: Sequence[Path], out: str | None, suffixes: Collection[str], ending: str) -> list[Pair]:
    """The arguments of a command -> input and output of each file.

    Without `out` the arguments are one input and one output. With it all are inputs, and a folder stands for the files
    in it, at any depth, that end with one of the `suffixes`; outputs end with `ending`.

    Raises: click.UsageError; MissingData: a folder has no such file.
    """
    if out is None:
        if len(names) != 2:
            raise click.UsageError("give IN and OUT, or any number of IN and -o OUT")
        return [(names[0], names[1])]
    folders = [name for name in names if name.is_dir()]
    if len(names) == 1 and not folders and not out.endswith(os.sep) and not os.path.isdir(out):
        return [(names[0], Path(out))]
    if STREAM in names or out == str(STREAM):
        raise click.UsageError("- is one input or one output; it cannot stand for several, nor for a folder")
    found = []  # input, and its name within the folder of outputs
    for name in names:
        inside = sorted(f for f in name.rglob("*") if f.suffix.lower() in suffixes) if name in folders else [name]
        if not inside:
            raise MissingData(f"no file in {str(name)!r} ends with one of {', '.join(sorted(suffixes))}")
        found += [(file, file.relative_to(name) if name in folders else Path(file.name)) for file in inside]
    return _into(Path(out), found, ending)


def _into(folder: Path, found: Sequence[Pair], ending: str) -> list[Pair]:
    """Inputs and their names -> inputs and outputs in a folder; those that would become the same keep their ending."""
    taken = Counter(name.with_suffix(ending) for _, name in found)
    placed = [
        (file, folder / (name.with_suffix(ending) if taken[name.with_suffix(ending)] == 1 else f"{name}{ending}"))
        for file, name in found
    ]
    twice = next((target for target, count in Counter(target for _, target in placed).items() if count > 1), None)
    if twice:
        several = " and ".join(repr(str(file)) for file, target in placed if target == twice)
        raise click.UsageError(f"{several} would all become {str(twice)!r}; give the folder that holds them")
    return placed


def each(pairs: Sequence[Pair], out: str | None, work: Callable[[Path, Path], None]) -> None:
    """Do the work for every pair. Of several, one that fails is reported, and the next one is done.

    With `out`, as for `pairs`, folders that are missing are made.
    Raises: what `work` raises, for a single pair; else, at the end, click's Exit with the exit code of the first failure.
    """

    def work_there(source: Path, target: Path) -> None:
        if out is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
        work(source, target)

    if len(pairs) == 1:
        return work_there(*pairs[0])
    codes = list(_failures(pairs, work_there))
    if codes:
        say(f"t1d: {len(codes)} of {len(pairs)} files ended with an error")
        raise click.exceptions.Exit(codes[0])


def _failures(pairs: Sequence[Pair], work: Callable[[Path, Path], None]) -> Iterable[int]:
    for source, target in pairs:
        try:
            work(source, target)
        except Exception as error:
            failure = expected_failure(error)
            if failure is None:
                raise
            message, code = failure
            say(f"t1d: {source}: {message}")
            yield code
