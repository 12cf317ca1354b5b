"""Convert whole archives: a tree of scans in, the same tree of searchable PDFs out.

`scan` finds the files, `journal` remembers what became of each, `convert` makes one searchable
through OCRmyPDF, `worker` does that in a process of its own, `run` drives the workers of this
machine and `cluster` those of many.  `watch` takes files as they arrive, `report` tells what
happened.
"""

from __future__ import annotations
