"""The documentation: what it tells to type exists, what it links to is there."""

from __future__ import annotations

import argparse
import plistlib
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ocrmypdf_trocr_mlx.archive.options import fingerprint
from ocrmypdf_trocr_mlx.cli import app
from ocrmypdf_trocr_mlx.options import add_arguments

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
# What is not of this package, in a block of a shell's commands.
OTHERS = ("--8<--", ". ", "dask ", "mkdocs ", "pip ", "python", "sh ", "sqlite3 ")


def commands(page: Path) -> Iterator[str]:
    """The lines of a page's blocks of a shell's commands."""
    text = re.sub(r"\\\n\s*", "", page.read_text())
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    blocks += re.findall(
        r"^ {4}\S.*$", re.sub(r"^:::.*\n(^ {4}.*\n)*", "", outside, flags=re.M), re.M
    )
    for line in "\n".join(blocks).splitlines():
        for part in filter(None, line.split("&&")):
            yield re.sub(r"^(\.venv/bin/|[A-Z_]+=\S+ )", "", part.strip())
    yield from re.findall(r"^\| `(trocr-mlx [^`]*)`", text, re.M)


def service() -> str:
    text = (ROOT / "examples" / "trocr-mlx-watch.service").read_text()
    (line,) = re.findall(r"^ExecStart=%h/\.local/bin/(.*)$", text, re.M)
    return line


def agent() -> str:
    with (ROOT / "examples" / "trocr-mlx-watch.plist").open("rb") as file:
        *shell, script = plistlib.load(file)["ProgramArguments"]
    assert shell == ["/bin/sh", "-c"]
    return script.partition("exec ")[2].partition(" 2>> ")[0]


def paperless() -> str:
    return (ROOT / "examples" / "paperless-ngx.sh").read_text().rpartition("\nexec ")[2]


@pytest.mark.parametrize("example", [service, agent, paperless])
def test_services_start_a_watch(example: Callable[[], str]) -> None:
    name, *arguments = shlex.split(example())
    assert (name, arguments[0]) == ("trocr-mlx", "watch")
    parse(arguments)
    fingerprint(arguments[arguments.index("--") + 1 :])


def commands_below(command: Any) -> Iterator[Any]:
    """A command of typer's and those in it."""
    yield command
    for inner in getattr(command, "commands", {}).values():
        yield from commands_below(inner)


def parse(arguments: list[str]) -> None:
    """As the command line would, without running the command."""
    root = typer.main.get_command(app)
    for command in commands_below(root):
        command.callback = lambda **values: None
    try:
        root.main(arguments, standalone_mode=False)
    except Exception as e:
        pytest.fail(f"trocr-mlx {shlex.join(arguments)}: {e}")


def test_the_parser_sees_what_does_not_exist() -> None:
    for wrong in (["archive", "a", "b", "--dryrun"], ["score", "pages", "a", "--no"], ["reed"]):
        with pytest.raises(pytest.fail.Exception, match=r"No such (option|command)"):
            parse(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_with_their_options(page: Path) -> None:
    for line in commands(page):
        name, *arguments = shlex.split(line.partition(" > ")[0])
        if name == "trocr-mlx":
            parse(arguments)
        elif name == "ocrmypdf":
            from ocrmypdf.cli import get_options_and_plugins

            get_options_and_plugins(arguments)
        else:
            assert line.startswith(OTHERS), line


def test_every_help_has_an_example_that_parses() -> None:
    known = list(commands_below(typer.main.get_command(app)))
    assert len(known) > 15
    for command in known:
        example = re.match(r"Example:  trocr-mlx ([^,>]+)", command.epilog or "")
        assert example, command.name
        parse(shlex.split(example[1]))


def test_the_table_has_all_of_the_plugins_options() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    options = [action.option_strings[0] for action in parser._actions]
    assert re.findall(r"^\| `(--trocr-[a-z-]+)`", (ROOT / "README.md").read_text(), re.M) == options


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    included = re.findall(r'^--8<-- "([^":]+)', page.read_text(), re.M)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [name for name in included if not (ROOT / name).exists()]
    assert not missing


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    assert named == {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.parent != ROOT}
