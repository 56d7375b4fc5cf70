"""The integer prior: known answers, the same counts from every backend, the way through the range coder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from bitstream.coder import Coding, decode_tokens, encode_tokens
from bitstream.counts import Group, information, total
from tok1d_codec.errors import WrongWeights
from tok1d_codec.prior import integer
from tok1d_codec.prior.integer import OFFSETS, IntegerPrior

SIZES, STRIDES = (12, 16, 40), (2, 1, 1)
Arrays = Mapping[str, np.ndarray]
GOLDEN = "2501feb98a3fe7741f6192c27ecb9a2e7a01e6430850c0bd5105a0fb4ad532a9"


def reference_counts(
    arrays: Arrays, strides: Sequence[int], known: Sequence[np.ndarray], level: int, y: int, x: int
) -> np.ndarray:
    """The counts of `IntegerPrior` once more, token by token in int64: slow, and plain to read.

    Tensors `prior.*` without the prefix; known levels, -1 where unknown -> int64 (n,) of cell (y, x).
    """
    a = {name: array.astype(np.int64) for name, array in arrays.items()}
    stride = strides[level]
    near = a[f"near.{stride}"].shape[1] // len(OFFSETS)
    own = features(a, strides, known, level, y, x)
    around = [features(a, strides, known, level, y + dy, x + dx)[:near] for dy, dx in OFFSETS]
    acc = a[f"near.{stride}"] @ np.concatenate(around) + a[f"own.{level}"] @ own
    acc += a[f"bias.near.{level}"][y % 2 * 2 + x % 2]
    hidden = np.clip(acc >> a[f"shift.near.{stride}"], 0, 127)
    for i in range(sum(name.startswith("mix.") for name in a)):
        acc = a[f"mix.{i}"] @ hidden + a[f"bias.mix.{i}"][level]
        hidden = np.clip(hidden + (acc >> a[f"shift.mix.{i}"]), 0, 127)
    acc = a["down"] @ hidden + a["bias.down"][level]
    code = np.clip(acc >> a["shift.down"], -127, 127)
    logits = a[f"out.{level}"] @ code + a[f"bias.out.{level}"]
    return softmax_counts(logits, int(a["shift.out"][level]), a["exp"])


def features(
    a: Arrays, strides: Sequence[int], known: Sequence[np.ndarray], level: int, y: int, x: int
) -> np.ndarray:
    """-> int64 (C,), the sum of the embeddings of what is known of a cell; zeros outside the picture."""
    total = np.zeros(a["embed.0"].shape[1], np.int64)
    if 0 <= y < known[level].shape[0] and 0 <= x < known[level].shape[1]:
        for j in range(level + 1):
            token = known[j][y * strides[level] // strides[j], x * strides[level] // strides[j]]
            total += a[f"embed.{j}"][token] if token >= 0 else 0
    return np.clip(total, -255, 255)


def softmax_counts(logits: np.ndarray, shift: int, table: np.ndarray) -> np.ndarray:
    """int64 (n,) -> int64 (n,) >= 0 with the sum 2^24 - n."""
    below = (logits.max() - logits + (1 << shift >> 1)) >> shift
    weights = table[np.minimum(below, len(table) - 1)]
    budget = 2**24 - len(logits)
    counts = weights * ((budget << 28) // weights.sum()) >> 28
    counts[logits.argmax()] += budget - counts.sum()
    return counts


def random_arrays() -> dict[str, np.ndarray]:
    """Tensors of a prior that nobody trained; numpy's PCG64 gives the same ones everywhere."""
    rng, levels, features, near, hidden, code = np.random.default_rng(5), len(SIZES), 8, 4, 16, 8

    def small(*shape, most=60):
        return rng.integers(-most, most + 1, shape).astype(np.int8)

    def wide(*shape):
        return rng.integers(-900, 901, shape).astype(np.int32)

    arrays = {"mix.0": small(hidden, hidden), "bias.mix.0": wide(levels, hidden)}
    arrays |= {"down": small(code, hidden), "bias.down": wide(levels, code)}
    arrays |= {"shift.mix.0": np.full(hidden, 8, np.int8), "shift.down": np.full(code, 6, np.int8)}
    arrays["shift.out"] = np.full(levels, 4, np.int8)
    for stride in (1, 2):
        arrays[f"near.{stride}"] = small(hidden, 24 * near)
        arrays[f"shift.near.{stride}"] = rng.integers(6, 9, hidden).astype(np.int8)
    for level, n in enumerate(SIZES):
        arrays |= {f"embed.{level}": small(n, features, most=127), f"own.{level}": small(hidden, features)}
        arrays |= {f"out.{level}": small(n, code), f"bias.out.{level}": wide(n)}
        arrays[f"bias.near.{level}"] = wide(4, hidden)
    falling = [2**20]
    while falling[-1]:
        falling.append(falling[-1] * 31 // 32)
    arrays["exp"] = np.array(falling, np.int32)
    arrays["groups"] = np.array([4, 2, 2][:levels], np.int8)
    return arrays


def draw(shapes, sizes=SIZES, lowest=0, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.integers(lowest, n, shape).astype(np.int32) for n, shape in zip(sizes, shapes)]


def shapes_of(rows, cols):
    return [(-(-rows // s), -(-cols // s)) for s in STRIDES]


def all_counts(prior, known):
    return [prior.counts(known, Group(level, np.arange(k.size))) for level, k in enumerate(known)]


@pytest.fixture(scope="module")
def arrays():
    return random_arrays()


def test_a_softmax_worked_out_by_hand():
    # logits 1, 0 in units of 2^-1: 2 and 0 units below; weights 8, 1 of 9; budget 2^24 - 2 = 16777214
    table = np.array([8, 4, 1, 0])
    scale = (16777214 << 28) // 9
    second = scale >> 28
    assert second == 1864134
    assert softmax_counts(np.array([4, 0]), 1, table).tolist() == [16777214 - second, second]


def test_an_untrained_uniform_prior_gives_equal_counts(arrays):
    flat = {name: np.zeros_like(arrays[name]) for name in ("out.1", "bias.out.1")}
    prior = IntegerPrior({**arrays, **flat}, STRIDES)
    counts = prior.counts([np.full((1, 1), -1)] * 3, Group(1, np.array([0])))
    assert counts[0].tolist() == [total(16) // 16 + total(16) % 16, *[total(16) // 16] * 15]


@pytest.mark.parametrize("rows, cols", [(1, 1), (1, 7), (5, 2), (6, 9)])
def test_it_is_the_reference(arrays, rows, cols):
    known, prior = draw(shapes_of(rows, cols), lowest=-1), IntegerPrior(arrays, STRIDES)
    for level, counts in enumerate(all_counts(prior, known)):
        assert counts.dtype == np.int64 and counts.min() >= 0
        assert (counts.sum(1) == total(SIZES[level])).all() and counts.max() > 2 * counts.mean()
        for at, row in enumerate(counts):
            y, x = divmod(at, known[level].shape[1])
            assert np.array_equal(row, reference_counts(arrays, STRIDES, known, level, y, x)), (level, y, x)


def test_every_backend_gives_the_same_counts(arrays):
    known = draw(shapes_of(9, 11), lowest=-1)
    expected = all_counts(IntegerPrior(arrays, STRIDES), known)

    def in_torch(dtype):
        def product(a, b):
            return (torch.from_numpy(a).to(dtype) @ torch.from_numpy(b).to(dtype)).numpy()

        return product

    products = {"float64": lambda a, b: a.astype(np.float64) @ b.astype(np.float64)}
    products |= {"torch32": in_torch(torch.float32), "torch64": in_torch(torch.float64)}
    products["one by one"] = lambda a, b: np.stack([np.add.accumulate(row[:, None] * b)[-1] for row in a])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 8):
            torch.set_num_threads(threads)
            for name, product in products.items():
                for mkldnn in (True, False):
                    with torch.backends.mkldnn.flags(enabled=mkldnn):
                        found = all_counts(IntegerPrior(arrays, STRIDES, product), known)
                    assert all(np.array_equal(a, b) for a, b in zip(expected, found)), (name, threads, mkldnn)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_the_same_counts(arrays):
    known = draw(shapes_of(9, 11), lowest=-1)
    torch.backends.cuda.matmul.allow_tf32 = False

    def product(a, b):
        return (torch.tensor(a).cuda() @ torch.tensor(b).cuda()).cpu().numpy()

    found = all_counts(IntegerPrior(arrays, STRIDES, product), known)
    pairs = zip(found, all_counts(IntegerPrior(arrays, STRIDES), known))
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_the_counts_are_those_of_the_golden_hash(arrays):
    counts = all_counts(IntegerPrior(arrays, STRIDES), draw(shapes_of(7, 10), lowest=-1))
    digest = hashlib.sha256(b"".join(c.astype("<i8").tobytes() for c in counts)).hexdigest()
    assert digest == GOLDEN


def test_a_row_depends_on_nothing_but_known_and_its_position(arrays):
    known, prior = draw(shapes_of(23, 9), lowest=-1), IntegerPrior(arrays, STRIDES)
    whole = prior.counts(known, Group(2, np.arange(23 * 9)))
    some = np.random.default_rng(0).permutation(23 * 9)[:31]
    assert np.array_equal(prior.counts(known, Group(2, some)), whole[some])
    assert np.array_equal(prior.counts(known, Group(2, some[:1])), whole[some[:1]])
    assert prior.counts(known, Group(2, some[:0])).shape == (0, 40)


def test_later_levels_and_far_cells_are_not_looked_at(arrays):
    known, prior = draw(shapes_of(12, 12)), IntegerPrior(arrays, STRIDES)
    here = Group(1, np.array([0]))
    before = prior.counts(known, here)
    known[2][:] = -1
    known[1][3:], known[1][:, 3:], known[0][2:], known[0][:, 2:] = -1, -1, -1, -1
    assert np.array_equal(prior.counts(known, here), before)
    known[1][2, 2] = -1
    assert not np.array_equal(prior.counts(known, here), before)


def test_groups_give_every_position_once_and_spread_out(arrays):
    prior = IntegerPrior(arrays, STRIDES)
    for rows, cols in [(1, 1), (1, 2), (5, 7)]:
        groups = list(prior.groups(shapes_of(rows, cols)))
        for level, (r, c) in enumerate(shapes_of(rows, cols)):
            found = np.concatenate([g.positions for g in groups if g.level == level])
            assert sorted(found) == list(range(r * c)) and len(found) == r * c
    groups = [g.positions.tolist() for g in prior.groups([(2, 2), (2, 2)])]
    assert groups == [[0], [3], [1], [2], [0, 3], [1, 2]]


@pytest.mark.parametrize("rows, cols", [(1, 1), (1, 5), (3, 2), (13, 8), (2, 700)])
def test_round_trip_within_two_bytes_of_the_information(arrays, rows, cols):
    prior, rng = IntegerPrior(arrays, STRIDES), np.random.default_rng(3)
    shapes = shapes_of(rows, cols)
    levels, bits = [np.full(shape, -1, np.int32) for shape in shapes], 0.0
    for group in prior.groups(shapes):  # tokens as likely as the prior says
        counts = prior.counts(levels, group)
        tokens = np.array([rng.choice(len(row), p=row / row.sum()) for row in counts])
        bits += information(counts, tokens)
        levels[group.level].reshape(-1)[group.positions] = tokens
    coding, payload = encode_tokens(levels, prior)
    assert coding == Coding.RANGE or bits > 6 * sum(level.size for level in levels) - 16
    if coding == Coding.RANGE:
        assert bits / 8 - 1 <= len(payload) <= bits / 8 + 2
    back = decode_tokens(coding, payload, shapes, IntegerPrior(arrays, STRIDES))
    assert all(np.array_equal(a, b) for a, b in zip(levels, back, strict=True))


def test_what_one_backend_writes_another_reads(arrays):
    levels = [np.zeros(shape, np.int32) + 3 for shape in shapes_of(8, 8)]
    wide = IntegerPrior(arrays, STRIDES, lambda a, b: a.astype(np.float64) @ b.astype(np.float64))
    coding, payload = encode_tokens(levels, wide)
    back = decode_tokens(coding, payload, shapes_of(8, 8), IntegerPrior(arrays, STRIDES))
    assert all(np.array_equal(a, b) for a, b in zip(levels, back))


def test_weights_that_could_leave_the_exact_range_are_refused(arrays):
    units = arrays["near.1"].astype(np.int64)
    worst = 255 * (np.abs(units).sum(1) + np.abs(arrays["own.1"].astype(np.int64)).sum(1))
    bias = np.zeros_like(arrays["bias.near.1"])
    bias[0, 3] = integer.EXACT - 1 - worst[3]
    IntegerPrior({**arrays, "bias.near.1": bias}, STRIDES)
    bias[0, 3] += 1
    with pytest.raises(WrongWeights, match="level 1: a sum can reach 16777216"):
        IntegerPrior({**arrays, "bias.near.1": bias}, STRIDES)


@pytest.mark.parametrize("name, change", [
    ("down", None), ("own.2", None), ("exp", lambda a: a[:-1]), ("shift.down", lambda a: a - 20),
    ("out.1", lambda a: a[:-1]), ("groups", lambda a: a + 1), ("mix.0", lambda a: a[:, :-1]),
    ("out.0", lambda a: a.astype(np.float32)), ("near.2", lambda a: a[:, :72]),
    ("bias.down", lambda a: a[1:]), ("own.1", lambda a: a.astype(np.int32)), ("exp", lambda a: a.astype(np.int64)),
])  # fmt: skip
def test_wrong_tensors_are_refused(arrays, name, change):
    changed = {k: v for k, v in arrays.items() if k != name}
    if change:
        changed[name] = change(arrays[name])
    with pytest.raises(WrongWeights):
        IntegerPrior(changed, STRIDES)


def test_strides_must_divide(arrays):
    with pytest.raises(WrongWeights, match="multiple"):
        IntegerPrior(arrays, (2, 1, 2))


def test_it_needs_no_torch():
    code = "import sys, tok1d_codec.prior.integer; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
