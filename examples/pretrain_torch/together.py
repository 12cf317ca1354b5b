"""One training by several processes, each with a GPU and lines of its own (started by torchrun).

Their weights begin alike and stay so, as every step is made with the mean of all gradients.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


class Together:
    """This process among those of a training; alone, where torchrun did not start it.

    A context manager: inside, the others can be reached.  What is asked of one must be asked of
    all, in the same order.
    """

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))

    @property
    def device(self) -> str:
        """The GPU of this process, or the processor."""
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"

    def __enter__(self) -> Together:
        if self.size > 1:
            if gpu := torch.cuda.is_available():
                torch.cuda.set_device(self.device)
            dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
        return self

    def __exit__(self, *_: object) -> None:
        if self.size > 1:
            dist.destroy_process_group()

    def alike(self, tensors: Iterable[Tensor]) -> None:
        """Give all the first process's values."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Give all the mean of each tensor's values."""
        if self.size == 1:
            return
        tensors = list(tensors)
        flat = torch.cat([t.flatten() for t in tensors])  # one message instead of hundreds
        dist.all_reduce(flat)
        flat /= self.size
        parts = flat.split([t.numel() for t in tensors])
        torch._foreach_copy_(tensors, [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])

    def most(self, *values: float) -> list[float]:
        """The greatest of all processes' values, of each."""
        if self.size == 1:
            return list(values)
        found = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.tolist()
