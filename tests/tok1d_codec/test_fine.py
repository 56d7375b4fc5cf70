"""Fine levels: blocks of what the decoder leaves over, through files, effort and training."""

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
from tok1d_codec.effort import whole_loss
from tok1d_codec.errors import MissingData, WrongWeights
from tok1d_codec.models.store import Model
from tok1d_codec.nn.blocks import pad_to_multiples
from tok1d_codec.prior.integer import PREFIX, IntegerPrior
from tok1d_codec.prior.static import StaticTables, table_from_hits
from tok1d_codec.rate import keep_most_urgent
from tok1d_codec.tensors import to_image
from tok1d_codec.tokenizer import refine
from tok1d_codec.tokenizer.fine import blend
from tok1d_codec.tokenizer.search import deepest
from tok1d_codec.tokenizer.t1d import T1DTokenizer
from tok1d_codec.train.fine import fit
from tok1d_codec.train.tokens import tokenize

BLOCK = 16


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[20:185, 150:363])  # 165 x 213: 6 x 7 patches, 11 x 14 blocks


@pytest.fixture(scope="module", params=[0, 8], ids=["plain", "branch"])
def model(request, tiny_model, photo) -> Model:
    """Three levels of random weights, then two fine ones that were fitted to what they leave over; with a branch or not."""
    config = replace(
        tiny_model.tokenizer.config, fine_levels=2, fine_components=24, fine_codes=32, fine_channels=request.param
    )  # fmt: skip
    torch.manual_seed(1)
    tokenizer = T1DTokenizer(config).eval().requires_grad_(False)
    if branch := tokenizer.decoder.head.fine:
        branch.out.weight.normal_(std=0.02)
    tokenizer.load_state_dict(tiny_model.tokenizer.state_dict(), strict=False)
    image = pad_to_multiples(to_image(photo), config.patch)
    rest = image - tokenizer.decode(tiny_model.tokenizer.encode(image), *image.shape[-2:])
    torch.manual_seed(0)
    fit(tokenizer.fine, torch.nn.functional.pixel_unshuffle(rest, BLOCK).flatten(2)[0].T)
    sizes = tokenizer.codebook_sizes
    card = replace(
        tiny_model.card, id=201, patch=BLOCK, strides=(4, 2, 2, 1, 1), codebook_sizes=sizes,
        sha256=hashlib.sha256(b"fine").hexdigest(),
    )  # fmt: skip
    assert (tokenizer.config.cell, tokenizer.strides, sizes) == (BLOCK, card.strides, (16, 32, 32, 32, 32))
    tables = StaticTables([table_from_hits(np.ones(n, np.int64)) for n in sizes])
    return Model(card, tokenizer, tables)


def squared_error(model: Model, data: bytes, photo: np.ndarray) -> float:
    return float(np.square(codec.decode(data, model).astype(float) - photo).mean())


def test_tokens_take_away_what_they_say(model, photo, monkeypatch):
    monkeypatch.setattr("tok1d_codec.tokenizer.fine.blend", lambda x, block, reach: x)  # comes after
    fine, image = model.tokenizer.fine, to_image(photo)[..., :160, :208]
    rest = image - image.mean((2, 3), keepdim=True)
    found, gains = fine.encode(rest)
    tokens = deepest(found)
    assert [t.shape for t in tokens] == [(1, 10, 13)] * 2 and gains.shape == (1, 2, 10, 13)
    before = rest.square().sum()
    after = (rest - fine.pixels(tokens)).square().sum()
    assert (before - after).item() == pytest.approx(gains.sum().item(), rel=1e-3) and after < before
    only = [torch.where(torch.arange(13) < 5, t, -1) for t in tokens]
    assert not fine.pixels(only)[..., 5 * BLOCK :].any() and fine.pixels(only)[..., : 5 * BLOCK].any()


def test_fine_tokens_depend_on_how_many_of_a_block_are_kept(model, photo):
    fine, image = model.tokenizer.fine, to_image(photo)[..., :160, :208]
    rest = image - image.mean((2, 3), keepdim=True)
    nearest = fine.quantizer.encode(fine.components(rest))
    (first, second), _ = fine.encode(rest)
    assert torch.equal(first[:, 0], nearest[0]) and (second[:, 0] == -1).all()
    assert not torch.equal(first[:, 1], first[:, 0])
    errors = [(rest - fine.pixels(tokens)).square().sum() for tokens in (nearest, [first[:, 1], second[:, 1]])]
    assert errors[1] < errors[0]

    tokens, urgency = ([x[0].numpy() for x in part] for part in model.tokenizer.rank(to_image(photo)))
    *_, first, second = keep_most_urgent(tokens, urgency, sum(u.size for u in urgency[:-1]) - 30)
    assert (second != ABSENT).any() and ((first != ABSENT) & (second == ABSENT)).any()
    expected = np.where(second == ABSENT, tokens[-2][0], tokens[-2][1])
    assert np.array_equal(first, np.where(first == ABSENT, ABSENT, expected))


def test_pixels_are_added_strip_by_strip(model, monkeypatch):
    fine = model.tokenizer.fine
    tokens = [torch.randint(32, (1, 7, 4)) for _ in range(2)]
    images = torch.rand(1, 3, 7 * BLOCK - 5, 4 * BLOCK - 9)
    expected = (images + fine.pixels(tokens)[..., : images.shape[2], : images.shape[3]]).clamp(0, 1)
    monkeypatch.setattr("tok1d_codec.tokenizer.fine.STRIP", 3 * 4)  # three rows
    assert torch.allclose(fine.add_(images.clone(), tokens), expected, atol=1e-6)


def test_fine_tokens_stand_only_where_all_others_do(model, photo):
    tokens, urgency = model.tokenizer.rank(to_image(photo))
    assert [t.shape[-2:] for t in tokens] == [(3, 4), (6, 7), (6, 7), (11, 14), (11, 14)]
    tokens, urgency = ([x[0].numpy() for x in part] for part in (tokens, urgency))
    partly = 0
    for kept in (0, 20, 42, 60, 84, 120, 200, sum(u.size for u in urgency)):
        found = keep_most_urgent(tokens, urgency, kept)
        assert sum(int((t != ABSENT).sum()) for t in found[1:]) == kept
        for coarse, fine in zip(found[2:], found[3:]):
            assert alive_after(coarse, fine.shape)[fine != ABSENT].all()
        partly += len(found) > 3 and (found[2] == ABSENT).any()
    assert partly  # fine tokens come before all patches have all levels


def test_files_of_any_rate_come_back(model, photo):
    errors, sizes = [], []
    for quality in (0, 30, 60, 80, 100):
        data = codec.encode(photo, model, quality=quality)
        levels = codec.read_tokens(unpack(data), model.card, model.prior).levels
        expected = model.tokenizer.decode([torch.from_numpy(t.astype(np.int64))[None] for t in levels], 165, 213)
        assert np.array_equal(codec.decode(data, model), (expected[0] * 255).round().byte().permute(1, 2, 0).numpy())
        errors, sizes = [*errors, squared_error(model, data, photo)], [*sizes, len(data)]
    assert sizes == sorted(sizes) and errors[-1] < 0.8 * errors[1]
    for levels in (1, 3, 4, 5):
        assert len(codec.read_tokens(unpack(codec.encode(photo, model, levels)), model.card, model.prior).levels) == levels
    assert squared_error(model, codec.encode(photo, model, 5), photo) < 0.6 * squared_error(model, codec.encode(photo, model, 3), photo)
    limit = 230
    assert limit * 0.98 < len(codec.encode(photo, model, size=limit)) <= limit


def test_the_prefixes_of_a_file_are_coarser_pictures(model, photo):
    data = codec.encode(photo, model, 5)
    errors = []
    for share in (0.3, 0.8, 1.0):
        pixels, held = codec.decode_partial(data[: int(share * len(data))], model)
        errors.append((np.square(pixels.astype(float) - photo).mean(), held.complete))
    assert errors[0][0] > errors[1][0] > errors[2][0] and [complete for _, complete in errors][-1] == 5


@pytest.mark.parametrize("levels", [None, 4])
def test_tokens_are_those_of_files(model, photo, levels):
    tokens = codec.tokenize(photo, model, levels)
    assert [t.shape for t in tokens] == model.card.token_shapes(165, 213, levels)
    written = codec.read_tokens(unpack(codec.encode(photo, model, levels or 5)), model.card, model.prior).levels
    assert all(np.array_equal(a, b) for a, b in zip(tokens, written, strict=True)) and len(np.unique(tokens[-1])) > 5


def test_the_nearest_tokens_have_the_same_shapes(model, photo):
    plain = model.tokenizer.encode(to_image(photo))
    assert [tuple(t.shape[1:]) for t in plain] == model.card.token_shapes(165, 213)


def squared(original: torch.Tensor):
    return lambda restored: (restored - original).square().mean((1, 2, 3))


@pytest.mark.parametrize("region", [16, 2])
def test_effort_finds_fine_tokens_anew(model, photo, monkeypatch, region):
    monkeypatch.setattr(refine, "REGION", region)
    monkeypatch.setattr(refine, "CONTEXT", min(region, 8))
    image = to_image(photo)
    tokens, urgency = model.tokenizer.rank(image)
    first = keep_most_urgent([t[0].numpy() for t in tokens], [u[0].numpy() for u in urgency], 150)
    first = [torch.from_numpy(t)[None] for t in first]
    assert len(first) > 3
    attempts = model.tokenizer.refine(image, first, squared, 6)
    found = attempts[0].indices
    assert all(torch.equal(a < 0, b < 0) for a, b in zip(first, found, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first[3:], found[3:]))
    start, end = (squared(image)(model.tokenizer.decode(t, *image.shape[-2:])).item() for t in (first, found))
    assert end < 0.99 * start
    given = attempts[-1]
    assert all(torch.equal(a, b) for a, b in zip(given.indices, first))
    if region == 16:
        assert [attempts[0].loss, given.loss] == pytest.approx([end, start], rel=1e-4)


def test_effort_betters_files_without_fine_levels(model, photo):
    files = [codec.encode(photo, model, 2, effort=effort) for effort in (0, 1)]
    assert [len(codec.read_tokens(unpack(data), model.card, model.prior).levels) for data in files] == [2, 2]
    plain, better = (whole_loss(to_image(codec.decode(data, model)), to_image(photo)) for data in files)
    assert better < plain


def test_what_is_drawn_changes_with_fine_tokens_and_only_around_them(model, photo):
    tokenizer, image = model.tokenizer, to_image(photo)
    tokens = tokenizer.encode(image)
    left = [torch.where(torch.arange(t.shape[2]) < 4, t, -1) for t in tokens[3:]]
    coarse, whole = tokenizer.decode(tokens[:3], 165, 213), tokenizer.decode([*tokens[:3], *left], 165, 213)
    absent = [torch.full_like(t, -1) for t in left]
    assert torch.equal(tokenizer.decode([*tokens[:3], *absent], 165, 213), coarse)
    added = tokenizer.fine.add_(coarse.clone(), left)
    assert torch.equal(whole, added) == (tokenizer.decoder.head.fine is None)
    assert torch.equal(whole[..., 4 * BLOCK + 64 :], coarse[..., 4 * BLOCK + 64 :])


def test_tiles_give_what_one_pass_gives(model, photo, monkeypatch):
    image = to_image(photo)
    tokens = model.tokenizer.encode(image)
    whole = model.tokenizer.decode(tokens, 165, 213)
    monkeypatch.setattr("tok1d_codec.tokenizer.t1d.TILE", 1)
    monkeypatch.setattr("tok1d_codec.tokenizer.t1d.HALO", 3)
    assert torch.allclose(model.tokenizer.decode(tokens, 165, 213), whole, atol=1e-5)


def test_training_tokens_have_blocks(model, photo):
    found = tokenize(model.tokenizer, [photo, photo], 1, centred=True)
    assert found.strides == (4, 2, 2, 1, 1) and found.shapes.tolist() == [[10, 12]] * 2  # whole patches
    assert [level.shape[1:] for level in found.levels] == [(4, 4)] + [(3, 7, 7)] * 2 + [(2, 14, 14)] * 2
    assert [level.shape[1:] for level in found.urgency] == [(7, 7)] * 2 + [(14, 14)] * 2


def test_the_commands_fit_fine_levels_and_their_prior(tmp_path, to_train_from):
    photos, weights = to_train_from
    data = ["--data", str(photos), "--threads", "1"]
    command = ["train", "fine", *data, "--model", str(weights), "--levels", "2", "--crops", "32"]
    assert main([*command, "--out", str(tmp_path / "a"), "--coarse", "4"]) == WrongWeights.exit_code
    assert main([*command, "--out", str(tmp_path / "fine"), "--coarse", "2"]) == 0
    made = load_file(tmp_path / "fine" / "model.safetensors")
    assert made["decoder.depth.weight"].shape[0] == 3 and "quantizer.codebook2" not in made
    basis = made["fine.basis"].float()
    assert torch.allclose(basis.T @ basis, torch.eye(basis.shape[1]), atol=0.02)
    prior = ["train", "prior", *data, "--model", str(tmp_path / "fine" / "model.safetensors"), "--minutes", "0.01"]
    assert main([*prior, "--out", str(tmp_path / "prior")]) == 0
    whole = load_file(tmp_path / "prior" / "model.safetensors")
    learned = {k.removeprefix(PREFIX): v.numpy() for k, v in whole.items() if k.startswith(PREFIX)}
    assert IntegerPrior(learned, (4, 2, 1, 1)).codebook_sizes == (16, 32, 1024, 1024)
    assert learned["groups"].tolist() == [4, 4, 4, 2]
    branch = ["train", "tokenizer", *data, "--preset", "tiny", "--minutes", "0.02", "--decoder-only"]
    assert main([*branch, "--init", str(tmp_path / "prior" / "model.safetensors"), "--out", str(tmp_path / "branch")]) == 0
    resumed = ["train", "tokenizer", *data, "--resume", "--minutes", "0.03", "--out", str(tmp_path / "branch")]
    assert main(resumed) == 0
    drawn = load_file(tmp_path / "branch" / "model.safetensors")
    assert all(torch.equal(drawn[name], tensor) for name, tensor in whole.items() if not name.startswith("tables."))
    assert drawn["decoder.head.fine.out.weight"].any()
    again = ["--init", str(tmp_path / "branch" / "model.safetensors"), "--out", str(tmp_path / "again")]
    assert main([*branch, *again]) == 0
    later = load_file(tmp_path / "again" / "model.safetensors")
    changed = {name for name, tensor in later.items() if not torch.equal(drawn[name], tensor)}
    assert {"decoder.head.fine.out.weight", "decoder.head.out.weight", "decoder.embed.weight"} <= changed
    assert all(name.startswith(("decoder.", "tables.")) for name in changed)
    pair, mixed = [str(tmp_path / name / "model.safetensors") for name in ("branch", "again")], tmp_path / "mixed.safetensors"
    assert main(["train", "average", *pair, "--share", "0.5", "--out", str(mixed)]) == 0
    name = "decoder.head.fine.out.weight"
    assert torch.allclose(load_file(mixed)[name].float(), (drawn[name].float() + later[name].float()) / 2, atol=1e-3)


def test_more_levels_than_a_file_holds_are_refused_before_pictures_are_looked_for(tmp_path, capsys):
    command = ["train", "fine", "--data", str(tmp_path / "none"), "--model", "t1d-2", "--out", str(tmp_path / "out")]
    assert main([*command, "--coarse", "14", "--levels", "2"]) == WrongWeights.exit_code
    assert "a file holds 15 at most" in capsys.readouterr().err
    assert main([*command, "--coarse", "14", "--levels", "1"]) == MissingData.exit_code


def test_blocks_meet_with_less_of_a_step():
    x = torch.zeros(1, 1, 4, 3 * BLOCK)
    x[..., BLOCK : 2 * BLOCK] = 1.0
    y = blend(x, BLOCK)
    assert y.diff(dim=3).abs().max() < 0.3 < x.diff(dim=3).abs().max()
    assert y.sum().item() == pytest.approx(x.sum().item()) and torch.equal(y[..., :8], x[..., :8])
    assert torch.equal(blend(x[..., :BLOCK], BLOCK), x[..., :BLOCK])
