"""The container file and the service of examples/: what they call exists, and the service is as closed as it says."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from edgecompress.cli import group
from edgecompress.serve.api import BY_PATH

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
UNIT = EXAMPLES / "systemd" / "edgecompress.service"
CONTAINER = EXAMPLES / "container" / "Containerfile"


class _Unit(configparser.RawConfigParser):
    """Keys as they are written; the last of several equal ones is kept."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def service() -> configparser.SectionProxy:
    unit = _Unit(strict=False, delimiters=("=",))
    unit.read(UNIT, "utf-8")
    return unit["Service"]


def entrypoint() -> list[str]:
    found = re.search(r"^ENTRYPOINT (\[.*\])$", CONTAINER.read_text("utf-8"), re.MULTILINE)
    assert found
    words: list[str] = json.loads(found[1])
    return words


def run_in_container() -> list[str]:
    """The command of the container as the page on these files starts it: what follows the image's name is added."""
    text = (EXAMPLES / "README.md").read_text("utf-8").replace("\\\n", " ")
    words = shlex.split(next(line for line in text.splitlines() if line.startswith("$ podman run ")))
    return [*entrypoint(), *words[words.index("edgecompress") + 1 :]]


@pytest.mark.parametrize("words", [run_in_container(), shlex.split(service()["ExecStart"])], ids=["image", "unit"])
def test_every_option_exists_and_takes_its_value(words: list[str]) -> None:
    command = group.get_command(click.Context(group), words[1])
    assert command is not None, words
    above = group.make_context("edgecompress", words[1:])  # a command remembers the help options of its first context
    given = command.make_context(words[1], words[2:], parent=above).params  # a usage error for what it does not know
    assert given["artifacts"]
    assert given["token_file"]  # never open to everybody


def test_the_container_is_asked_for_its_health_where_it_answers() -> None:
    text = CONTAINER.read_text("utf-8")
    found = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", text)
    assert found
    words = entrypoint()
    assert words[words.index("--port") + 1] == found[1]
    assert f"EXPOSE {found[1]}" in text
    assert not BY_PATH[found[2]].guarded  # a probe has no token


def test_what_the_container_copies_is_there() -> None:
    for line in re.findall(r"^COPY (?!--from)(.*)$", CONTAINER.read_text("utf-8"), re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split()[:-1]), line


def test_both_stop_after_the_requests_and_before_they_are_killed() -> None:
    words = shlex.split(service()["ExecStart"])
    assert float(words[words.index("--drain") + 1]) < float(service()["TimeoutStopSec"])
    words = entrypoint()
    assert float(words[words.index("--drain") + 1]) < 10  # seconds, of `podman stop` and `docker stop`


def test_the_service_is_sound_to_systemd(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    text = UNIT.read_text("utf-8").replace("/opt/edgecompress/bin/edgecompress", "/bin/true")  # it must be there
    (tmp_path / UNIT.name).write_text(text, "utf-8")
    called = [analyze, "verify", str(tmp_path / UNIT.name)]
    verified = subprocess.run(called, capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    called = [analyze, "security", "--offline=true", "--threshold=15", "--no-pager", str(tmp_path / UNIT.name)]
    closed = subprocess.run(called, capture_output=True, text=True, check=False)
    assert closed.returncode == 0, closed.stdout  # an exposure of at most 1.5 of 10
