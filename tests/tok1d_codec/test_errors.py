from __future__ import annotations

import pickle

import pytest

from bitstream import errors as format_errors
from tok1d_codec import errors

OURS, FORMAT = (
    [c for c in vars(m).values() if isinstance(c, type) and not issubclass(c, Warning)] for m in (errors, format_errors)
)
KINDS = dict.fromkeys(OURS + FORMAT)


def test_exit_codes_are_fixed_and_unique():
    ours = {c.__name__: c.exit_code for c in OURS}
    del ours["T1DError"]
    assert ours == {
        "BadPicture": 3,
        "OutputExists": 4,
        "MissingData": 5,
        "TrainingFailed": 6,
        "TargetTooSmall": 7,
        "PartialPicture": 8,
        "UnknownModel": 20,
        "WrongWeights": 21,
        "DeviceUnavailable": 22,
        "BadCheckpoint": 23,
    }
    codes = [*ours.values(), *(c.exit_code for c in FORMAT)]
    assert len(set(codes)) == len(codes) and not {0, 2} & set(codes)


def test_all_are_errors_of_a_user():
    assert all(issubclass(c, format_errors.T1DError) for c in OURS)


@pytest.mark.parametrize("kind", KINDS)
def test_they_come_out_of_another_process_as_they_were(kind):
    error = kind(600, 700) if kind is errors.TargetTooSmall else kind("what came")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error) and vars(again) == vars(error)
