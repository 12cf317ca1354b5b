"""What is raised for a checkpoint that cannot be used."""

from __future__ import annotations


class CheckpointError(ValueError):
    """One line that names the folder or file, what is wrong with it, and the cure if known."""
