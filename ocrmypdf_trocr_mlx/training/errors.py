"""What is raised when training cannot begin or go on."""

from __future__ import annotations


class TrainingError(ValueError):
    """One line that names the file, folder or option, what is wrong with it, and the cure."""
