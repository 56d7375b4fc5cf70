"""Released models from the Hugging Face hub -> the user's model folder."""

from __future__ import annotations

from pathlib import Path

from ..errors import MissingData
from .imported import import_target, import_titok
from .released import released

FILES = ("config.json", "model.safetensors")


def fetch(name: str, force: bool = False) -> Path:
    """Name of a released model -> its imported weight file, downloaded with the hub's own progress bar.

    The hub keeps the downloaded files in its cache too, so that a download that broke off goes on.

    Raises:
        MissingData: huggingface_hub is not installed, or the hub cannot be reached. Else as `import_titok`.
    """
    row = released(name)
    import_target(name, force)  # before gigabytes are fetched
    by_hand = (
        f"download {' and '.join(FILES)} from https://huggingface.co/{row.hub} into a folder "
        f"and run t1d models import {name} FOLDER"
    )
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        said = "huggingface_hub is not installed; pip install huggingface_hub"
        raise MissingData(f"{said}, or {by_hand}") from None
    try:
        paths = [Path(hf_hub_download(repo_id=row.hub, filename=file)) for file in FILES]
    except Exception as error:  # the hub has a dozen kinds, from two HTTP libraries, for being out of reach
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise MissingData(f"cannot fetch {name} ({reason}); when offline, {by_hand}") from error
    return import_titok(name, paths[-1].parent, force)
