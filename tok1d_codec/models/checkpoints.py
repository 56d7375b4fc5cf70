"""Foreign checkpoints: their files -> settings and tensors. Nothing in a file is ever executed."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadCheckpoint, MissingData

if TYPE_CHECKING:
    from torch import Tensor

NAMED = 3  # keys that an error names; of the others it says how many there are
PICKLES = (".bin", ".pt", ".pth")
WANTED = "a folder with config.json and model.safetensors, or a .bin"


def find_files(path: Path) -> tuple[Path, Path | None]:
    """What the user names -> file of weights, file of settings.

    A folder holds `config.json` and `model.safetensors`. A `.bin` may have a YAML or JSON of the same name
    beside it, with or without `tokenizer_` in front, or a `config.json`; it may also have none.

    Raises:
        MissingData: a file is not there. BadCheckpoint: another kind of file.
    """
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise MissingData(f"no file {str(path)!r}; give {WANTED}")
    if path.suffix not in (".safetensors", *PICKLES):
        raise BadCheckpoint(f"{path.name} is no checkpoint; give {WANTED}")
    stems = dict.fromkeys((path.stem, path.stem.removeprefix("tokenizer_"), "config"))
    beside = [path.with_name(stem + ending) for stem in stems for ending in (".yaml", ".yml", ".json")]
    settings = next((file for file in beside if file.is_file()), None)
    if settings is None and path.suffix == ".safetensors":
        raise MissingData(f"no config.json beside {str(path)!r}; put the one that was released with it there")
    return path, settings


def read_settings(path: Path) -> dict[str, Any]:
    """JSON or YAML file -> what it holds. Raises: BadCheckpoint if that is no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else read_yaml(text)
    except ValueError:
        values = None
    if not isinstance(values, dict) or not values:
        raise BadCheckpoint(f"{path.name} is damaged or no configuration; get it again")
    return values


def read_yaml(text: str) -> dict[str, Any]:
    """The part of YAML that configurations are written in, nested mappings of single values -> dict.

    Lists are passed over: none of the settings that are used here is one, and a YAML library is not needed.
    """
    root: dict[str, Any] = {}
    open_mappings = [(-1, root)]  # with the indentation of the key that opened each
    for line in text.splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).rstrip()
        indent = len(line) - len(line.lstrip())
        key, colon, value = line.strip().partition(":")
        if not colon or key.startswith("-"):
            continue
        while open_mappings[-1][0] >= indent:
            open_mappings.pop()
        mapping, value = open_mappings[-1][1], value.strip()
        mapping[key] = _plain_value(value) if value else {}
        if not value:
            open_mappings.append((indent, mapping[key]))
    return root


def _plain_value(text: str) -> bool | int | float | str:
    """The text of a YAML value -> the value."""
    if text[0] in "'\"":
        return text.strip(text[0])
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Safetensors, or a state dict that `torch.save` wrote -> tensors on the CPU.

    Raises:
        BadCheckpoint: damaged, or not a plain state dict; torch's reader takes no other objects.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # of old ways to pickle
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception:  # a pickle can be made to fail in any way
        weights = None
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    ):
        raise BadCheckpoint(
            f"{path.name} is damaged or holds more than the tensors of a model; "
            "nothing in it was executed; get it again"
        )
    return weights


def check_fit(name: str, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Tensors of a checkpoint, those of the model `name` -> nothing, if keys, shapes and kinds of number fit.

    Raises:
        BadCheckpoint: names what is missing, what is extra and what has another shape.
    """
    both = sorted(weights.keys() & expected.keys())
    shapes = {key: (tuple(weights[key].shape), tuple(expected[key].shape)) for key in both}
    faults = {
        "missing": sorted(expected.keys() - weights.keys()),
        "extra": sorted(weights.keys() - expected.keys()),
        "of another shape": [f"{key} {had}, not {due}" for key, (had, due) in shapes.items() if had != due],
        "not floats": [key for key in both if not weights[key].is_floating_point()],
    }
    found = [f"{len(keys)} {fault} ({_some(keys)})" for fault, keys in faults.items() if keys]
    if found:
        said = "; ".join(found)
        raise BadCheckpoint(f"the checkpoint does not fit {name}: {said}; give the one released for it")


def _some(keys: Iterable[str]) -> str:
    """Keys -> the first NAMED of them, and a sign that there are more."""
    keys = list(keys)
    return ", ".join(keys[:NAMED]) + (", ..." if len(keys) > NAMED else "")
