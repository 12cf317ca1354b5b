"""From the name of a checkpoint to the folder that holds it."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import CheckpointError

BUNDLED = "bundled"

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# No code, no other framework's weights.
_PATTERNS = ["*.json", "*.safetensors", "*.bin", "*.model", "merges.txt"]


def resolve(
    name: str | None = None, *, download: bool = False, revision: str | None = None
) -> Path:
    """The folder of a checkpoint: "bundled" or None, a folder, or a Hugging Face model id.

    A model id is looked up in the local cache, and fetched only with `download`.  Raises
    CheckpointError where there is nothing of that name.
    """
    if name is None or name == BUNDLED:
        folder = Path(__file__).parent / BUNDLED
        if not (folder / "config.json").is_file():
            raise CheckpointError("the bundled checkpoint is missing: install the package again")
        return folder
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{name}: give the folder that holds config.json, not a file in it")
    if not _HUB_ID.fullmatch(name):
        raise CheckpointError(f"{name}: no such checkpoint folder")
    return _from_hub(name, download, revision)


def _from_hub(name: str, download: bool, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError:
        raise CheckpointError(
            f"{name}: no such folder; to use it as a model id: pip install huggingface_hub"
        ) from None
    try:
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=_PATTERNS, local_files_only=not download
            )
        )
    except LocalEntryNotFoundError as e:
        where = "could not be downloaded" if download else "is not in the local cache"
        raise CheckpointError(f"{name}: no such folder, and as a model id it {where}") from e
    except (OSError, ValueError) as e:
        raise CheckpointError(f"{name}: could not be fetched: {str(e).splitlines()[0]}") from e
