"""Checkpoints by Hugging Face id: fetched once from a small hub that runs in the test."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve

OLD, NEW = "a" * 40, "b" * 40
COMMON = {"config.json": b'{"of": "%s"}', "vocab.json": b"{}", "modeling.py": b"import os"}
FILES = {
    "org/both": {
        **COMMON,
        "model.safetensors": b"safe",
        "pytorch_model.bin": b"pickled",
        "checkpoint-500/model.safetensors": b"of a training",
    },
    "org/pickled": {**COMMON, "pytorch_model.bin": b"pickled", "training_args.bin": b"no"},
}


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of its server: a revision's commit, its files, their content."""

    asked: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0].strip("/").split("/")
        type(self).asked.append("/".join(path))
        api = path[:2] == ["api", "models"]
        name = "/".join(path[2:4] if api else path[:2])
        files = FILES.get(name)
        if files is None:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif api and path[4] == "revision":
            commits = {"main": NEW, "v1": OLD, OLD: OLD, NEW: NEW}
            if path[5] not in commits:
                self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                return
            found = {"id": name, "sha": commits[path[5]]}
            found["siblings"] = [{"rfilename": file} for file in files]
            self.answer(200, json.dumps(found).encode())
        elif api:
            tree = [
                {"type": "file", "path": file, "size": len(data), "oid": self.oid(data)}
                for file, data in ((f, self.content(d, path[5])) for f, d in files.items())
            ]
            self.answer(200, json.dumps(tree).encode())
        else:
            data = self.content(files["/".join(path[4:])], path[3])
            headers = {"ETag": f'"{self.oid(data)}"', "X-Repo-Commit": path[3]}
            self.answer(200, data, headers)

    @staticmethod
    def content(data: bytes, commit: str) -> bytes:
        return data.replace(b"%s", commit.encode())

    @staticmethod
    def oid(data: bytes) -> str:
        return hashlib.sha1(data).hexdigest()

    def answer(self, code: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a process that takes this hub for Hugging Face's."""
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        **{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0",
    }
    server.shutdown()
    server.server_close()


def ask(env: dict[str, str], name: str, download: bool = True) -> Path | str:
    """`resolve` in a process of its own: huggingface_hub reads its environment once."""
    code = (
        "import sys; from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve\n"
        "try: print(resolve(sys.argv[1], download=sys.argv[2] == 'True'))\n"
        "except ValueError as e: sys.exit(f'refused: {e}')"
    )
    arguments = [sys.executable, "-c", code, name, str(download)]
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=120)
    if done.returncode:
        message = done.stderr.strip().splitlines()[-1]
        assert message.startswith("refused: "), done.stderr
        return message
    assert done.stdout.count("\n") == 1, "the bar of the download is not on stdout"
    return Path(done.stdout.strip())


def names(folder: Path | str) -> list[str]:
    assert isinstance(folder, Path), folder
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_what_is_needed_is_fetched_once(hub) -> None:
    folder = ask(hub, "org/both")
    assert names(folder) == ["config.json", "model.safetensors", "vocab.json"]
    assert json.loads((folder / "config.json").read_text()) == {"of": NEW}
    Hub.asked.clear()
    assert ask(hub, "org/both", download=False) == folder
    assert ask({**hub, "HF_HUB_OFFLINE": "1"}, "org/both") == folder
    assert not Hub.asked, "the cache is enough"


def test_pickles_only_where_there_is_nothing_else(hub) -> None:
    folder = ask(hub, "org/pickled")
    assert names(folder) == ["config.json", "pytorch_model.bin", "vocab.json"]
    assert ask(hub, "org/pickled", download=False) == folder


@pytest.mark.parametrize("revision", ["v1", OLD])
def test_a_revision_is_kept_to(hub, revision) -> None:
    latest, pinned = ask(hub, "org/both"), ask(hub, f"org/both@{revision}")
    assert latest != pinned
    assert json.loads((pinned / "config.json").read_text()) == {"of": OLD}
    assert ask(hub, f"org/both@{revision}", download=False) == pinned


def test_what_cannot_be_had(hub) -> None:
    assert "org/both: no such folder" in ask(hub, "org/both", download=False)
    assert "is not in the local cache" in ask(hub, "org/both", download=False)
    assert "org/none" in ask(hub, "org/none")
    assert "org/both@v9" in ask(hub, "org/both@v9")
    nowhere = {**hub, "HF_ENDPOINT": "http://127.0.0.1:9"}
    assert "could not be downloaded: is there a network?" in ask(nowhere, "org/both")


def test_names_that_are_no_ids() -> None:
    for name in ("one", "a/b/c", "org/model@", "../x/y@main", "./model", "../model", "org/mo del"):
        with pytest.raises(CheckpointError, match="no such checkpoint"):
            resolve(name, download=True)
