"""The `titok` family answers what the reference implementation answered, with weights made by a rule."""

from __future__ import annotations

import json
import math
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tok1d_codec.models.released import read_titok_config
from tok1d_codec.tokenizer.titok import TiTokTokenizer

FIXTURES = Path(os.environ.get("T1D_DATA_DIR", "")) / "titok"
needs_fixtures = pytest.mark.skipif(
    not (os.environ.get("T1D_DATA_DIR") and FIXTURES.is_dir()),
    reason="no folder titok with the reference's answers in T1D_DATA_DIR",
)


def made_by_rule(key: str, shape: list[int], salt: str) -> torch.Tensor:
    """The fixture README's rule for weights."""
    seed = zlib.crc32((salt + key).encode())
    x = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, dtype=np.float32)
    if len(shape) == 1:
        x = np.float32(key.endswith("weight")) + np.float32(0.05) * x
    elif key.endswith("quantize.embedding.weight"):
        pass
    elif "embedding" in key or "token" in key:
        x = np.float32(0.2) * x
    else:
        x = x / np.float32(math.sqrt(math.prod(shape[1:])))
    return torch.from_numpy(x)


@pytest.fixture(scope="module", params=["s128", "ss64_vq8k"])
def reference(request):
    """Model with the rule's weights, and what the reference answered."""
    facts = json.loads((FIXTURES / f"{request.param}.json").read_text())
    with torch.device("meta"):
        model = TiTokTokenizer(read_titok_config(facts["config"]))
    weights = {key: made_by_rule(key, shape, facts["salt"]) for key, shape in facts["keys"].items()}
    model.load_state_dict(weights, assign=True)  # strict: the very keys and shapes of the reference
    answers = load_file(FIXTURES / f"{request.param}.safetensors")
    return model.eval().requires_grad_(False), {key: torch.from_numpy(x) for key, x in answers.items()}


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal to 1e-4 of the largest magnitude."""
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@needs_fixtures
def test_latents_indices_and_pixels_are_those_of_the_reference(reference):
    model, answers = reference
    image = answers["image_uint8"].permute(0, 3, 1, 2).float() / 255
    latents = model.latents(image)
    assert_close(latents, answers["latents"])
    index = model.quantize.nearest(latents)
    assert torch.equal(index, answers["indices"].long())
    pixels = model.pixels(model.quantize.look_up(index))
    assert_close(pixels, answers["decoded_unclamped"])

    # and the same through the interface that the codec uses
    (coded,) = model.encode(image)
    assert coded.shape == (1, 1, index.shape[1]) and torch.equal(coded[:, 0], index)
    if not model.config.legacy:  # the legacy pixels take seconds
        assert torch.allclose(model.decode([coded], 256, 256), pixels.clamp(0, 1), atol=1e-6)
