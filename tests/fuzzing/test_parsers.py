"""Every parser of what strangers write answers with a value or with one line, whatever it is given.

A short run; ``campaign.py`` is the long one. Crashes that either finds become tests of their own,
beside the parser's other tests.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzzing.forms import FORMS, TOML
from fuzzing.judging import LONGEST_MESSAGE, Defect, Target, judge
from fuzzing.mutation import ODD, mutated, mutated_bytes
from fuzzing.targets import TARGETS
from msedge.errors import DataError

CAMPAIGN = Path(__file__).with_name("campaign.py")
NEEDS = {
    "svg_drawing": ("resvg_py",),
    "request": ("fastapi",),
    "host": ("fastapi",),
    "run_record": ("torch",),
    "run_log": ("torch",),
}
EXAMPLES = {"svg_drawing": 5, "configuration": 40, "plan": 40, "request": 40}
USUALLY = 80

chance = st.integers(0, 2**32).map(Random)


def quickly(name: str) -> settings:
    return settings(
        max_examples=EXAMPLES.get(name, USUALLY),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(params=sorted(TARGETS))
def target(request: pytest.FixtureRequest) -> Target:
    for package in NEEDS.get(request.param, ()):
        pytest.importorskip(package)
    return TARGETS[request.param]


class TestEveryParser:
    def test_takes_a_whole_document(self, target):
        assert None in [judge(target, seed) for seed in target.seeds]

    def test_answers_well_formed_documents_that_say_something_else(self, target):
        form = FORMS.get(target.name)
        if form is None:
            pytest.skip("its documents are known as bytes alone")
        sound = [seed for seed in target.seeds if form.mutated(seed, Random(0)) is not None]

        @quickly(target.name)
        @given(st.sampled_from(sound), chance)
        def answers(seed: bytes, random: Random) -> None:
            judge(target, form.mutated(seed, random) or b"")

        answers()

    def test_answers_documents_whose_bytes_have_changed(self, target):
        @quickly(target.name)
        @given(st.sampled_from(target.seeds), chance)
        def answers(seed: bytes, random: Random) -> None:
            judge(target, mutated_bytes(seed, random, target.words))

        answers()

    def test_answers_any_bytes(self, target):
        @quickly(target.name)
        @given(st.binary(max_size=300))
        def answers(content: bytes) -> None:
            judge(target, content)

        answers()

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(b"\0" * 4_096, id="zeros"),
            pytest.param(b"\xff" * 4_096, id="ones"),
            pytest.param(b"[" * 20_000, id="lists without end"),
            pytest.param(b'{"a":' * 20_000, id="mappings without end"),
            pytest.param(b"[" * 20_000 + b"]" * 20_000, id="lists nested deep"),
            pytest.param(b"<svg>" * 20_000, id="elements nested deep"),
            pytest.param(b"9" * 20_000, id="a long number"),
            pytest.param(b'"' + b"a" * 60_000 + b'"', id="a long text"),
            pytest.param(b"a." * 8_000 + b"b = 1", id="a name of many parts"),
            pytest.param(b"a: &a [*a]", id="a list that holds itself"),
            pytest.param("é".encode("utf-16"), id="UTF-16"),
        ],
    )
    def test_answers_what_brings_parsers_down(self, target, content):
        judge(target, content)


def broken(content: bytes) -> None:
    """A parser that breaks its promise in each way, by the first byte."""
    if content == b"key":
        raise KeyError("a")
    if content == b"deep":
        raise RecursionError
    if content == b"lines":
        raise DataError("one\ntwo")
    if content == b"escape":
        raise DataError("\x1b[31m")
    if content == b"long":
        raise DataError("a" * (LONGEST_MESSAGE + 1))
    if content == b"wordless":
        raise DataError(" ")
    if content == b"slow":
        begun = time.process_time()
        while time.process_time() - begun < 0.2:
            pass
    if content == b"refused":
        raise DataError("it is no such file")


class TestJudge:
    TARGET = Target("broken", broken, (b"",), seconds=0.1)

    @pytest.mark.parametrize(
        "content", [b"key", b"deep", b"lines", b"escape", b"long", b"wordless", b"slow"]
    )
    def test_sees_a_broken_promise(self, content):
        with pytest.raises(Defect, match=r"^broken: "):
            judge(self.TARGET, content)

    def test_gives_a_refusal_back(self):
        assert judge(self.TARGET, b"refused") == "it is no such file"
        assert judge(self.TARGET, b"sound") is None


class TestMutation:
    def test_the_same_chance_makes_the_same_document(self):
        document = {"a": [1, {"b": "c"}]}
        ways = [[mutated(document, Random(n)) for n in range(50)] for _ in range(2)]
        assert repr(ways[0]) == repr(ways[1])
        assert document == {"a": [1, {"b": "c"}]}
        assert len({repr(each) for each in ways[0]}) > 30

    def test_the_same_chance_makes_the_same_bytes(self):
        ways = [[mutated_bytes(b"abcdef", Random(n), (b"xyz",)) for n in range(50)] for _ in "ab"]
        assert ways[0] == ways[1]
        assert len(set(ways[0])) > 30

    @pytest.mark.parametrize("name", sorted(set(FORMS) - {"checkpoint", "vectors"}))
    def test_seeds_stay_documents_when_they_are_read_and_written(self, name):
        form = FORMS[name]
        sound = 0
        for seed in TARGETS[name].seeds:
            try:
                document = form.read(seed)
            except ValueError:
                continue
            sound += 1
            again = form.write(document)
            assert repr(form.read(again)) == repr(document)
        assert sound

    @pytest.mark.parametrize("form", {id(form): form for form in FORMS.values()}.values())
    def test_every_odd_value_can_be_written(self, form):
        for value in ODD:
            document = (
                {"a": value} if form is TOML else [["a", value], ["svg", {"b": value}, "", []]]
            )
            assert isinstance(form.write(document), bytes)


class TestCampaign:
    def run(self, *arguments: str, **surroundings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(CAMPAIGN), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **surroundings},
        )

    @pytest.mark.skipif(importlib.util.find_spec("atheris") is not None, reason="atheris is there")
    def test_without_atheris_it_says_what_to_install(self):
        done = self.run("--target", "strokes")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "the campaign needs atheris: pip install atheris\n"

    @pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is missing")
    def test_it_tells_what_it_did(self, tmp_path):
        corpus, defects = tmp_path / "corpus", tmp_path / "defects"
        done = self.run(
            "--target", "labels", "--minutes", "0.05", "--corpus", str(corpus), "--defects",
            str(defects),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("labels ")
        assert " 0 defects" in done.stdout
        assert any((corpus / "labels").iterdir())
