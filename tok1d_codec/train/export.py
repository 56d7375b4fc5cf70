"""A training run -> the float16 weight file that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..data.crops import random_crops
from ..data.shards import Pictures
from ..prior.static import table_from_hits
from ..tokenizer import FAMILIES
from .model_files import write_weights
from .presets import TrainConfig
from .state import RunFolder

BATCH = 16
MAX_CROPS = 20_000  # more would not change the tables


def export(run: RunFolder, pictures: Pictures, config: TrainConfig, rounds: int = 1) -> Path:
    """The averaged weights of a run's checkpoint -> `model.safetensors` in its folder.

    Weights are float16; the configuration stands in the metadata; the static tables (int32,
    `tables.LEVEL`) count the codes of `rounds` random crops of each training picture (at most MAX_CROPS in
    all), found with the rounded weights.
    """
    state = run.load()
    weights = {k: v.half() for k, v in state["ema"]["average"].items()}
    model = FAMILIES[config.family](config.model)
    model.load_state_dict({k: v.float() for k, v in weights.items()})
    hits = [np.zeros(n, np.int64) for n in model.codebook_sizes]
    rng = np.random.default_rng(0)
    num_crops = min(rounds * len(pictures), MAX_CROPS)
    for _ in tqdm(range(-(-num_crops // BATCH)), desc="count codes", unit=" batches"):
        crops = random_crops(pictures, BATCH, config.crop, rng)
        for level, index in enumerate(model.encode((crops + 1) / 2)):
            hits[level] += np.bincount(index.flatten().numpy(), minlength=len(hits[level]))
    for level, level_hits in enumerate(hits):
        weights[f"tables.{level}"] = torch.from_numpy(table_from_hits(level_hits)).int()
    metadata = {"format": "t1d tokenizer", "family": config.family, "config": config.model.to_json()}
    return write_weights(weights, metadata, run.model_file)
