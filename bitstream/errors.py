"""The errors of the file format, each with the exit code of the command line.

Every message is one line: what came, what is allowed, what to do.
"""

from __future__ import annotations


class T1DError(Exception):
    """Base of every error that a user can cause. `exit_code` is the status of the process."""

    exit_code: int = 1


class FormatError(T1DError):
    """The bytes break a rule of SPEC.md that has no class of its own."""

    exit_code = 15


class BadMagic(FormatError):
    """The bytes do not start like a t1d file."""

    exit_code = 10


class UnsupportedVersion(FormatError):
    """A t1d file, but of a format version that this code does not know."""

    exit_code = 11


class Truncated(FormatError):
    """The bytes end before the file does."""

    exit_code = 12


class ChecksumMismatch(FormatError):
    """The decoded tokens are not those that were encoded."""

    exit_code = 13


class LimitExceeded(FormatError):
    """A size in the header is larger than a decoder accepts."""

    exit_code = 14
