from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

import numpy as np
import pytest
import torch

from bitstream.container import unpack
from tok1d_codec import codec, effort
from tok1d_codec.effort import STEPS, check_effort, perceptual_loss, whole_loss
from tok1d_codec.rate import keep_most_urgent
from tok1d_codec.tensors import to_image
from tok1d_codec.tokenizer import refine


def squared(originals: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda restored: (restored - originals).square().mean((1, 2, 3))


def adding(terms: Iterable[float]) -> Callable[[torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]:
    """Squared error and, at each call, the next of the terms."""
    terms = iter(terms)

    def loss_from(originals: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        def loss(restored: torch.Tensor) -> torch.Tensor:
            assert 0 <= restored.min() and restored.max() <= 1  # as the decoder clamps it
            return squared(originals)(restored) + next(terms)

        return loss

    return loss_from


def judge_by(monkeypatch, loss) -> None:
    """Effort n takes n steps, each judged by the loss."""
    monkeypatch.setattr(codec, "STEPS", range(10))
    monkeypatch.setattr(codec, "perceptual_loss", lambda device: loss)
    monkeypatch.setattr(codec, "whole_loss", lambda restored, original: loss(original)(restored).item())


def sparse(tokenizer, image: torch.Tensor, kept: int) -> list[torch.Tensor]:
    """Tokens of an image of which only the most urgent are there."""
    tokens, urgency = tokenizer.rank(image)
    chosen = keep_most_urgent([t[0].numpy() for t in tokens], [u[0].numpy() for u in urgency], kept)
    return [torch.from_numpy(t)[None] for t in chosen]


def test_refined_tokens_decode_to_less_loss_and_lie_where_they_lay(tiny_model, photo):
    tokenizer, image = tiny_model.tokenizer, to_image(photo)
    first = sparse(tokenizer, image, 20)
    best, given = tokenizer.refine(image, first, squared, 8)
    assert all(torch.equal(a < 0, b < 0) for a, b in zip(first, best.indices, strict=True))
    assert all(int(f.max()) < n for f, n in zip(best.indices, tokenizer.codebook_sizes))
    start, end = (squared(image)(tokenizer.decode(t, *image.shape[-2:])).item() for t in (first, best.indices))
    assert end < 0.97 * start
    assert all(torch.equal(a, b) for a, b in zip(given.indices, first))
    assert [best.loss, given.loss] == pytest.approx([end, start], rel=1e-4)


def test_a_search_without_steps_or_without_success_changes_nothing(tiny_model, photo, monkeypatch):
    tokenizer, image = tiny_model.tokenizer, to_image(photo)
    assert tokenizer.refine(image, tokenizer.encode(image), squared, 0) == []
    plain, calls = codec.encode(photo, tiny_model, 3), count()
    judge_by(monkeypatch, adding(calls))
    assert codec.encode(photo, tiny_model, 3, effort=3) == plain
    assert next(calls) == 3 + 1  # the file at hand, those on the way, and the last


def test_what_was_best_on_the_way_stands_where_the_last_step_made_it_worse(tiny_model, photo, monkeypatch):
    plain = codec.encode(photo, tiny_model, 3)
    judge_by(monkeypatch, adding([3, 1]))
    after_one = codec.encode(photo, tiny_model, 3, effort=1)
    terms = iter([3, 1, 2, 9])  # before each of three steps, and after the last
    judge_by(monkeypatch, adding(terms))
    assert codec.encode(photo, tiny_model, 3, effort=3) == after_one != plain
    assert not list(terms)


def test_of_files_that_had_to_be_cut_the_better_one_stands(tiny_model, photo, monkeypatch):
    tokens, urgency = tiny_model.tokenizer.rank(to_image(photo))
    data = codec.encode(photo, tiny_model, quality=60)
    given, urgency = codec.read_tokens(unpack(data), tiny_model.card, tiny_model.prior).levels, [u[0].numpy() for u in urgency]

    def file_of(tokens: list) -> bytes:
        return codec._write(tokens, tiny_model, *photo.shape[:2], 0)

    def refined(*terms: float) -> bytes:
        judge_by(monkeypatch, adding(terms))
        limit = len(data) - 3  # so that every file must be cut
        found = codec._refined(given, urgency, to_image(photo), tiny_model, 3, file_of, limit, False)
        assert len(file_of(found)) <= limit
        return file_of(found)

    best, before = refined(3, 1, 2, 9, 2), refined(3, 4, 5, 6, 3.5, 3.5)
    assert best != before
    # cut, the best is worse than the given was whole, and better or worse than that is cut
    assert refined(3, 1, 2, 9, 3.5, 4) == best and refined(3, 1, 2, 9, 4, 3.5) == before


def test_steps_make_up_for_what_the_decoder_hardly_feels():
    torch.manual_seed(0)
    gap = torch.randn(2, 8, 12, 12)
    turn = torch.linalg.qr(torch.randn(8, 8)).Q
    felt = turn @ torch.diag(torch.logspace(0, -1.5, 8)) @ turn.T
    gradient = torch.einsum("cd,bdhw->bchw", felt, gap)
    direction = refine._Steps().direction(gradient)
    assert direction.square().mean((1, 2, 3)).sqrt().tolist() == pytest.approx([1, 1])

    def alike(steps: torch.Tensor) -> float:
        return torch.cosine_similarity(steps.flatten(), gap.flatten(), dim=0).item()

    assert max(alike(gradient), alike(gradient.sign())) < 0.8 < 0.9 < alike(direction)
    assert not refine._Steps().direction(torch.zeros(1, 8, 2, 2)).any()


def test_the_steps_of_a_picture_do_not_depend_on_its_neighbours():
    torch.manual_seed(0)
    gradient = torch.randn(3, 8, 2, 5)
    both = refine._Steps().direction(gradient)
    assert torch.allclose(refine._Steps().direction(gradient[1:2]), both[1:2], atol=1e-5)


def test_a_bar_counts_the_passes_only_where_it_is_asked_for(tiny_model, photo, capsys):
    codec.encode(photo, tiny_model, bpp=0.1, effort=3)
    assert not capsys.readouterr().err
    codec.encode(photo, tiny_model, bpp=0.1, effort=3, progress=True)
    assert f"/{STEPS[3]}" in capsys.readouterr().err


def test_squares_of_a_large_picture_are_each_refined(tiny_model, photo, monkeypatch):
    monkeypatch.setattr(refine, "REGION", 2)
    monkeypatch.setattr(refine, "CONTEXT", 2)
    image = to_image(np.tile(photo, (3, 2, 1))[:250])  # 8 x 10 patches
    tokenizer = tiny_model.tokenizer
    first = sparse(tokenizer, image, 100)
    (found, loss), (given, _) = tokenizer.refine(image, first, squared, 4)
    assert loss is None  # of no single decoding
    assert all(torch.equal(a, b) for a, b in zip(given, first))
    changed = sum((a != b).float() for a, b in zip(first[1:], found[1:]))[0]
    assert all(changed[y : y + 4, x : x + 5].any() for y in (0, 4) for x in (0, 5))
    start, end = (squared(image)(tokenizer.decode(t, *image.shape[-2:])).item() for t in (first, found))
    assert end < start


def test_a_square_that_got_worse_stays_as_it_was(tiny_model, photo, monkeypatch):
    monkeypatch.setattr(refine, "REGION", 2)
    monkeypatch.setattr(refine, "CONTEXT", 2)
    monkeypatch.setattr(refine, "RATE", 1.0)
    image = to_image(np.tile(photo, (1, 2, 1))[:64, :256])  # 2 x 8 patches: four squares
    first = tiny_model.tokenizer.encode(image)
    found = tiny_model.tokenizer.refine(image, first, adding([1, 0] + [0, 1] * 3), 1)[0].indices
    changed = sum((a != b).float() for a, b in zip(first[1:], found[1:]))[0]
    assert changed[:, :2].any() and not changed[:, 2:].any()
    assert torch.equal(first[0][..., 1:], found[0][..., 1:])


@pytest.mark.parametrize("rows, cols", [(1, 1), (24, 24), (25, 3), (40, 33)])
def test_squares_cover_the_grid_once(rows, cols):
    seen = np.zeros((rows, cols), int)
    for (top, bottom, left, right), (up, down, west, east) in refine._regions(rows, cols):
        seen[top:bottom, left:right] += 1
        assert 0 <= up <= top and bottom <= down <= rows and 0 <= west <= left and right <= east <= cols
        assert up % 2 == west % 2 == 0  # the first level has a token for 2 x 2 patches
        assert max(down - up, east - west) <= refine.REGION + 2 * refine.CONTEXT
    assert (seen == 1).all()


@pytest.mark.parametrize("target", [{"levels": 3}, {"quality": 60}, {"size": 40}, {"size": 30}])
@pytest.mark.parametrize("size", [(5, 7), (96, 160)])
def test_effort_never_makes_a_file_worse(tiny_model, photo, target, size):
    pixels = photo[: size[0], : size[1]]
    plain = codec.encode(pixels, tiny_model, **target)
    better = codec.encode(pixels, tiny_model, **target, effort=4)
    assert "size" not in target or len(better) <= target["size"]
    loss = perceptual_loss(torch.device("cpu"))(to_image(pixels))
    if not codec.unpack(plain).header.scale:
        losses = [loss(to_image(codec.decode(data, tiny_model))).item() for data in (plain, better)]
        assert losses[1] <= losses[0] + 1e-4  # rounding of pixels
    assert codec.decode(better, tiny_model).shape == pixels.shape


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_effort_works_where_gradients_are_off(tiny_model, photo, mode):
    perceptual_loss.cache_clear()
    better = codec.encode(photo, tiny_model, 3, effort=2)
    with mode():
        assert codec.encode(photo, tiny_model, 3, effort=2) == better
        assert whole_loss(to_image(photo), to_image(photo)) == 0


def test_the_loss_of_a_large_picture_is_the_mean_of_its_squares(photo, monkeypatch):
    monkeypatch.setattr(effort, "SQUARE", 64)
    one, other = to_image(photo), to_image(photo[:, ::-1].copy())
    parts = [whole_loss(one[..., y : y + 64, x : x + 64], other[..., y : y + 64, x : x + 64])
             for y in (0, 64) for x in (0, 64, 128)]  # fmt: skip
    areas = [64 * 64, 64 * 64, 64 * 32, 32 * 64, 32 * 64, 32 * 32]
    assert whole_loss(one, other) == pytest.approx(np.average(parts, weights=areas), rel=1e-4)


def test_a_shift_counts_more_where_nothing_hides_it():
    torch.manual_seed(0)
    original = torch.full((1, 3, 64, 128), 0.5)
    original[..., 64:] = torch.rand(1, 3, 64, 64)
    loss = perceptual_loss(original.device)(original)
    plain, busy = original.clone(), original.clone()
    plain[..., 8:40] += 0.05
    busy[..., 80:112] += 0.05
    assert loss(plain) > 2 * loss(busy) > 0 and loss(original) == 0


def test_effort_is_zero_to_nine(tiny_model, photo):
    assert len(STEPS) == 10 and list(STEPS) == sorted(STEPS) and check_effort(9) is None
    with pytest.raises(ValueError, match="0 to 9"):
        codec.encode(photo, tiny_model, effort=10)
