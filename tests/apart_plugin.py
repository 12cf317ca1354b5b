"""OCRmyPDF plugin for tests: pages are read in two processes of their own, as beside a GPU.

Each is told of on standard error.
"""

from __future__ import annotations

import os

from ocrmypdf_trocr_mlx import apart


class ToldOf(apart._Process):
    def __init__(self) -> None:
        super().__init__()
        os.write(2, f"process {self._child.pid}\n".encode())


apart._Process = ToldOf
apart.on_cpu = lambda: False
apart.most_processes = lambda: 2
