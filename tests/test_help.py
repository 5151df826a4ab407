"""Help: of every command and every option, without torch, and with the place of an option in a recipe."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import click
import pytest

from edgecompress import cli
from edgecompress.binding import nested, parameters
from edgecompress.stages import STAGES

COMMANDS = list(cli._COMMANDS)


def made(name):
    return cli.group.get_command(click.Context(cli.group), name)


@pytest.mark.parametrize("command", [None, *COMMANDS])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(run, command, flag):
    code, out, err = run(*([command] if command else []), flag)
    assert (code, err) == (0, "")
    assert "Usage: " in out
    assert "Raises" not in out
    if command is None:
        assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained_and_no_choice_is_empty(command):
    options = [one for one in made(command).params if isinstance(one, click.Option)]
    assert [one.opts[0] for one in options if not one.help] == []
    assert [one.opts[0] for one in options if isinstance(one.type, click.Choice) and not all(one.type.choices)] == []


def test_every_stage_has_a_command_with_its_options(run):
    _, out, _ = run("distill", "-h")
    for option in ("--corpus", "--layers", "--select", "--mlm", "--relation-heads", "--steps", "--learning-rate"):
        assert option in out


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_once_in_which_tables_of_a_recipe_its_options_stand(run, stage):
    _, out, _ = run(stage, "--help")
    flags = [option.opts[0] for option in made(stage).params]
    for name, parameter in parameters(STAGES[stage].run).items():
        if fields := nested(parameter):
            first, last = (f"--{field.replace('_', '-')}" for field in (fields[0], fields[-1]))
            said = f"{first} {'to' if fields[2:] else 'and'} {last} in {name} = {{ … }}, "
            assert " ".join(out.split()).count(said) == 1
            assert len(flags[flags.index(first) : flags.index(last) + 1]) == len(fields)  # and nothing else between


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("distill", "model folder to imitate; by default MODEL itself"),
        ("finetune", "fine-tuned model folder whose predictions are learnt"),
        ("multitask", "fine-tuned model folder whose predictions are learnt; repeat"),
    ],
)
def test_each_command_says_what_its_own_teacher_is(command, said):
    assert [one.help for one in made(command).params if one.name == "teacher"] == [said]


def test_help_does_not_wait_for_torch():
    script = """
        import sys
        from edgecompress import cli
        for command in [[], *[[name] for name in cli._COMMANDS]]:
            sys.argv = ["edgecompress", *command, "--help"]
            cli.main()
        loaded = {"torch", "transformers", "datasets", "onnx", "onnxruntime"} & set(sys.modules)
        assert not loaded, loaded
    """
    code = textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
