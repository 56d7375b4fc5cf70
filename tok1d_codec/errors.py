"""Errors above the file format: pictures, outputs, data, models and devices.

The codes are part of the command line's interface: none is ever reused. 2 is click's own, for usage.
"""

from __future__ import annotations

from bitstream.errors import T1DError


class BadPicture(T1DError):
    """The input is not a picture that can be read."""

    exit_code = 3


class OutputExists(T1DError):
    """The output file is there already and `--force` was not given."""

    exit_code = 4


class MissingData(T1DError):
    """A data set or file that a command needs is not there."""

    exit_code = 5


class TrainingFailed(T1DError):
    """A training run diverged."""

    exit_code = 6


class TargetTooSmall(T1DError):
    """No file of this picture is as small as was asked; the smallest one has `least_bytes`."""

    exit_code = 7

    def __init__(self, limit_bytes: int, least_bytes: int) -> None:
        super().__init__(f"{limit_bytes} bytes are asked for; the smallest file of this picture has {least_bytes}")
        self.limit_bytes, self.least_bytes = limit_bytes, least_bytes

    def __reduce__(self) -> tuple[type, tuple[int, int]]:
        return type(self), (self.limit_bytes, self.least_bytes)  # what it was made from is not its message


class PartialPicture(T1DError):
    """A picture was made, but of a part of its file; `--partial` had allowed it."""

    exit_code = 8


class PartialPictureWarning(UserWarning):
    """The same in Python, where the picture is returned."""


class UnknownModel(T1DError):
    """No model card has this id or name."""

    exit_code = 20


class WrongWeights(T1DError):
    """The weight file is not the one that a card or a t1d file names."""

    exit_code = 21


class DeviceUnavailable(T1DError):
    """The device that was asked for is not in this machine."""

    exit_code = 22


class BadCheckpoint(T1DError):
    """A foreign checkpoint is damaged, of another model, or of a kind that is not supported."""

    exit_code = 23
