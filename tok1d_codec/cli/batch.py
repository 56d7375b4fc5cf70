"""One file or very many: which output each input gets, and what happens when one of them fails."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import click

from tok1d_codec.cli import expected_failure
from tok1d_codec.cli.options import FILE, FileName, say
from tok1d_codec.errors import MissingData, OutputExists, PartialPicture
from tok1d_codec.image.files import is_device

STREAM = Path("-")
Pair = tuple[Path, Path]  # input, output

arguments = click.argument("names", metavar="IN...", type=FILE, nargs=-1, required=True)
out = click.option(
    "-o", "--out", metavar="OUT", type=FileName(),
    help="Where to write: a file, or for several inputs and for folders a folder, which is made if it is missing.",
)  # fmt: skip
skip_existing = click.option(
    "--skip-existing", is_flag=True, help="Leave out inputs whose output is there already, as to go on after a stop."
)


def pairs(names: Sequence[Path], out: str | None, suffixes: Collection[str], ending: str) -> list[Pair]:
    """The arguments of a command -> input and output of each file.

    Without `out` the arguments are one input and one output. With it all are inputs, and a folder stands for the files
    in it, at any depth, that end with one of the `suffixes`; outputs end with `ending`.

    Raises: click.UsageError; MissingData: a folder has no such file; OutputExists: OUT is a file and should be a folder.
    """
    if out is None:
        if len(names) != 2:
            raise click.UsageError("give IN and OUT, or any number of IN and -o OUT")
        if names[0].is_dir():
            raise click.UsageError(f"{str(names[0])!r} is a folder; give -o and the name of another for what becomes of its files")
        return [(names[0], names[1])]
    folders = {name for name in names if name.is_dir()}
    is_file = Path(out).suffix and not out.endswith(("/", os.sep)) and not os.path.isdir(out)
    if len(names) == 1 and not folders and (is_file or out == str(STREAM)):
        return [(names[0], Path(out))]
    if STREAM in names or out == str(STREAM):
        raise click.UsageError("- is one input or one output; it cannot stand for several, nor for a folder")
    if os.path.isfile(out):
        raise OutputExists(f"{out!r} is a file; for several inputs, and for folders, OUT is a folder")
    found = []  # input, and its name within the folder of outputs
    for name in names:
        inside = _files_in(name, suffixes) if name in folders else [name]
        if not inside:
            raise MissingData(f"no file in {str(name)!r} ends with one of {', '.join(sorted(suffixes))}")
        found += [(file, file.relative_to(name) if name in folders else Path(file.name)) for file in inside]
    return _into(Path(out), found, ending)


def without_existing(pairs: Sequence[Pair]) -> list[Pair]:
    """-> those whose output is not there yet; how many the others are is said."""
    left = [pair for pair in pairs if pair[1] == STREAM or not pair[1].exists()]
    if len(left) < len(pairs):
        say(f"t1d: {len(pairs) - len(left)} of {len(pairs)} files are there already")
    return left


def _files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """-> the files of a folder at any depth that end so, also behind links; no pipes and devices.

    Raises: OSError for a folder in it that may not be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    found = []
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        above = Path(place).parents[: len(Path(place).parts) - len(folder.parts)]
        if os.path.realpath(place) in map(os.path.realpath, above):  # a link to a folder that it lies in
            folders.clear()
            continue
        named = (Path(place, file) for file in files if Path(file).suffix.lower() in suffixes)
        found += [file for file in named if not is_device(file)]
    return sorted(found)


def _into(folder: Path, found: Sequence[Pair], ending: str) -> list[Pair]:
    """Inputs and their names -> inputs and outputs in a folder; those that would become the same keep their ending."""
    short, long = [name.with_suffix(ending) for _, name in found], [Path(f"{name}{ending}") for _, name in found]
    taken = Counter(map(_folded, short))
    chosen = [b if taken[_folded(a)] > 1 else a for a, b in zip(short, long)]
    counts = Counter(map(_folded, chosen))
    same = [n for n, name in enumerate(chosen) if counts[_folded(name)] > 1]
    if same:
        several = " and ".join(repr(str(found[n][0])) for n in same if _folded(chosen[n]) == _folded(chosen[same[0]]))
        target = str(folder / chosen[same[0]])
        raise click.UsageError(f"{several} would all become {target!r}; give the folder that holds them")
    return [(file, folder / name) for (file, _), name in zip(found, chosen)]


def _folded(name: Path) -> str:
    """A name -> what it has in common with all that some file system takes for the same."""
    return unicodedata.normalize("NFC", str(name)).casefold()


def each(pairs: Sequence[Pair], out: str | None, work: Callable[[Path, Path], None]) -> None:
    """Do the work for every pair. Of several, one that fails is reported, and the next one is done.

    With `out`, as for `pairs`, folders that are missing are made.
    Raises: what `work` raises, for a single pair; else, at the end, click's Exit with the exit code of the first failure,
    or that of a partial picture if there is no other.
    """

    def work_there(source: Path, target: Path) -> None:
        if out is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
        work(source, target)

    if len(pairs) == 1:
        return work_there(*pairs[0])
    codes = list(_failures(pairs, work_there))
    if codes:
        failed = [code for code in codes if code != PartialPicture.exit_code]
        said = f", {len(codes) - len(failed)} gave a part of their picture" if len(failed) < len(codes) else ""
        say(f"t1d: of {len(pairs)} files {len(failed)} failed{said}")
        raise click.exceptions.Exit((failed or codes)[0])


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
