"""From the name of a checkpoint to the files that hold it."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import CheckpointError
from .weights import has_weights, weight_files

BUNDLED = "bundled"

# Of a model id and, after an @, a branch, a tag or a commit; ./model and ../model are folders.
_HUB_ID = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[\w./-]+))?")
# No code, no other framework's weights, no training's states; pickles where there is nothing else.
_SAFE = ["*.json", "*.safetensors", "*.model", "merges.txt"]
_PICKLED = [*_SAFE, "pytorch_model*.bin"]


def resolve(name: str | None = None, *, download: bool = False) -> Path:
    """The folder of a checkpoint, or a file of weights in it.

    `name` is "bundled" or None, a folder, a file of weights with the checkpoint's other files
    beside it, or a Hugging Face model id, "id@revision" for a certain version.  An id is looked
    up in the local cache, and fetched only with `download`.  Raises CheckpointError where there
    is nothing of that name.
    """
    if name is None or name == BUNDLED:
        folder = Path(__file__).parent / BUNDLED
        if not (folder / "config.json").is_file():
            raise CheckpointError("the bundled checkpoint is missing: install the package again")
        return folder
    path = Path(name).expanduser()
    if path.exists():
        if path.is_file():
            weight_files(path)  # refuses any other file
        return path
    found = _HUB_ID.fullmatch(name)
    if found is None:
        raise CheckpointError(f"{name}: no such checkpoint folder")
    return _from_hub(found["id"], found["revision"], download)


def _from_hub(name: str, revision: str | None, download: bool) -> Path:
    from huggingface_hub.errors import LocalEntryNotFoundError

    what = name if revision is None else f"{name}@{revision}"
    try:
        folder = _snapshot(name, revision, download, _SAFE)
        if not has_weights(folder):
            folder = _snapshot(name, revision, download, _PICKLED)
    except LocalEntryNotFoundError as e:
        where = (
            "could not be downloaded: is there a network?"
            if download
            else "is not in the local cache"
        )
        raise CheckpointError(f"{what}: no such folder, and as a model id it {where}") from e
    except (OSError, ValueError) as e:
        raise CheckpointError(f"{what}: could not be fetched: {str(e).splitlines()[0]}") from e
    return folder


def _snapshot(name: str, revision: str | None, download: bool, patterns: list[str]) -> Path:
    """The cache's folder; what is not there yet is downloaded, with bars on stderr."""
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        name,
        revision=revision,
        allow_patterns=patterns,
        ignore_patterns=["*/*"],  # the checkpoints of a training, in folders of their own
        local_files_only=not download,
    )
    return Path(folder)
