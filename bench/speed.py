"""How fast and how frugal t1d is on this machine: `python -m bench.speed` -> speed.json with the results.

Seconds are the best of several runs. The share of the matmul rate is what the networks' multiplications
would take at the speed of one large float32 matrix product, over what encoding or decoding takes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.data import astronaut
from torch.utils.flop_counter import FlopCounterMode

from bench import report
from bench.records import measured_with
from tok1d_codec.codec import decode, encode
from tok1d_codec.models.store import load_model

KODAK = (768, 512)  # pixels
LARGE = (6000, 4000)
RUNS = 7
EFFORTS = (1, 3, 5, 9)


def measure() -> dict:
    """-> seconds, GFLOP and share of the matmul rate for a Kodak-sized picture with a face and text; memory for a large one."""
    model = load_model("t1d", "cpu")
    pixels = _picture(KODAK)
    data = encode(pixels, model)
    rate = _matmul_rate()
    result = {
        **measured_with(model),
        "matmul_gflops": round(rate / 1e9, 1),
        "encode": _timed(lambda: encode(pixels, model), rate),
        "encode_plain": _timed(lambda: encode(pixels, model, faces=False, text=False), rate),
        "decode": _timed(lambda: decode(data, model), rate),
        "effort_seconds": {str(effort): _seconds(lambda: encode(pixels, model, effort=effort)) for effort in EFFORTS},
    }
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.png", Path(folder) / "large.png"
        Image.fromarray(pixels).save(small)
        Image.fromarray(_picture(LARGE)).save(large, compress_level=1)
        result["process_effort0"] = _process("encode", small, "--effort", "0")
        result["process"] = {**_process("encode", small, "--force"), **_process("decode", small.with_suffix(".t1d"))}
        result["process_6000x4000"] = {**_process("encode", large),
                                       **_process("decode", large.with_suffix(".t1d"))}
    return result


def _picture(size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(astronaut()).resize(size, Image.Resampling.BICUBIC))


def _matmul_rate(side: int = 2048) -> float:
    """-> floating-point operations a second of one square float32 product."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    return 2 * side**3 / _best(lambda: a @ b)


def _timed(call: Callable, rate: float) -> dict[str, float]:
    with FlopCounterMode(display=False) as counter:
        call()
    seconds, flops = _best(call), counter.get_total_flops()
    share = flops / rate / seconds
    return {"seconds": round(seconds, 3), "gflop": round(flops / 1e9, 1), "share": round(share, 2)}


def _seconds(call: Callable) -> float:
    """-> seconds of one call, for what takes long enough to be measured once."""
    start = time.perf_counter()
    call()
    return round(time.perf_counter() - start, 1)


def _best(call: Callable) -> float:
    """-> seconds of the fastest of RUNS calls, after one that warms up."""
    call()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _process(command: str, source: Path, *options: str) -> dict[str, float]:
    """The command in a process of its own -> its seconds and the most memory it held, in GB."""
    target = source.with_suffix(".t1d" if command == "encode" else ".out.png")
    run = "import resource, sys; from tok1d_codec.cli import main; code = main(sys.argv[1:]); " \
          "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    arguments = [sys.executable, "-c", run, command, str(source), str(target), *options]
    start = time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, check=True)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    gigabytes = int(done.stdout.split()[-1]) * unit / 1e9
    return {f"{command}_seconds": round(seconds, 2), f"{command}_gigabytes": round(gigabytes, 2)}


def main() -> None:
    """Measure, print, and write to speed.json in `bench.results_folder`."""
    report(measure(), "speed.json")


if __name__ == "__main__":
    main()
