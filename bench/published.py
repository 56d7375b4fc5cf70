"""Kodak figures that others published, for orientation in the plots: not measured here.

Each point is (bpp, PSNR in dB, MS-SSIM, LPIPS), as the papers report them. Their LPIPS is known to be of
AlexNet, as ours is, only for those in LPIPS_WITH_ALEXNET.
"""

from __future__ import annotations

LPIPS_WITH_ALEXNET = ("StableCodec",)
FIGURES = ("bpp", "psnr-rgb", "ms-ssim-rgb", "lpips-alex")
KODAK: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "VTM": ((.0205, 24.02, .785, .569), (.0340, 25.25, .833, .495), (.0680, 27.01, .886, .396)),
    "HiFiC": ((.0489, 24.08, .823, .255), (.0790, 25.14, .863, .179)),
    "MS-ILLM": ((.0447, 24.73, .846, .158), (.0809, 25.92, .890, .110)),
    "VQIR": ((.0223, 20.36, .645, .388), (.0780, 22.01, .777, .187)),
    "DiffEIC": ((.0201, 19.57, .649, .319), (.0375, 21.19, .740, .238), (.0609, 22.52, .808, .171)),
    "StableCodec": ((.0058, 20.27, .643, .310), (.0108, 21.31, .712, .244), (.0203, 22.30, .774, .195),
                    (.0341, 23.01, .812, .166)),
    "PerCo": ((.0324, 19.53, .674, .297),),
}


def points(name: str, metric: str) -> tuple[list[float], list[float]]:
    """A codec in KODAK and a metric in FIGURES -> its bpp and its values of that metric."""
    column = FIGURES.index(metric)
    return [point[0] for point in KODAK[name]], [point[column] for point in KODAK[name]]
