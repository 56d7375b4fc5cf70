from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bitstream.errors import ChecksumMismatch, FormatError, LimitExceeded, Truncated
from tok1d_codec import codec
from tok1d_codec.errors import BadPicture, UnknownModel, WrongWeights
from tok1d_codec.models import store
from tok1d_codec.models.cards import CARDS
from tok1d_codec.prior.static import StaticTables, table_from_hits


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (33, 31), (96, 160)])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_round_trip_keeps_every_token(tiny_model, photo, size, levels):
    pixels = np.resize(photo, (*size, 3))
    data = codec.encode(pixels, tiny_model, levels)
    container = codec.unpack(data)
    tokens = codec.read_tokens(container, tiny_model.card, tiny_model.prior).levels
    assert [t.shape for t in tokens] == tiny_model.card.token_shapes(*size, levels)
    decoded = codec.decode(data, tiny_model)
    assert decoded.shape == pixels.shape and decoded.dtype == np.uint8
    assert np.array_equal(decoded, codec.decode(data, tiny_model))
    assert codec.encode(pixels, tiny_model, levels) == data


def test_levels_beyond_the_model(tiny_model, photo):
    for levels in (0, 4):
        with pytest.raises(ValueError, match="1 to 3"):
            codec.encode(photo, tiny_model, levels)


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_other_arrays_are_refused(tiny_model, bad):
    with pytest.raises(BadPicture, match="uint8"):
        codec.encode(bad, tiny_model)


def test_a_side_over_the_limit(tiny_model):
    with pytest.raises(LimitExceeded, match="65535"):
        codec.encode(np.broadcast_to(np.uint8(0), (1, 65536, 3)), tiny_model)


def test_every_flipped_bit_and_every_cut_is_an_error(tiny_model, photo):
    data = codec.encode(photo[:64, :64], tiny_model)
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises((FormatError, WrongWeights, UnknownModel)):
            codec.decode(bytes(broken), tiny_model)
    for end in range(len(data)):
        with pytest.raises(Truncated):
            codec.decode(data[:end], tiny_model)


def test_other_weights_with_the_same_tag_do_not_pass(tiny_model, photo):
    data = codec.encode(photo, tiny_model)
    sha256 = tiny_model.card.sha256
    other = replace(tiny_model, card=replace(tiny_model.card, sha256=sha256[:-1] + "0f"[sha256[-1] == "0"]))
    with pytest.raises(ChecksumMismatch):
        codec.decode(data, other)
    other = replace(tiny_model, card=replace(tiny_model.card, sha256="00" + sha256[2:]))
    with pytest.raises(WrongWeights, match="weights tag"):
        codec.decode(data, other)


def test_no_pixels_are_made_before_the_tokens_are_proven(tiny_model, photo, monkeypatch):
    data = bytearray(codec.encode(photo, tiny_model))
    data[-4] ^= 1
    monkeypatch.setattr(type(tiny_model.tokenizer), "decode", lambda *_: pytest.fail("decoded wrong tokens"))
    with pytest.raises(ChecksumMismatch):
        codec.decode(bytes(data), tiny_model)


def test_a_limit_on_pixels_holds_before_the_model_runs(tiny_model, photo):
    data = codec.encode(photo, tiny_model)
    with pytest.raises(LimitExceeded):
        codec.decode(data, tiny_model, max_pixels=photo[..., 0].size - 1)


def test_a_file_of_an_unknown_model(tiny_model, photo):
    with pytest.raises(UnknownModel, match="unknown model id 200"):
        codec.decode(codec.encode(photo, tiny_model))


def test_tables_sum_to_what_the_coder_needs():
    for hits in (np.zeros(5, int), np.array([10**9, 0, 0]), np.arange(1024)):
        table = table_from_hits(hits)
        assert table.sum() == 2**24 - len(hits) and table.min() >= 0
    assert StaticTables([table]).codebook_sizes == (1024,)


def test_ids_and_names_are_given_once():
    assert [card.id for card in CARDS] == list(range(1, len(CARDS) + 1))
    assert len({card.name for card in CARDS}) == len(CARDS)


def test_a_changed_weight_file_is_refused(tmp_path, monkeypatch, tiny_model):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    (tmp_path / tiny_model.card.file).write_bytes(b"other")
    with pytest.raises(WrongWeights, match="reinstall"):
        store.weight_path(tiny_model.card)
