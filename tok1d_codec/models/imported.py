"""Imported models: a released checkpoint -> a checked weight file in the user's model folder -> a model.

Two files for each model: NAME.safetensors, and NAME.json that says what is in it. The second is written last;
without it the model counts as not imported.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadCheckpoint, MissingData, OutputExists, WrongWeights
from ..image.files import atomic_write, check_output
from ..image.tiles import TILE, tile_count
from .cards import ModelCard
from .checkpoints import check_fit, find_files, read_checkpoint, read_settings
from .released import Released, read_titok_config, refuse_text_guided, released
from .writing import whole

if TYPE_CHECKING:
    from torch import Tensor

    from ..prior.static import StaticTables
    from ..tokenizer.titok import TiTokTokenizer
    from .store import Model

HOME_VARIABLE = "T1D_HOME"


@dataclass(frozen=True)
class ImportedCard(ModelCard):
    """Card of a model whose tokens lie on no grid: one level, one row of `tokens` for each tile."""

    tokens: int = 0  # of a tile

    @property
    def seed(self) -> bytes:
        """As `ModelCard.seed`. Raises: MissingData if the model has not been imported."""
        if not self.sha256:
            raise MissingData(
                f"model {self.name} is not imported; run t1d models fetch {self.name}, "
                f"or t1d models import {self.name} PATH"
            )
        return super().seed

    @property
    def remedy(self) -> str:
        return f"import those it was written with: t1d models import {self.name} PATH --force"

    def token_shapes(self, height: int, width: int, levels: int | None = None) -> list[tuple[int, int]]:
        """Picture size in pixels -> [(tiles, tokens)]."""
        return [(tile_count(height, width), self.tokens)][:levels]


def model_folder() -> Path:
    """-> the folder of the user's models: $T1D_HOME, else where this system keeps the data of a program."""
    import platformdirs

    return Path(os.environ.get(HOME_VARIABLE) or platformdirs.user_data_dir("t1d"))


def import_titok(name: str, path: str | os.PathLike, force: bool = False) -> Path:
    """Name of a released TiTok, its checkpoint -> the weight file in the user's model folder.

    Every key and shape is checked before anything is written, and the file appears whole or not at all.

    Args:
        name: one of `RELEASED`.
        path: folder with config.json and model.safetensors, or a `.bin`; a `.bin` without its YAML is taken
            to have the released configuration.
        force: replace what was imported before.

    Raises:
        UnknownModel: no such name. OutputExists: imported before. MissingData: no such file.
        BadCheckpoint: damaged, of another model, or of a kind that is not supported.
    """
    row, target = released(name), import_target(name, force)
    weight_file, settings_file = find_files(Path(path))
    config = read_titok_config(read_settings(settings_file)) if settings_file else row.config
    if config != row.config:
        raise BadCheckpoint(f"{settings_file} describes another model than {name}; give that of {name}")
    weights = read_checkpoint(weight_file)
    refuse_text_guided(weights)
    check_fit(name, weights, _empty_tokenizer(row).state_dict())
    weights = {key: weights[key].float().contiguous() for key in sorted(weights)}
    _store(target, row, weights)
    return target


def import_target(name: str, force: bool = False) -> Path:
    """Name -> the weight file that an import writes, in a folder that is there.

    Raises: OutputExists, if it is there and `force` is False. OSError: it cannot be written.
    """
    target = model_folder() / f"{name}.safetensors"
    if target.exists() and not force:
        raise OutputExists(f"{name} was imported before, to {target.parent}; add --force to replace it")
    target.parent.mkdir(parents=True, exist_ok=True)
    check_output(target, force)
    return target


def read_record(name: str) -> dict[str, Any] | None:
    """Name -> what NAME.json says (name, file, bytes, sha256, parameters, config, licence, source).

    None if the model has not been imported or its weight file is not the size that was written: a quick
    look, after which `load_imported` checks every byte.
    """
    file = model_folder() / f"{name}.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        whole = file.with_suffix(".safetensors").stat().st_size == record["bytes"]
        return record if whole and bytes.fromhex(record["sha256"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def imported_card(name: str) -> ImportedCard:
    """Name of a released model -> its card, whose sha256 is that of the imported weights.

    A model that has not been imported has a card too: only its `seed` is not known.

    Raises:
        UnknownModel: no such name.
    """
    row, record = released(name), read_record(name) or {}
    return ImportedCard(
        id=row.id, name=name, family="titok", file=f"{name}.safetensors", sha256=record.get("sha256", ""),
        patch=TILE, strides=(1,), codebook_sizes=(row.config.codebook_size,), licence=row.licence,
        trained=f"elsewhere, https://huggingface.co/{row.hub}", tokens=row.config.tokens, urgency_range=(1.0, 0.0),
    )  # fmt: skip


def imported_tables(card: ModelCard) -> StaticTables:
    """Card -> tables that take every token to be as likely as any other: it takes its bits and no more."""
    import numpy as np

    from ..prior.static import StaticTables, table_from_hits

    return StaticTables([table_from_hits(np.zeros(size, np.int64)) for size in card.codebook_sizes])


def load_imported(name: str, device: str = "auto") -> Model:
    """Name and device ("auto", "cpu", "cuda", "mps") -> model in float32, ready to run.

    Raises:
        UnknownModel, MissingData, DeviceUnavailable.
        WrongWeights: the weight file is not what was imported.
    """
    import torch

    from ..device import pick_device
    from .store import Model

    card, chosen = imported_card(name), pick_device(device)
    wanted = card.seed.hex()
    file = model_folder() / card.file
    try:
        weights = read_checkpoint(file)
        found = contents_sha256(weights)
    except BadCheckpoint:
        found = "no weights"
    if found != wanted:
        raise WrongWeights(f"{file} is damaged; import {name} again with --force")
    tokenizer = _empty_tokenizer(released(name))
    tokenizer.load_state_dict(weights, assign=True)
    tokenizer = tokenizer.to(memory_format=torch.channels_last).eval().requires_grad_(False).to(chosen)
    return Model(card, tokenizer, imported_tables(card))


def contents_sha256(weights: Mapping[str, Tensor]) -> str:
    """Tensors -> sha256 in hex of their names, shapes and float32 values, whatever file they came in.

    It ties a t1d file to these weights (`ModelCard.seed`), so it must not depend on whether somebody imported
    a `.bin` or a safetensors, nor on how a release of safetensors lays out its header.
    """
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(f"{key} {list(weights[key].shape)}\n".encode())
        digest.update(weights[key].float().flatten().numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()


def _empty_tokenizer(row: Released) -> TiTokTokenizer:
    """-> the networks of a released model on the meta device: shapes without numbers."""
    import torch

    from ..tokenizer.titok import TiTokTokenizer

    with torch.device("meta"):
        return TiTokTokenizer(row.config)


def _store(target: Path, row: Released, weights: dict[str, Tensor]) -> None:
    """Checked weights -> NAME.safetensors, then NAME.json."""
    from safetensors.torch import save_file

    with whole(target) as temporary:
        save_file(weights, temporary, metadata={"family": "titok", "config": row.config.to_json()})
        record = {
            "name": row.name,
            "file": target.name,
            "bytes": temporary.stat().st_size,
            "sha256": contents_sha256(weights),  # of names, shapes and values
            "parameters": sum(tensor.numel() for tensor in weights.values()),
            "config": json.loads(row.config.to_json()),
            "licence": row.licence,
            "source": f"https://huggingface.co/{row.hub}",
        }
    atomic_write(target.with_suffix(".json"), json.dumps(record, indent=2).encode() + b"\n", force=True)
