"""Imports point downward only: the layers of the project, read from its source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = {
    "bitstream": 0,
    "tok1d_codec.boxes": 1, "tok1d_codec.config": 1, "tok1d_codec.errors": 1,
    "tok1d_codec.device": 2, "tok1d_codec.image": 2, "tok1d_codec.nn": 2,
    "tok1d_codec.data": 3, "tok1d_codec.tokenizer": 3, "tok1d_codec.prior": 3,
    "tok1d_codec.models": 4, "tok1d_codec.rate": 4, "tok1d_codec.effort": 4, "tok1d_codec.regions": 4,
    "tok1d_codec.tensors": 4,
    "tok1d_codec.codec": 5,
    "tok1d_codec.api": 6, "tok1d_codec.facts": 6, "tok1d_codec.pillow": 7,
    "tok1d_codec": 6,  # its lazy public names
    "tok1d_codec.train": 6, "bench": 6,
    "tok1d_codec.cli": 7,
}  # fmt: skip


def _layer(module: str) -> tuple[str, int] | None:
    """Dotted module -> the longest listed package that holds it, and its layer."""
    found = [name for name in LAYERS if module == name or module.startswith(name + ".")]
    return (max(found, key=len), LAYERS[max(found, key=len)]) if found else None


def _imports(file: Path) -> list[str]:
    package = ".".join(file.relative_to(ROOT).parent.parts)
    modules = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, *([node.module] if node.module else [])])
            modules += [f"{base}.{alias.name}" for alias in node.names]
    return modules


def test_imports_point_downward():
    wrong = []
    files = [f for top in ("bitstream", "bench", "tok1d_codec") for f in (ROOT / top).rglob("*.py")]
    assert len(files) > 30
    for file in files:
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        here, layer = _layer(module)
        assert here != "tok1d_codec" or module == here, f"{module} has no layer"
        for target in map(_layer, _imports(file)):
            if target and target[0] != here and target[1] >= layer and "tok1d_codec" not in (target[0], here):
                wrong.append(f"{module} (layer {layer}) imports {target[0]} (layer {target[1]})")
    assert not wrong


def test_only_the_symbols_import_constriction():
    users = [f for top in ("bitstream", "bench", "tok1d_codec") for f in (ROOT / top).rglob("*.py")]
    users = [f.name for f in users if any(m.split(".")[0] == "constriction" for m in _imports(f))]
    assert users == ["symbols.py"]


def test_files_stay_short():
    files = [f for top in ("bitstream", "bench", "tok1d_codec", "tests") for f in (ROOT / top).rglob("*.py")]
    assert not [f.name for f in files if len(f.read_text().splitlines()) > 300]
