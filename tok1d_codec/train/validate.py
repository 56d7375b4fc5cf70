"""Figures, example pictures and a plot of a tokenizer in training, on pictures it does not train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.crops import to_signed
from ..nn.lpips import LPIPS
from ..tokenizer.t1d import T1DTokenizer
from .state import RunFolder

CHUNK = 8  # pictures at once
EXAMPLES = 6


class Validation:
    """Held-out crops, uint8 (N, side, side, 3), and how a model does on them."""

    def __init__(self, crops: Tensor) -> None:
        self.crops = crops

    def measure(self, model: T1DTokenizer, lpips: LPIPS, folder: Path, step: int) -> dict:
        """-> {"levels", "bpp" (packed tokens only), "psnr" dB, "lpips_alex", "usage" of each codebook}."""
        device = next(model.parameters()).device
        levels = sorted({1, 2, 3, 4, 6, 8, len(model.codebook_sizes)} & set(range(len(model.codebook_sizes) + 1)))
        sums = {k: np.zeros(2) for k in levels}
        used: list[list[Tensor]] = [[] for _ in model.codebook_sizes]
        for number, part in enumerate(self.crops.split(CHUNK)):
            images = to_signed(part).to(device)
            indices = model.encode((images + 1) / 2)
            for seen, index in zip(used, indices):
                seen.append(index.flatten())
            for k in levels:
                restored = model.decode(indices[:k], *images.shape[-2:]).mul(255).round().div(127.5).sub(1)
                with torch.no_grad():
                    psnr = -10 * ((restored - images) / 2).square().mean((1, 2, 3)).log10()
                    sums[k] += psnr.sum().item(), lpips(restored, images).sum().item()
            if number == 0:
                self._examples(model, images[:EXAMPLES], indices, levels, folder / f"examples-{step:07d}.png")
        pixels = self.crops.shape[1] * self.crops.shape[2]
        bits = np.cumsum([
            np.log2(size) * torch.cat(u).numel() / len(self.crops) for size, u in zip(model.codebook_sizes, used)
        ])  # fmt: skip
        return {
            "levels": levels,
            "bpp": [round(bits[k - 1] / pixels, 5) for k in levels],
            "psnr": [round(sums[k][0] / len(self.crops), 3) for k in levels],
            "lpips_alex": [round(sums[k][1] / len(self.crops), 4) for k in levels],
            "usage": [round(_perplexity(torch.cat(u), n) / n, 3) for u, n in zip(used, model.codebook_sizes)],
        }

    def _examples(self, model: T1DTokenizer, images: Tensor, indices: list[Tensor], levels: list[int], path: Path) -> None:
        """A sheet: a row a picture, the original first, then every measured number of levels."""
        columns = [(images + 1) / 2]
        for k in levels:
            columns.append(model.decode([i[: len(images)] for i in indices[:k]], *images.shape[-2:]))
        sheet = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)  # (3, rows, cols)
        Image.fromarray(sheet.mul(255).round().byte().permute(1, 2, 0).cpu().numpy()).save(path)

    def plot(self, run: RunFolder) -> None:
        """The run's log -> progress.png: losses, and validation PSNR and LPIPS by level."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        records = run.records()
        steps = [r for r in records if "validation" not in r]
        checks = [r for r in records if "validation" in r]
        figure, (losses, psnr, lpips) = pyplot.subplots(1, 3, figsize=(15, 4), layout="constrained")
        for name in ("mse", "alex", "vgg", "commitment"):
            points = [(r["minutes"], r[name]) for r in steps if name in r]
            if points:
                losses.semilogy(*zip(*points), label=name)
        for axis, name in ((psnr, "psnr"), (lpips, "lpips_alex")):
            for i, level in enumerate(checks[-1]["validation"]["levels"]):
                axis.plot([r["minutes"] for r in checks], [r["validation"][name][i] for r in checks], label=f"{level} levels")  # fmt: skip
            axis.set_title(f"validation {name}")
        for axis in (losses, psnr, lpips):
            axis.set_xlabel("minutes")
            axis.legend(fontsize=7)
        figure.savefig(run.path / "progress.png", dpi=90)
        pyplot.close(figure)


def _perplexity(indices: Tensor, size: int) -> float:
    """Indices -> effective number of codes in use, 1 to size."""
    share = torch.bincount(indices, minlength=size).double() / len(indices)
    return float(torch.special.entr(share).sum().exp())
