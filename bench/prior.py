"""What the learned prior saves: `python -m bench.prior --data DIR` -> prior.json with the results.

The same tokens, packed plainly and range-coded with the prior's counts, checks and all; every patch keeps
the same number of levels.
"""

from __future__ import annotations

import time

import numpy as np

from bench import kodak_command
from bench.datasets import open_dataset
from bench.metrics import Reference
from bench.records import measured_with
from bitstream.checks import check_bits
from bitstream.coder import decode_prefix, encode_tokens
from bitstream.header import Coding
from bitstream.walk import Frame
from tok1d_codec.codec import GUESSES, decode_partial, encode, tokenize
from tok1d_codec.image.io import read_picture
from tok1d_codec.models.store import load_model

CUT_LEVELS, CUTS = 4, (0.35, 0.6, 0.85)  # of the file's bytes
LEVELS = (1, 2, 3, 4, 5, 6, 8, 11, 15)


def measure(data: str | None = None, count: int | None = None) -> dict:
    """Kodak in the folder `data`, only its first `count` pictures -> mean bytes, gains and seconds by levels.

    Returns:
        for each of LEVELS: bpp and bytes of the packed and the coded payload, percent saved, the largest
        distance of a payload to its information content in bytes, seconds to encode and decode it.
    """
    model, dataset = load_model("t1d", "cpu"), open_dataset("kodak", data).first(count)
    rows = {levels: [] for levels in LEVELS if levels <= model.card.levels}
    for file in dataset.files:
        pixels = read_picture(file).pixels
        for levels, row in rows.items():
            row.append(_one(tokenize(pixels, model, levels), model.prior, pixels.shape[0] * pixels.shape[1]))
    means = {str(k): {name: round(float(np.mean([r[name] for r in row])), 5) for name in row[0]}
             for k, row in rows.items()}
    for k, row in rows.items():
        means[str(k)]["off_bytes"] = round(max(r["off_bytes"] for r in row), 2)
    return {**measured_with(model), "pictures": len(dataset.files), "levels": means}


def measure_guesses(data: str | None = None, count: int | None = None) -> dict:
    """Kodak files of CUT_LEVELS levels, cut at each of CUTS -> mean LPIPS-Alex by what stands for missing tokens."""
    model, dataset = load_model("t1d", "cpu"), open_dataset("kodak", data).first(count)
    found = {cut: {guess: [] for guess in GUESSES} for cut in CUTS}
    for file in dataset.files:
        pixels = read_picture(file).pixels
        reference, whole = Reference(pixels), encode(pixels, model, levels=CUT_LEVELS)
        for cut, row in found.items():
            for guess, values in row.items():
                restored = decode_partial(whole[: int(cut * len(whole))], model, guess=guess)[0]
                values.append(reference.lpips_alex(restored))
    return {str(cut): {guess: round(float(np.mean(v)), 4) for guess, v in row.items()} for cut, row in found.items()}


def _one(tokens: list[np.ndarray], prior, pixels: int) -> dict[str, float]:
    """Tokens of a picture -> its figures."""
    frame = Frame(False, check_bits(len(tokens)), 0)
    packed_bits = sum(t.size * (n - 1).bit_length() + frame.check_bits for t, n in zip(tokens, prior.codebook_sizes))
    packed = -(-packed_bits // 8)
    start = time.perf_counter()
    coding, payload = encode_tokens(tokens, prior, frame)
    encoded = time.perf_counter()
    decoded = decode_prefix(coding, payload, [t.shape for t in tokens], prior, frame, cut=False)
    done = time.perf_counter()
    off = abs(len(payload) - sum(decoded.level_bits) / 8) if coding == Coding.RANGE else 0.0
    return {"bpp": 8 * len(payload) / pixels, "packed_bytes": packed, "coded_bytes": len(payload),
            "saved_percent": 100 * (1 - len(payload) / packed), "off_bytes": off,
            "encode_seconds": encoded - start, "decode_seconds": done - encoded}


def main() -> None:
    """Measure, print, and write to prior.json in `bench.results_folder`."""
    kodak_command(
        __doc__, lambda *which: {**measure(*which), "partial_lpips_alex": measure_guesses(*which)}, "prior.json"
    )


if __name__ == "__main__":
    main()
