"""Letter levels: smaller blocks of what fine levels leave over, where something is favoured."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bitstream.checks import ABSENT
from bitstream.container import unpack
from bitstream.masks import alive_after
from tok1d_codec import codec
from tok1d_codec.cli import main
from tok1d_codec.errors import WrongWeights
from tok1d_codec.models.store import Model, load_model
from tok1d_codec.prior.integer import PREFIX
from tok1d_codec.prior.network import PriorNetwork
from tok1d_codec.prior.static import StaticTables, table_from_hits
from tok1d_codec.rate import keep_most_urgent
from tok1d_codec.regions import favoured
from tok1d_codec.tensors import to_image
from tok1d_codec.tokenizer import refine
from tok1d_codec.tokenizer.search import deepest
from tok1d_codec.tokenizer.t1d import T1DTokenizer
from tok1d_codec.train.batches import Batch, ask
from tok1d_codec.train.fine import fit

BLOCK = 8
BOX = (40, 24, 120, 72)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[20:185, 150:363])  # 165 x 213: 6 x 7 patches, 21 x 27 blocks


@pytest.fixture(scope="module")
def model(tiny_model, photo) -> Model:
    """Three levels of random weights, two fine ones and two letter ones that were fitted to what is left over."""
    config = replace(
        tiny_model.tokenizer.config, fine_levels=2, fine_components=24, fine_codes=32, fine_channels=8,
        letter_levels=2, letter_components=12, letter_codes=64,
    )  # fmt: skip
    torch.manual_seed(1)
    tokenizer = T1DTokenizer(config).eval().requires_grad_(False)
    tokenizer.decoder.head.fine.out.weight.normal_(std=0.02)
    tokenizer.load_state_dict(tiny_model.tokenizer.state_dict(), strict=False)
    image = to_image(photo)[..., :160, :208]
    tokens = tiny_model.tokenizer.encode(image)
    for levels in (tokenizer.fine, tokenizer.letters):
        rest = tokenizer.left_over(image, tokens)
        torch.manual_seed(0)
        fit(levels, levels.blocks(rest).flatten(0, 2))
        tokens = tokens + deepest(levels.encode(rest)[0])
    sizes = tokenizer.codebook_sizes
    card = replace(
        tiny_model.card, id=201, patch=BLOCK, strides=(8, 4, 4, 2, 2, 1, 1), codebook_sizes=sizes,
        sha256=hashlib.sha256(b"letters").hexdigest(),
    )  # fmt: skip
    assert (tokenizer.config.cell, tokenizer.strides) == (BLOCK, card.strides)
    assert [len(tokenizer.codes(i)) for i in range(7)] == [16, 32, 32, 32, 32, 64, 64] == list(sizes)
    return Model(card, tokenizer, StaticTables([table_from_hits(np.ones(n, np.int64)) for n in sizes]))


def tokens_of(data: bytes, model: Model) -> list[np.ndarray]:
    return codec.read_tokens(unpack(data), model.card, model.prior).levels


def squared_error(model: Model, data: bytes, photo: np.ndarray, box: tuple[int, ...] = (0, 0, 999, 999)) -> float:
    left, top, right, bottom = box
    difference = codec.decode(data, model).astype(float) - photo
    return float(np.square(difference[top:bottom, left:right]).mean())


def test_letter_tokens_stand_only_where_all_others_do(model, photo):
    tokens, urgency = ([x[0].numpy() for x in part] for part in model.tokenizer.rank(to_image(photo)))
    assert [t.shape[-2:] for t in tokens] == model.card.token_shapes(165, 213)
    seen = 0
    for kept in (0, 42, 120, 300, 600, sum(u.size for u in urgency)):
        found = keep_most_urgent(tokens, urgency, kept)
        assert sum(int((t != ABSENT).sum()) for t in found[1:]) == kept
        for before, after in zip(found[4:], found[5:]):
            assert alive_after(before, after.shape)[after != ABSENT].all()
        seen += len(found) > 5 and bool((found[3] == ABSENT).any())
    assert seen  # letter tokens come before all blocks have all fine ones


def test_every_level_mends_more_and_files_come_back(model, photo):
    errors = []
    for levels in (3, 5, 6, 7):
        data = codec.encode(photo, model, levels)
        found = [torch.from_numpy(t.astype(np.int64))[None] for t in tokens_of(data, model)]
        expected = model.tokenizer.decode(found, 165, 213)
        assert np.array_equal(codec.decode(data, model), (expected[0] * 255).round().byte().permute(1, 2, 0).numpy())
        errors.append(squared_error(model, data, photo))
    assert errors[0] > errors[1] > 1.2 * errors[2] and errors[2] > 1.2 * errors[3]


def test_favoured_places_stay_within_each_other():
    """Also where a box of more favour reaches a part of a block, and where tokens make it worse."""
    rng = np.random.default_rng(0)
    before = rng.uniform(-1, 1, (9, 12))
    spread = before.repeat(2, 0).repeat(2, 1)
    after = np.minimum(spread, rng.uniform(-1, 1, spread.shape))
    before, after = favoured([before, after], (16, 8), [((0, 0, 100, 90), 5.0), ((24, 8, 60, 40), 20.0)])
    assert (after <= before.repeat(2, 0).repeat(2, 1)).all() and before.max() > 5 > 1 >= -before.min()


def test_letter_levels_are_for_what_is_favoured(model, photo):
    few, urgency = model.tokenizer.rank(to_image(photo), [])
    some, ranks = model.tokenizer.rank(to_image(photo), [BOX])
    many, all_ranks = model.tokenizer.rank(to_image(photo))
    assert [len(few), len(urgency), len(some), len(many)] == [5, 4, 7, 7] and all(map(torch.equal, few, many))
    assert all(map(torch.equal, few, some)) and all(map(torch.equal, urgency, ranks))
    inside = torch.zeros(21, 27, dtype=torch.bool)
    inside[3:9, 5:15] = True
    for level in (5, 6):
        assert torch.equal(some[level][..., inside], many[level][..., inside]) and (some[level][..., ~inside] == -1).all()
        assert torch.allclose(ranks[level - 1][..., inside], all_ranks[level - 1][..., inside])
        assert (ranks[level - 1][..., ~inside] <= 0).all()
    plain, roi = (codec.encode(photo, model, bpp=0.15, roi=boxes, faces=False, text=False) for boxes in ([], [BOX]))
    assert len(tokens_of(plain, model)) <= 5 < len(tokens_of(roi, model))
    assert squared_error(model, roi, photo, BOX) < 0.7 * squared_error(model, plain, photo, BOX)
    present = tokens_of(roi, model)[5] != ABSENT
    assert present[3:9, 5:15].mean() > 0.9 and not present[~inside.numpy()].any()
    half = codec.encode(photo, model, size=18, roi=[BOX], faces=False, text=False)
    assert unpack(half).header.scale and codec.decode(half, model).shape == photo.shape
    most = codec.encode(photo, model, bpp=20, roi=[BOX], faces=False, text=False)
    assert len(tokens_of(most, model)) == 7 and not (tokens_of(most, model)[6] != ABSENT)[~inside.numpy()].any()


@pytest.mark.parametrize("many, patches", [(3, 3 * 3), (4, 5 * 4)])
def test_only_what_is_favoured_is_decoded_for_it(model, photo, monkeypatch, many, patches):
    """With what the decoder sees around it: a patch, or where the filters are at work two."""
    for name, value in {"NEAR": 1, "HALO": 2, "MANY": many}.items():
        monkeypatch.setattr(f"tok1d_codec.tokenizer.t1d.{name}", value)
    decoded, pixels = [], model.tokenizer.decoder.pixels
    monkeypatch.setattr(
        model.tokenizer.decoder, "pixels", lambda x, *rest: decoded.append(x.shape[1] * x.shape[2]) or pixels(x, *rest)
    )
    model.tokenizer.rank(to_image(photo), [(40, 64, 60, 95)])
    assert decoded == [6 * 7, patches]


def test_tiles_of_what_is_favoured_leave_no_trace(model, photo, monkeypatch):
    whole = model.tokenizer.rank(to_image(photo))
    monkeypatch.setattr("tok1d_codec.tokenizer.t1d.TILE", 2)  # patches
    part = model.tokenizer.rank(to_image(photo), [BOX])
    for level in (5, 6):
        assert torch.equal(part[0][level][..., 3:9, 5:15], whole[0][level][..., 3:9, 5:15])


def squared(original: torch.Tensor):
    return lambda restored: (restored - original).square().mean((1, 2, 3))


@pytest.mark.parametrize("region", [16, 2])
@pytest.mark.parametrize("steps", [1, 4])
def test_effort_finds_letter_tokens_anew(model, photo, monkeypatch, region, steps):
    monkeypatch.setattr(refine, "REGION", region)
    monkeypatch.setattr(refine, "CONTEXT", min(region, 8))
    image = to_image(photo)
    tokens, urgency = model.tokenizer.rank(image)
    first = keep_most_urgent([t[0].numpy() for t in tokens], [u[0].numpy() for u in urgency], 500)
    first = [torch.from_numpy(t)[None] for t in first]
    assert len(first) == 7 and (first[6] >= 0).any()
    attempts = model.tokenizer.refine(image, first, squared, steps)
    found = attempts[0].indices
    assert all(torch.equal(a < 0, b < 0) for a, b in zip(first, found, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first[5:], found[5:]))
    start, end = (squared(image)(model.tokenizer.decode(t, *image.shape[-2:])).item() for t in (first, found))
    assert steps == 1 or end < start
    if region == 16 and steps > 1:
        assert [attempts[0].loss, attempts[-1].loss] == pytest.approx([end, start], rel=1e-4)


def test_the_command_adds_letter_levels_to_a_whole_model(tmp_path, to_train_from, monkeypatch, capsys):
    photos, weights = to_train_from
    boxes = [(8, 8, 72, 40)]
    monkeypatch.setattr("tok1d_codec.data.subjects.KINDS", {"text": lambda image: boxes})
    data = ["--data", str(photos), "--threads", "1"]
    fine, prior, letters = tmp_path / "fine", tmp_path / "prior", tmp_path / "letters"
    assert main(["train", "letters", *data, "--model", str(weights), "--out", str(tmp_path / "no")]) == WrongWeights.exit_code
    assert "fine levels" in capsys.readouterr().err
    assert main(["train", "fine", *data, "--model", str(weights), "--coarse", "2", "--levels", "2", "--crops", "32",
                 "--out", str(fine)]) == 0  # fmt: skip
    whole = str(fine / "model.safetensors")
    assert main(["train", "prior", *data, "--model", whole, "--minutes", "0.01", "--out", str(prior)]) == 0
    whole = str(prior / "model.safetensors")
    assert main(["train", "letters", *data, "--model", whole, "--levels", "2", "--crops", "32", "--out", str(letters)]) == 0

    before, after = (load_model(folder / "model.safetensors", "cpu") for folder in (prior, letters))
    assert after.card.strides == (8, 4, 2, 2, 1, 1) and after.card.codebook_sizes == (*before.card.codebook_sizes, 1024, 1024)
    rng = np.random.default_rng(0)
    shapes = after.card.token_shapes(150, 190)
    tokens = [rng.integers(n, size=shape).astype(np.int32) for n, shape in zip(after.card.codebook_sizes, shapes)]
    for level, group in enumerate(before.prior.groups(shapes[:4])):  # known levels are expected as they were
        assert np.array_equal(before.prior.counts(tokens[:4], group), after.prior.counts(tokens, group)), level
    for group in list(after.prior.groups(shapes))[-4:]:
        counts = after.prior.counts(tokens, group)
        assert (counts == counts[0]).all() and len(np.unique(counts[0])) > 2

    photo = np.ascontiguousarray(np.resize(np.arange(256, dtype=np.uint8), (96, 128, 3)))
    file = codec.encode(photo, after, roi=[(0, 0, 64, 64)], quality=100)
    assert codec.decode(file, after).shape == photo.shape
    again = ["--model", str(letters / "model.safetensors"), "--go-on", "--minutes", "0.01", "--out", str(tmp_path / "on")]
    assert main(["train", "prior", *data, *again]) == 0
    alone = ["train", "prior", *data, "--model", str(letters / "model.safetensors"), "--letters", "--minutes", "0.05"]
    assert main([*alone, "--go-on", "--out", str(tmp_path / "alone")]) == 2
    assert main([*alone, "--out", str(tmp_path / "alone")]) == 0
    learned = load_model(tmp_path / "alone" / "model.safetensors", "cpu")
    for group in after.prior.groups(shapes):
        same = np.array_equal(learned.prior.counts(tokens, group), after.prior.counts(tokens, group))
        assert same == (group.level < 4), group.level
    resumed = [*alone[:-3], "--resume", "--minutes", "0.06", "--out", str(tmp_path / "alone")]
    assert main(resumed) == 0
    assert main(["train", "prior", *data, "--model", whole, "--letters", "--out", str(tmp_path / "no")]) == WrongWeights.exit_code

    network = PriorNetwork(after.card.codebook_sizes, after.card.strides)
    arrays = load_file(letters / "model.safetensors")
    network.from_arrays({k.removeprefix(PREFIX): v.numpy() for k, v in arrays.items() if k.startswith(PREFIX)})
    batch = Batch([torch.from_numpy(level)[None].long() for level in tokens])
    logits, targets = ask(network, batch, [5], torch.autocast("cpu", enabled=False), quantize=True, all_groups=True)[5]
    torch.nn.functional.cross_entropy(logits, targets).backward()
    assert network.own.grad[5].any()  # what is zero does not stay so
    assert main(["train", "letters", *data, "--model", str(letters / "model.safetensors"), "--out", str(tmp_path / "no")]) != 0
