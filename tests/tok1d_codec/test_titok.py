"""The `titok` family without trained weights: shapes, and the path of a picture."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from tok1d_codec import codec
from tok1d_codec.config import TiTokConfig
from tok1d_codec.image.tiles import TILE, tile_count
from tok1d_codec.models.imported import ImportedCard
from tok1d_codec.models.released import RELEASED
from tok1d_codec.models.store import Model
from tok1d_codec.prior.static import StaticTables, table_from_hits
from tok1d_codec.tokenizer.titok import Codebook, TiTokTokenizer

TINY = TiTokConfig(32, 4096, 12, True, (32, 1, 2), (48, 2, 3), legacy=False)


def published_shapes(c: TiTokConfig) -> dict[str, tuple[int, ...]]:
    """Configuration -> the released state dict's keys and shapes, written down from the released files."""
    shapes = {"latent_tokens": (c.tokens, c.encoder[0])}
    shapes["quantize.embedding.weight"] = (c.codebook_size, c.code_dim)

    def layer(name: str, *shape: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    for part, (w, layers, _) in (("encoder", c.encoder), ("decoder", c.decoder)):
        shapes[f"{part}.class_embedding"] = (1, w)
        shapes[f"{part}.positional_embedding"] = (257, w)
        shapes[f"{part}.latent_token_positional_embedding"] = (c.tokens, w)
        for name in ("ln_pre", "ln_post"):
            layer(f"{part}.{name}", w)
        for i in range(layers):
            block = f"{part}.transformer.{i}"
            shapes |= {f"{block}.attn.in_proj_weight": (3 * w, w), f"{block}.attn.in_proj_bias": (3 * w,)}
            for name, shape in (
                ("ln_1", (w,)), ("attn.out_proj", (w, w)), ("ln_2", (w,)),
                ("mlp.c_fc", (4 * w, w)), ("mlp.c_proj", (w, 4 * w)),
            ):  # fmt: skip
                layer(f"{block}.{name}", *shape)
    layer("encoder.patch_embed", c.encoder[0], 3, 16, 16)
    layer("encoder.conv_out", c.code_dim, c.encoder[0], 1, 1)
    w = c.decoder[0]
    shapes["decoder.mask_token"] = (1, 1, w)
    layer("decoder.decoder_embed", w, c.code_dim)
    if not c.legacy:
        layer("decoder.ffn.0", 768, w, 1, 1)
        layer("decoder.conv_out", 3, 3, 3, 3)
        return shapes
    layer("decoder.ffn.0", 2 * w, w, 1, 1)
    layer("decoder.ffn.2", 1024, 2 * w, 1, 1)
    shapes["pixel_quantize.embedding.weight"] = (1024, 256)
    layer("pixel_decoder.conv_in", 512, 256, 3, 3)
    blocks = {f"mid.{i}": (512, 512) for i in range(2)}
    for stage, (i, o) in enumerate([(128, 128), (256, 128), (256, 256), (512, 256), (512, 512)]):
        blocks |= {f"up.{stage}.block.0": (i, o), f"up.{stage}.block.1": (o, o)}
        if stage:
            layer(f"pixel_decoder.up.{stage}.upsample_conv", o, o, 3, 3)
    for name, (i, o) in blocks.items():
        layer(f"pixel_decoder.{name}.norm1", i)
        layer(f"pixel_decoder.{name}.norm2", o)
        layer(f"pixel_decoder.{name}.conv1", o, i, 3, 3, bias=False)
        layer(f"pixel_decoder.{name}.conv2", o, o, 3, 3, bias=False)
        if i != o:
            layer(f"pixel_decoder.{name}.nin_shortcut", o, o, 1, 1, bias=False)
    layer("pixel_decoder.norm_out", 128)
    layer("pixel_decoder.conv_out", 3, 128, 3, 3)
    return shapes


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_model_has_the_published_keys_and_count(name):
    row = RELEASED[name]
    with torch.device("meta"):
        model = TiTokTokenizer(row.config)
    assert {key: tuple(x.shape) for key, x in model.state_dict().items()} == published_shapes(row.config)
    assert sum(x.numel() for x in model.state_dict().values()) == row.parameters
    assert model.codebook_sizes == (row.config.codebook_size,)


def random_model(config: TiTokConfig) -> Model:
    """Model with random weights and every token equally likely."""
    torch.manual_seed(0)
    card = ImportedCard(
        id=200, name="random", family="titok", file="", sha256=hashlib.sha256(b"random").hexdigest(),
        patch=TILE, strides=(1,), codebook_sizes=(config.codebook_size,), licence="", trained="never", urgency_range=(1, 0),
        tokens=config.tokens,
    )  # fmt: skip
    tables = StaticTables([table_from_hits(np.zeros(config.codebook_size, np.int64))])
    return Model(card, TiTokTokenizer(config).eval().requires_grad_(False), tables)


def test_the_whole_path_of_titok_s128_on_an_odd_size(photo):
    model = random_model(RELEASED["titok-s128"].config)
    picture = np.ascontiguousarray(photo[:61, :87])
    data = codec.encode(picture, model)
    assert 192 < len(data) <= 192 + 14
    restored = codec.decode(data, model)
    assert restored.shape == picture.shape and restored.std() > 0


def test_32_tokens_of_12_bits_are_a_file_of_at_most_62_bytes():
    model = random_model(TINY)
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    data = codec.encode(picture, model)
    assert 48 < len(data) <= 62
    assert codec.decode(data, model).shape == picture.shape


@pytest.mark.parametrize("height, width", [(1, 1), (256, 300), (513, 40)])
def test_any_size(height, width):
    model = random_model(TINY)
    images = torch.rand(2, 3, height, width)
    (index,) = model.tokenizer.encode(images)
    shape = (tile_count(height, width), 32)
    assert tuple(index.shape) == (2, *shape) and model.card.token_shapes(height, width) == [shape]
    assert index.dtype == torch.int64 and 0 <= index.min() and index.max() < 4096
    restored = model.tokenizer.decode([index], height, width)
    assert restored.shape == images.shape and 0 <= restored.min() and restored.max() <= 1
    (alone,) = model.tokenizer.encode(images[1:])
    assert torch.equal(alone, index[1:])  # pictures of a batch do not mix


def test_what_does_not_decode_is_refused():
    tokenizer = random_model(TINY).tokenizer
    with pytest.raises(ValueError, match=r"\(1, 1, 31\)"):
        tokenizer.decode([torch.zeros(1, 1, 31, dtype=torch.int64)], 8, 8)


def test_a_tile_that_lacks_a_token_is_grey():
    tokenizer = random_model(TINY).tokenizer
    index = torch.zeros(1, 2, 32, dtype=torch.int64)
    index[0, 1, 31] = -1  # as at the end of a file that is cut short
    picture = tokenizer.decode([index], 256, 480)
    assert (picture[..., 256:] == 0.5).all() and not (picture[..., :224] == 0.5).all()


def test_normalized_codes_are_chosen_by_direction():
    book = Codebook(3, 2, normalize=True)
    book.embedding.weight.data = torch.tensor([[100.0, 1.0], [0.01, 0.02], [-1.0, 0.0]])
    index = book.nearest(torch.tensor([[0.001, 0.002], [5.0, 0.0], [-7.0, 1.0]]))
    assert index.tolist() == [1, 0, 2]
    assert torch.allclose(book.look_up(index).norm(dim=-1), torch.ones(3))


def test_config_survives_json_and_refuses_nonsense():
    assert TiTokConfig.from_json(TINY.to_json()) == TINY
    assert RELEASED["titok-l32"].config.bits_per_tile == 384
    with pytest.raises(ValueError, match="heads"):
        replace(TINY, encoder=(33, 1, 2))
