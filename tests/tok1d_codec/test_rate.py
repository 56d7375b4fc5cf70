"""Files of an asked size or quality, and what is left of a file that was cut."""

from __future__ import annotations

import numpy as np
import pytest

from bitstream.container import CHECKSUM_BYTES, unpack
from bitstream.counts import Group
from bitstream.errors import ChecksumMismatch, FormatError, Truncated
from bitstream.header import pack_header
from tok1d_codec import codec
from tok1d_codec.errors import TargetTooSmall
from tok1d_codec.prior.fill import fill
from tok1d_codec.rate import EVALUATIONS, Target, at_depth, depth_groups, fit, keep_most_urgent, largest
from tok1d_codec.regions import FAVOUR, favoured


def tokens_of(data: bytes, model) -> list[np.ndarray]:
    return codec.read_tokens(unpack(data), model.card, model.prior).levels


@pytest.mark.parametrize("size", [24, 30, 37, 45, 60, 1000])
def test_a_size_is_met_from_below(tiny_model, photo, size):
    data = codec.encode(photo, tiny_model, size=size)
    whole = codec.encode(photo, tiny_model, levels=3)
    assert len(data) <= size
    assert len(data) >= min(size - 3, len(whole) - 4)  # a token takes up to 5 bits, a new mask some more
    assert codec.decode(data, tiny_model).shape == photo.shape


@pytest.mark.parametrize("sizes", ["even", "falling", "rough", "steps"])
def test_the_largest_file_that_fits_is_found_in_few_writings(sizes):
    rng = np.random.default_rng(0)
    tokens = {"even": np.full(5000, 0.9), "falling": np.linspace(1.6, 0.7, 5000), "rough": rng.uniform(0, 2, 5000),
              "steps": np.where(np.arange(5000) % 100, 0, 95)}[sizes]  # fmt: skip
    bytes_at = 100 + np.floor(np.concatenate([[0], tokens.cumsum()])).astype(int)
    for limit in (100, 101, 150, 1000, 3000, 10000):
        counts, found = [], []
        for too_many in (None, 5000) if limit < bytes_at[-1] else (None,):
            asked = set()
            found.append(bytes_at[largest(lambda n: asked.add(n) or int(bytes_at[n]), 5000, limit, too_many)])
            counts.append(len(asked - {0, too_many}))
            assert all(0 <= n <= 5000 for n in asked)
        assert max(counts) <= EVALUATIONS
        best = bytes_at[bytes_at <= limit].max()
        if sizes != "steps":
            assert best - max(2, limit // 1000) <= min(found) and max(found) <= best and max(counts) <= 7
        else:
            assert 100 <= min(found) and max(found) <= best


def test_bits_per_pixel_are_those_of_the_whole_file(tiny_model, photo):
    data = codec.encode(photo, tiny_model, bpp=0.02)
    assert 0.018 < 8 * len(data) / photo[..., 0].size <= 0.02


def test_a_target_without_end_is_none(tiny_model, photo):
    assert codec.encode(photo, tiny_model, bpp=1e308) == codec.encode(photo, tiny_model, size=10**6)


def test_the_smallest_file_need_not_be_that_of_the_smallest_picture():
    sizes = 13, 14, 12, 15
    with pytest.raises(TargetTooSmall) as caught:
        fit(lambda scale, kept: sizes[scale], lambda scale: 0, 11)
    assert caught.value.least_bytes == 12
    assert fit(lambda scale, kept: sizes[scale], lambda scale: 0, 12) == (2, 0)


def test_small_targets_make_the_picture_smaller(tiny_model, photo):
    full = len(codec.encode(photo, tiny_model, quality=0))
    data = codec.encode(photo, tiny_model, size=full - 1)
    assert unpack(data).header.scale > 0 and len(data) < full
    assert codec.decode(data, tiny_model).shape == photo.shape
    with pytest.raises(TargetTooSmall, match=r"the smallest file of this picture has \d+") as caught:
        codec.encode(photo, tiny_model, size=5)
    least = int(str(caught.value).split()[-1])
    assert len(codec.encode(photo, tiny_model, size=least)) == least


def test_quality_only_adds_tokens(tiny_model, photo):
    last = None
    sizes = []
    for quality in (0, 20, 40, 60, 80, 100):
        data = codec.encode(photo, tiny_model, quality=quality)
        tokens = tokens_of(data, tiny_model)
        if last is not None:
            assert all((b[a >= 0] == a[a >= 0]).all() for a, b in zip(last, tokens))
        last, sizes = tokens, [*sizes, sum((t >= 0).sum() for t in tokens)]
    assert sizes == sorted(sizes)


def test_the_most_urgent_tokens_are_kept():
    tokens = [np.array([[7]]), np.array([[1, 2]]), np.array([[3, 4]])]
    urgency = [np.array([[0.5, 0.9]]), np.array([[0.1, 0.7]])]
    assert [t.tolist() for t in keep_most_urgent(tokens, urgency, 0)] == [[[7]]]
    assert [t.tolist() for t in keep_most_urgent(tokens, urgency, 2)] == [[[7]], [[-1, 2]], [[-1, 4]]]
    assert [t.tolist() for t in keep_most_urgent(tokens, urgency, 4)] == [[[7]], [[1, 2]], [[3, 4]]]


def test_finer_levels_have_cells_of_their_own():
    by_depth = np.array([[[1, 2]], [[3, 4]]])  # of cells that keep one level, and two
    tokens = [by_depth, np.array([[-1, -1], [5, 6]]).reshape(2, 1, 2), np.arange(8).reshape(2, 4)]
    assert depth_groups([2, 2, None]) == [range(2), range(2, 3)] and depth_groups([None, 3, 3, 1]) == [range(3), range(3, 4)]
    urgency = [np.array([[0.5, 0.9]]), np.array([[0.1, 0.2, 0.8, 0.1], [0.0, 0.0, 0.3, 0.0]])]

    def kept(count: int) -> list[list]:
        return [t.tolist() for t in keep_most_urgent(tokens, urgency, count)]

    assert kept(1) == [[[1, 4]], [[-1, 6]]]
    assert kept(2) == [[[1, 4]], [[-1, 6]], [[-1, -1, 2, -1], [-1, -1, -1, -1]]]
    assert kept(4) == [[[3, 4]], [[5, 6]], [[-1, -1, 2, -1], [-1, -1, 6, -1]]]
    assert [t.tolist() for t in at_depth(tokens, 3)] == kept(10)  # deeper than a cell of the first levels can be


@pytest.mark.parametrize("wrong", [
    {"quality": 50, "size": 9}, {"quality": -1}, {"quality": 101}, {"bpp": 0}, {"bpp": -1.0}, {"size": 0},
])  # fmt: skip
def test_targets_are_checked(wrong):
    with pytest.raises(ValueError):
        Target(**wrong)


@pytest.mark.parametrize("target", [{"levels": 3}, {"size": 45}])
def test_every_cut_gives_the_tokens_that_are_certain(tiny_model, photo, target):
    data = codec.encode(photo, tiny_model, **target)
    container = unpack(data)
    start = len(pack_header(container.header, len(container.payload))) + CHECKSUM_BYTES
    tokens, last = tokens_of(data, tiny_model), -1
    for end in range(len(data)):
        if end < start:
            with pytest.raises(Truncated):
                codec.decode_partial(data[:end], tiny_model)
            continue
        pixels, held = codec.decode_partial(data[:end], tiny_model)
        assert pixels.shape == photo.shape and held.complete < 3
        for level, (found, true) in enumerate(zip(held.levels, tokens)):
            assert (found[found >= 0] == true[found >= 0]).all()
            if level < held.complete:
                assert np.array_equal(found, true)
        count = sum((level >= 0).sum() for level in held.levels)
        assert count >= last
        last = count
    assert last > 0.8 * sum((level >= 0).sum() for level in tokens)
    pixels, held = codec.decode_partial(data, tiny_model)
    assert held.complete == 3 and np.array_equal(pixels, codec.decode(data, tiny_model))


def test_missing_tokens_can_be_guessed(tiny_model, photo):
    data = codec.encode(photo, tiny_model, levels=3)
    cut = data[: len(data) - 8]
    (plain, held), (likely, _), (drawn, _), (again, _), (other, _) = (
        codec.decode_partial(cut, tiny_model, guess=guess, seed=seed)
        for guess, seed in (("none", 0), ("likely", 0), ("sample", 1), ("sample", 1), ("sample", 2))
    )
    assert (held.levels[held.complete] < 0).any()
    assert np.array_equal(drawn, again)
    assert not any(np.array_equal(a, b) for a, b in ((plain, likely), (likely, drawn), (drawn, other)))
    filled = fill(held.levels, held.complete, tiny_model.prior)
    missing = held.levels[held.complete] < 0
    assert (filled[held.complete][missing] == tiny_model.prior.counts([], Group(held.complete, [])).argmax()).all()
    assert np.array_equal(filled[held.complete][~missing], held.levels[held.complete][~missing])
    with pytest.raises(ValueError, match="known: none"):
        codec.decode_partial(cut, tiny_model, guess="best")


def test_guesses_stay_where_tokens_may_be(tiny_model):
    second = np.where(np.arange(6) < 4, 5, -1).astype(np.int32) * np.ones((4, 1), np.int32)
    levels = [np.zeros((2, 3), np.int32), second, np.full((4, 6), -1, np.int32)]
    filled = fill(levels, 2, tiny_model.prior)
    assert np.array_equal(filled[2] >= 0, second >= 0)


def test_guesses_stay_where_the_mask_says(tiny_model, photo):
    data = codec.encode(photo, tiny_model, size=36)
    container = unpack(data)
    tokens = tokens_of(data, tiny_model)
    assert container.header.varied and any((level < 0).any() for level in tokens)
    seen = 0
    for kept in range(4, len(container.payload)):
        held = codec.decode_partial(data[: len(data) - len(container.payload) + kept], tiny_model)[1]
        if held.complete == 0 or held.complete == len(tokens) or held.present is None:
            continue
        seen += 1
        level = held.complete
        assert np.array_equal(held.present, tokens[level] >= 0)
        filled = fill(held.levels, level, tiny_model.prior, present=held.present)
        assert np.array_equal(filled[level] >= 0, tokens[level] >= 0)
    assert seen


def test_a_sample_is_drawn_for_every_place(tiny_model):
    levels = [np.zeros((20, 30), np.int32), np.full((40, 60), -1, np.int32)]
    drawn = fill(levels, 1, tiny_model.prior, np.random.default_rng(0))[1]
    counts = tiny_model.prior.counts([], Group(1, []))
    found = np.bincount(drawn.ravel(), minlength=len(counts)) / drawn.size
    assert np.abs(found - counts / counts.sum()).max() < 0.05


def test_a_damaged_level_is_not_counted_as_whole(tiny_model, photo):
    data = codec.encode(np.tile(photo, (2, 2, 1)), tiny_model, levels=3)
    noticed = 0
    for at in range(14, 20):  # the first level takes eight bytes from 14 on
        broken = bytearray(data)
        broken[at] ^= 0x40
        with pytest.raises(ChecksumMismatch):
            codec.decode(bytes(broken), tiny_model)
        noticed += codec.decode_partial(bytes(broken[:-1]), tiny_model)[1].complete == 0
    assert noticed >= 5  # one in 256 passes the check of the first level


@pytest.mark.parametrize("target", [{"levels": 3}, {"size": 45}])
def test_of_a_damaged_file_the_levels_before_the_damage_are_good(tiny_model, photo, target):
    data = codec.encode(photo, tiny_model, **target)
    container, tokens = unpack(data), tokens_of(data, tiny_model)
    start, seen = len(data) - len(container.payload), set()
    for at in range(start - CHECKSUM_BYTES, len(data)):
        broken = bytearray(data)
        broken[at] ^= 0x24
        with pytest.raises(FormatError):
            codec.decode(bytes(broken), tiny_model)
        try:
            pixels, held = codec.decode_partial(bytes(broken), tiny_model)
        except FormatError:  # not even the first level is whole
            seen.add(0)
            continue
        assert held.damaged and held.complete > 0
        if held.complete not in seen:  # guesses are for what was cut
            assert np.array_equal(codec.decode_partial(bytes(broken), tiny_model, guess="likely")[0], pixels)
        right = [np.array_equal(a, b) for a, b in zip(held.levels, tokens)]
        assert all((level < 0).all() for level in held.levels[held.complete :])
        seen.add(held.complete if all(right[: held.complete]) else "passed its check by chance")
    assert {0, 1, 2, 3} <= seen  # 3: of the checksum alone
    assert not codec.decode_partial(data, tiny_model)[1].damaged


BOX = (100, 20, 150, 90)  # the right part of `photo`


def test_a_region_of_interest_gets_more_of_the_same_bytes(tiny_model, photo):
    def kept(**options) -> tuple[int, int]:
        """-> tokens after the first level, in all and in BOX."""
        levels = tokens_of(codec.encode(photo, tiny_model, size=37, **options), tiny_model)[1:]
        return sum((t >= 0).sum() for t in levels), sum((t[:, 3:] >= 0).sum() for t in levels)

    (everywhere, inside), (still, more) = kept(), kept(roi=[BOX])
    assert more > inside > 0 and abs(still - everywhere) <= 2
    assert codec.encode(photo, tiny_model, 2, roi=[BOX]) == codec.encode(photo, tiny_model, 2)


def test_favoured_places_are_those_that_a_box_reaches():
    coarse, fine = favoured([np.ones((3, 5)), np.ones((6, 10))], (32, 16), [(BOX, FAVOUR)])
    assert coarse.tolist() == [[1, 1, 1, FAVOUR, FAVOUR]] * 3
    assert fine[0].tolist() == [1] * 10 and fine[1].tolist() == [1] * 6 + [FAVOUR] * 4 and (fine[1:] == fine[1]).all()
    assert (np.kron(coarse, np.ones((2, 2))) >= fine).all()
    (second,) = favoured([np.array([[1000.5, 1000.25]])], (32,), [((32, 0, 64, 32), FAVOUR)])
    assert second.tolist() == [[1000.5, 1000.25]]
    both = [((0, 0, 64, 32), 7.0), ((32, 0, 96, 32), 2.0)]
    assert favoured([np.ones((1, 3))], (32,), both)[0].tolist() == [[7, 7, 2]]


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (0, 0, 161, 9), (-1, 0, 4, 4), (0, 9, 4, 3), (0.0, 0, 4, 4), (0, 0, 4), 5])
def test_a_region_outside_the_picture_is_refused(tiny_model, photo, box):
    with pytest.raises(ValueError, match="within 160x96|four integers"):
        codec.encode(photo, tiny_model, roi=[box])


def test_a_region_may_be_of_any_integers(tiny_model, photo):
    found = codec.encode(photo, tiny_model, size=37, roi=np.array([BOX], np.uint16))
    assert found == codec.encode(photo, tiny_model, size=37, roi=[BOX])
