"""Training the prior: the exact network is the trained one, it learns, it can be killed and resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bitstream.counts import Group
from tok1d_codec.cli import main
from tok1d_codec.errors import MissingData, OutputExists, WrongWeights
from tok1d_codec.models.store import read_weights
from tok1d_codec.prior.integer import EXACT, PREFIX, IntegerPrior, check
from tok1d_codec.prior.network import PriorNetwork, PriorShape
from tok1d_codec.tokenizer.search import choose, search
from tok1d_codec.train.batches import HIGH, LOW, Batch, ask, inside, phase_groups, random_thresholds, spread_thresholds
from tok1d_codec.train.loop import Hardware
from tok1d_codec.train.model_files import keep_prior
from tok1d_codec.train.prior import PriorConfig, PriorTrainer
from tok1d_codec.train.prior_figures import measure
from tok1d_codec.train.prior_run import _tokens
from tok1d_codec.train.state import RunFolder
from tok1d_codec.train.tokens import TokenSet, tokenize

SIZES, STRIDES = (12, 16, 16), (2, 1, 1)
SHAPE = PriorShape(features=12, near=6, hidden=16, blocks=1, code=8)
FLOAT32 = torch.autocast("cpu", enabled=False)


def network(seed: int = 0, scale: float = 0.3) -> PriorNetwork:
    torch.manual_seed(seed)
    net = PriorNetwork(SIZES, STRIDES, SHAPE)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
    return net


def token_set(count: int = 24, seed: int = 0) -> TokenSet:
    """Crops of 3 to 6 cells a side in which a cell's tokens follow from its level-0 token and its place."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (count, 1, 1)) + np.zeros((count, 6, 6), np.int64)
    fine = coarse.repeat(2, 1).repeat(2, 2) * 4 + np.arange(12) % 2
    shapes = rng.integers(3, 7, (count, 2))
    urgency = list(np.sort(rng.random((2, count, 12, 12)), axis=0)[::-1].astype(np.float32))
    deeper = fine ^ 1  # what a cell takes on the second level if it goes on to the third
    absent = np.full_like(fine, -1)
    levels = [coarse, np.stack([absent, fine, deeper], axis=1), np.stack([absent, absent, fine * 5 % 16], axis=1)]
    return TokenSet([level.astype(np.uint16) for level in levels], shapes, urgency, SIZES, STRIDES)


def trainer(folder: Path, **settings) -> PriorTrainer:
    config = PriorConfig(shape=SHAPE, minutes=100.0, batch=8, warmup_steps=5, rate=1e-2, **settings)
    made = PriorTrainer(config, token_set(), token_set(6, 1), RunFolder(folder), Hardware())
    rng = torch.Generator().manual_seed(0)
    made.start([torch.randn(n, 20, generator=rng) for n in SIZES])
    return made


def logits_of(prior: IntegerPrior, known: list[np.ndarray], group: Group) -> np.ndarray:
    """-> float64 (m, n) in nats, up to a constant of the row: what `IntegerPrior.counts` makes counts of."""
    weight, bias = prior._layer(f"out.{group.level}", f"bias.out.{group.level}", "shift.out", group.level)
    return (prior._code(known, group) @ weight + bias).astype(np.float64) / 32


@pytest.mark.parametrize("scale", [0.02, 0.3, 3.0])
def test_conversion_changes_nothing(scale):
    """Float32 logits of the rounded network are the integers of the exact one, to the last bit."""
    net, tokens = network(scale=scale), token_set(4)
    prior = IntegerPrior(net.to_arrays(), STRIDES)
    batch = Batch.of(tokens, np.arange(4), random_thresholds(tokens, np.arange(4), 0.0))
    for level in range(3):
        logits, _ = ask(net, batch, [level], FLOAT32, quantize=True, all_groups=True)[level]
        rows, cols = batch.levels[level].shape[1:]
        groups, found = phase_groups(rows, cols, net.groups[level]), []
        for part in range(net.groups[level]):
            for i in range(4):
                known = [level_tokens[i].clone() for level_tokens in batch.levels]
                now = (groups == part) & (known[level] >= 0)
                known[level][groups >= part] = -1
                positions = np.flatnonzero(now.numpy())
                if len(positions):
                    known = [k.numpy().astype(np.int32) for k in known]
                    found.append(logits_of(prior, known, Group(level, positions)))
        assert np.array_equal(np.concatenate(found), logits.detach().double().numpy())


@pytest.mark.parametrize("scale", [0.02, 0.3, 3.0])
def test_an_exact_prior_can_be_trained_on(scale, tmp_path):
    arrays, other = network(1, scale).to_arrays(), network(2)
    other.from_arrays(arrays)
    again = other.to_arrays()
    assert arrays.keys() == again.keys() and all(np.array_equal(arrays[k], again[k]) for k in arrays)
    further = trainer(tmp_path)
    further.go_on(other)
    assert all(np.array_equal(array, further.averaged().to_arrays()[k]) for k, array in arrays.items())
    for change in ({"hidden": 24}, {"blocks": 2}):
        with pytest.raises(ValueError, match="another shape"):
            other.from_arrays(PriorNetwork(SIZES, STRIDES, replace(SHAPE, **change)).to_arrays())


def test_scales_keep_any_weights_within_bounds():
    for scale in (1e-3, 1.0, 20.0):
        arrays = network(1, scale).to_arrays()
        check(arrays, STRIDES)  # raises, if not
        largest = max(np.abs(a.astype(int)).max() for k, a in arrays.items() if a.dtype == np.int8)
        assert largest <= 127 and max(np.abs(a.astype(int)).max() for a in arrays.values()) < EXACT
    assert arrays["exp"][0] == 2**20 and arrays["exp"][-1] == 0 and (np.diff(arrays["exp"]) <= 0).all()


def test_it_starts_as_the_static_tables():
    tokens, net = token_set(), PriorNetwork(SIZES, STRIDES, SHAPE)
    hits = [tokens.hits(level) for level in range(3)]
    with torch.no_grad():
        net.down.zero_()
    net.start_from([torch.randn(n, 20) for n in SIZES], hits)
    figures = measure(net, hits, token_set(6, 1))
    assert figures["none"] == [round(float(np.log2(n)), 4) for n in SIZES]
    assert figures["float"] == pytest.approx(figures["static"], abs=0.02)
    assert figures["exact"] == pytest.approx(figures["static"], abs=0.05)


def test_batches_hold_what_is_urgent_in_the_crop():
    tokens, chosen, threshold = token_set(), np.array([3, 5]), torch.tensor([0.5, 0.2])
    batch = Batch.of(tokens, chosen, threshold)
    urgency = [torch.from_numpy(level[chosen]) for level in tokens.urgency]
    depth = 1 + sum((ranks > threshold[:, None, None]).long() for ranks in urgency)
    for level, found in enumerate(batch.levels):
        here = inside(torch.from_numpy(tokens.shapes[chosen]), STRIDES[level], found.shape[1:])
        expected = here if level == 0 else here & (depth > level)
        assert torch.equal(found >= 0, expected) and expected.any()
        stored = torch.from_numpy(tokens.levels[level][chosen].astype(np.int64))
        if level == 1:
            stored = torch.where(depth == 2, stored[:, 1], stored[:, 2])
        elif level == 2:
            stored = stored[:, 2]
        assert torch.equal(found[expected], stored[expected])


def test_thresholds_cover_all_rates():
    torch.manual_seed(0)
    tokens, chosen = token_set(24), np.arange(24).repeat(50)
    assert (random_thresholds(tokens, chosen, 1.0) == -1).all()
    drawn = random_thresholds(tokens, chosen, 0.1)
    assert 0.05 < (drawn == -1).float().mean() < 0.15
    of_the_second = torch.from_numpy(tokens.urgency[0][chosen]).flatten(1) == drawn[:, None]
    assert 0.08 < of_the_second.any(1).float().mean() < 0.2
    spread = spread_thresholds(torch.linspace(0, 1, 3))
    assert spread[0] == HIGH and spread[2].item() == pytest.approx(LOW) and spread.diff().max() < 0


def test_it_learns_what_static_tables_cannot(tmp_path):
    made = trainer(tmp_path)
    made.optimizer.param_groups[0]["lr"] = 1e-2
    for _ in range(150):
        bits = made.train_step()
        assert set(bits) <= {0, 1, 2}
    figures = made.validate()
    assert all(figures["exact"][level] < 0.5 * figures["static"][level] for level in (1, 2))
    saved = figures["saved"]["3 levels"]
    assert figures["kept"] > 0.9 and saved["exact"] > saved["static"]
    assert RunFolder(tmp_path).records()[-1]["validation"] == figures


def test_bf16_and_float_training_take_a_step(tmp_path):
    made = trainer(tmp_path, quantize=False)
    made.hardware = replace(made.hardware, bf16=True)
    assert all(0 < bits < 20 for bits in made.train_step().values())


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    made = trainer(tmp_path)
    for _ in range(3):
        made.train_step()
    made.save()
    expected = [made.train_step() for _ in range(3)]
    again = trainer(tmp_path)
    again.resume()
    assert again.step == 3
    for before, after in zip(expected, [again.train_step() for _ in range(3)]):
        assert after == pytest.approx(before, rel=1e-3)


def test_tokens_are_those_of_the_encoder(tiny_model, tmp_path):
    from skimage.data import astronaut

    pictures = [np.ascontiguousarray(astronaut()[: 130 + 20 * i, 50:250]) for i in range(3)]
    found = tokenize(tiny_model.tokenizer, pictures, 1, centred=True)
    for i, rows in enumerate((4, 4, 4)):  # one batch has one size: whole patches of its smallest picture
        assert found.shapes[i].tolist() == [rows, 6]
        height, top = pictures[i].shape[0], (pictures[i].shape[0] - 128) // 2
        crop = torch.from_numpy(pictures[i][top : top + 128, 4:196].copy()).permute(2, 0, 1)[None] / 255
        expected, _ = search(tiny_model.tokenizer.quantizer, tiny_model.tokenizer.latents(crop))
        whole = Batch.of(found, np.array([i]), torch.tensor([-1.0])).levels
        for level, index in zip(whole, choose(expected, torch.full((1, 1, rows, 6), 3))):
            level = level[0, : index.shape[1], : index.shape[2]]
            assert (level == index[0]).float().mean() > 0.9, height  # [0, 1] and back may move a tie
    found.save(tmp_path / "a.tokens")
    again = TokenSet.load(tmp_path / "a.tokens")
    assert all(np.array_equal(a, b) for a, b in zip(found.levels, again.levels))
    assert (again.codebook_sizes, again.strides) == (found.codebook_sizes, found.strides)
    with pytest.raises(MissingData, match="no tokens"):
        TokenSet.load(tmp_path / "b.tokens")


def test_tokens_made_from_something_else_are_made_anew(tiny_model, to_train_from, tmp_path):
    def tokens(rounds: int, there: bool) -> TokenSet:
        return _tokens(tmp_path, tiny_model.tokenizer, [str(to_train_from[0])], [], rounds, 0, there)[0]

    assert len(tokens(1, False)) == 4
    made = (tmp_path / "train.tokens").stat().st_mtime_ns
    assert len(tokens(1, False)) == len(tokens(2, True)) == 4 and (tmp_path / "train.tokens").stat().st_mtime_ns == made
    assert len(tokens(2, False)) == 8
    (to_train_from[0] / "train" / "0.png").unlink()
    assert len(tokens(2, False)) == 6


def test_the_command_trains_exports_and_resumes(tmp_path, to_train_from, capsys):
    photos, weight_file = to_train_from
    weights = load_file(weight_file)
    weights.pop("tables.0")
    out = tmp_path / "run"
    command = ["train", "prior", "--out", str(out), "--threads", "1", "--model", str(weight_file)]
    assert main(command) == MissingData.exit_code
    assert main([*command, "--data", str(photos), "--minutes", "0.01"]) == 0
    said = capsys.readouterr().out
    assert "exact" in said and "model.safetensors" in said
    whole = load_file(out / "model.safetensors")
    learned = {k.removeprefix(PREFIX): v.numpy() for k, v in whole.items() if k.startswith(PREFIX)}
    assert IntegerPrior(learned, (2, 1, 1)).codebook_sizes == (16, 32, 32)
    assert "tables.0" not in whole and all(torch.equal(whole[k], v) for k, v in weights.items())
    assert main(command + ["--tokens", str(out)]) == OutputExists.exit_code
    trained = json.loads((out / "log.jsonl").read_text().splitlines()[-1])["minutes"]
    assert main([*command, "--resume", "--minutes", str(trained + 0.01)]) == 0
    (kept,) = out.glob("model-????????.safetensors")  # files may have been made with it
    assert str(kept) in capsys.readouterr().err
    assert torch.equal(load_file(kept)["prior.embed.0"], whole["prior.embed.0"])
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert records[-1]["step"] > records[0]["step"] and "kept" in records[-1]["validation"]

    # what is wrong with the model is said before pictures are looked for
    rest = ["--data", str(tmp_path / "none"), "--out", str(tmp_path / "further"), "--go-on", "--minutes", "0.01", "--threads", "1"]
    assert main(["train", "prior", "--model", str(weight_file), *rest]) == MissingData.exit_code
    assert "no prior" in capsys.readouterr().err
    shape = PriorShape(features=8, near=4, hidden=8, blocks=1, code=8)
    small = {PREFIX + k: torch.from_numpy(v) for k, v in PriorNetwork((16, 32, 32), (2, 1, 1), shape).to_arrays().items()}
    save_file(weights | small, tmp_path / "small.safetensors", metadata=read_weights(weight_file, "pt")[0])
    assert main(["train", "prior", "--model", str(tmp_path / "small.safetensors"), *rest]) == MissingData.exit_code
    assert "another shape" in capsys.readouterr().err
    other = weights | {"decoder.norm.bias": weights["decoder.norm.bias"] + 1}  # of the same shapes
    save_file(other, tmp_path / "other.safetensors", metadata=read_weights(weight_file, "pt")[0])
    resumed = ["train", "prior", "--out", str(out), "--threads", "1", "--minutes", "0.05", "--resume"]
    assert main([*resumed, "--model", str(tmp_path / "other.safetensors")]) == MissingData.exit_code
    assert "tokens of another model" in capsys.readouterr().err
    again = ["train", "prior", "--model", str(out / "model.safetensors"), "--tokens", str(out)]
    assert main([*again, *rest]) == 0


@pytest.mark.parametrize("command", ["prior", "fine"])
def test_what_is_no_model_to_start_from_is_said_before_pictures_are_read(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.safetensors").write_bytes(b"damaged")
    save_file({"a": torch.zeros(1)}, tmp_path / "prior.safetensors", metadata={"format": "t1d prior"})
    for model, error in (("bad.safetensors", MissingData), ("none.safetensors", MissingData),
                         ("prior.safetensors", WrongWeights), ("titok-l32", WrongWeights)):  # fmt: skip
        assert main(["train", command, "--out", "out", "--data", ".", "--model", model]) == error.exit_code
        said = capsys.readouterr().err
        assert said.startswith("t1d: ") and said.count("\n") == 1 and model in said


def test_a_prior_kept_at_an_earlier_start_does_not_stay(tmp_path):
    path = tmp_path / "kept-prior.safetensors"
    keep_prior({"prior.a": torch.ones(1), "decoder.a": torch.ones(1)}, path)
    assert list(load_file(path)) == ["prior.a"]
    keep_prior({"decoder.a": torch.ones(1)}, path)
    assert not path.exists()
