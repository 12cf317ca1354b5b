"""Training a line model in PyTorch, for NVIDIA GPUs: see train.py."""

from __future__ import annotations
