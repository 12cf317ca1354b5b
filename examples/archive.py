"""Make an archive of scanned PDFs searchable: python archive.py scans/ searchable/.

The folders' structure is kept.  Run it again after an interruption: what is done is left alone.
One process does it all, so that the model is loaded once.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import ocrmypdf
from ocrmypdf.exceptions import ExitCodeException

log = logging.getLogger("archive")


def convert(scan: Path, out: Path) -> bool:
    """Write `out` whole or not at all; False, and a line in the log, if that fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    try:
        ocrmypdf.ocr(scan, part, plugins=["ocrmypdf_trocr_mlx"], skip_text=True, progress_bar=False)
    except ExitCodeException as e:
        log.error("%s: %s", scan, e)
        part.unlink(missing_ok=True)
        return False
    part.replace(out)
    return True


def main(scans: Path, searchable: Path) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("ocrmypdf").setLevel(logging.WARNING)
    failed = 0
    for scan in sorted(scans.rglob("*.pdf")):
        out = searchable / scan.relative_to(scans)
        if out.exists():
            continue
        log.info("%s", scan)
        failed += not convert(scan, out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
