"""``msedge``: how errors reach the person, and what starting costs."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import msedge
from msedge.cli.app import app, main, run
from msedge.errors import ConfigError, DataError, MSEdgeError, ShapeError, WeightsError
from msedge.training.stopping import StoppedError

HEAVY = "{'torch', 'timm', 'kornia', 'numpy', 'PIL'}"


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def raising(error: BaseException) -> typer.Typer:
    def fail() -> None:
        raise error

    application = typer.Typer(pretty_exceptions_enable=False)
    application.command()(fail)
    return application


class TestSmoke:
    def test_version(self):
        result = CliRunner().invoke(app, ["--version"])
        assert (result.exit_code, result.output) == (0, f"msedge {msedge.__version__}\n")

    def test_help_names_the_commands(self):
        result = CliRunner().invoke(app, ["--help"])
        assert result.exit_code == 0
        assert "train" in result.output
        assert "data" in result.output

    def test_no_arguments_show_the_help(self):
        assert "Usage" in CliRunner().invoke(app, []).output

    @pytest.mark.parametrize("module", ["msedge", "msedge.cli.app", "msedge.cli.paper"])
    def test_starting_imports_nothing_heavy(self, module):
        done = python(f"import sys, {module}; print(sorted({HEAVY} & set(sys.modules)))")
        assert (done.stdout, done.stderr) == ("[]\n", "")

    def test_settings_are_checked_before_anything_heavy_is_imported(self):
        done = python(
            "import sys\n"
            "from msedge.cli.train import run_training\n"
            "from msedge.errors import ConfigError\n"
            "try:\n"
            "    run_training({}, {'epochs': 0}, None)\n"
            "except ConfigError:\n"
            f"    print(sorted({HEAVY} & set(sys.modules)))\n"
        )
        assert (done.stdout, done.stderr) == ("[]\n", "")


class TestErrors:
    @pytest.mark.parametrize(
        "kind", [MSEdgeError, ConfigError, DataError, ShapeError, WeightsError]
    )
    def test_user_s_error_is_a_line_and_status_2(self, type_in, kind):
        answer = type_in(lambda: run(raising(kind("no cat: add one"))))
        assert (answer.code, answer.out, answer.err) == (2, "", "msedge: no cat: add one\n")

    def test_a_line_a_problem(self, type_in):
        answer = type_in(lambda: run(raising(DataError("no cat\nno dog"))))
        assert answer.err == "msedge: no cat\nmsedge: no dog\n"

    def test_defects_keep_their_traceback(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["msedge"])
        with pytest.raises(ZeroDivisionError):
            run(raising(ZeroDivisionError()))

    def test_debug_variable_shows_where(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["msedge"])
        monkeypatch.setenv("MSEDGE_DEBUG", "1")
        with pytest.raises(DataError, match="no cat"):
            run(raising(DataError("no cat")))

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_a_stopped_run_is_a_line_and_what_shells_expect(self, type_in, number, status):
        answer = type_in(lambda: run(raising(StoppedError("stopped after step 3", number))))
        assert (answer.code, answer.out) == (status, "")
        assert answer.err == "msedge: stopped after step 3\n"

    def test_stopped_by_a_person(self, type_in):
        assert type_in(lambda: run(raising(KeyboardInterrupt()))).code == 130

    def test_unknown_command(self, type_in):
        answer = type_in(main, "tarin")
        assert answer.code == 2
        assert "tarin" in answer.err


class TestDebug:
    """Real processes, since the traceback is Python's own."""

    MAIN = "from msedge.cli.app import main; main()"

    def test_without_it_one_line(self, tmp_path):
        done = python(self.MAIN, "train", "--config", str(tmp_path / "gone.yaml"))
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("msedge: cannot read the configuration")

    def test_with_it_a_traceback(self, tmp_path):
        done = python(self.MAIN, "--debug", "train", "--config", str(tmp_path / "gone.yaml"))
        assert done.returncode == 1
        assert done.stderr.startswith("Traceback")
        assert "read_yaml" in done.stderr
        assert "ConfigError: cannot read the configuration" in done.stderr.splitlines()[-1]
