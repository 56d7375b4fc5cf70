from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import bitstream
from bitstream import errors

FOLDER = Path(bitstream.__file__).parent


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, bitstream, bitstream.errors, bitstream.header\n"
        "print(sorted({'numpy', 'constriction', 'torch', 'PIL'} & set(sys.modules)))"
    )
    output = subprocess.check_output([sys.executable, "-c", code], cwd=FOLDER.parent, text=True)
    assert output.strip() == "[]"


def test_it_imports_only_what_it_may():
    allowed = {"bitstream", "numpy", *sys.stdlib_module_names}
    for path in FOLDER.glob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.split(".")[0])
        more = {"constriction"} if path.name == "symbols.py" else set()
        assert names <= allowed | more, path.name


def test_every_public_name_is_there():
    assert all(getattr(bitstream, name) is not None for name in bitstream.__all__)
    with pytest.raises(AttributeError):
        bitstream.nothing  # noqa: B018


def test_the_example_of_the_docstring_runs(toy, draw, seed):
    names = {name: getattr(bitstream, name) for name in bitstream.__all__}
    given = {"levels": draw([(2, 3)] * 2, (8, 8)), "model": toy((8, 8)), "seed": seed}
    parsed = doctest.DocTestParser().get_doctest(bitstream.__doc__, names | given, "bitstream", None, 0)
    assert parsed.examples and doctest.DocTestRunner().run(parsed).failed == 0


def test_exit_codes():
    codes = {c.__name__: c.exit_code for c in vars(errors).values() if isinstance(c, type)}
    assert codes == {
        "T1DError": 1,
        "FormatError": 15,
        "BadMagic": 10,
        "UnsupportedVersion": 11,
        "Truncated": 12,
        "ChecksumMismatch": 13,
        "LimitExceeded": 14,
    }
    assert all(issubclass(getattr(errors, name), errors.FormatError) for name in list(codes)[1:])
