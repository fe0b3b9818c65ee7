"""Mutation testing: small faults put into the sources one by one, and whether the tests notice.

Claim: of all mutants of ``evaluation/`` and ``search/gallery.py`` the tests notice at least 80 %.

    python benchmarks/mutation.py [--workers 2] [--out result/mutants.csv] [--floor 80]
    python benchmarks/mutation.py --only evaluation.hits --tests tests/evaluation/test_hits.py
    python benchmarks/mutation.py --sources src/msedge/search --sample 300 --tests tests/search
    python benchmarks/mutation.py --resume    # of the last table what was not noticed, and the rest

mutmut (``pip install -c constraints.txt mutmut``) makes the mutants: operators and constants
changed, arguments dropped, values made None, in each function that no decorator wraps. Its own
runner collects the tests anew for each mutant, which takes longer than most tests here. So this
script runs them: it collects once, notes which tests call which function, and forks a process a
mutant, which stops at the first test that fails. It runs no test itself, not even to see what they
call: threads that a library starts (Lance's, say) do not outlive a fork. Tests that killed other
mutants of the function come first, then the quickest. A mutant that outlasts ten times the CPU time
of its tests, or ends its process, counts as noticed, as usual. A process without any mutant runs
all tests first.

A mutant meets ``--seconds`` of tests that call its function, those of the module's own test file
first; in a second round the survivors meet five times as much.
Doctests are left out: whatever they alone would notice counts as survived. Property tests run the
same examples each time and do not shrink what they find. Exits with 1 below the floor.

The score is printed twice: of all mutants, and without those that change nothing but the text of
an error or a finding.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from mutants import FUNCTION_OF, Mutant, mutants_of, read_noticed, write_table

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ["src/msedge/evaluation", "src/msedge/search/gallery.py"]
_MORE = 5  # times as many seconds of tests in the second round
_ROOM = 4 << 30  # bytes that a mutant may take: an array of a wrong shape can be of any size
TESTS = ["tests/evaluation", "tests/search/test_gallery.py", "tests/search/test_near_duplicates.py"]


@dataclass(eq=False)  # pytest wants it hashable
class Campaign:
    """A pytest plugin that runs the collected tests against each mutant.

    Attributes:
        mutants: What to try.
        workers: Processes at a time.
        seconds: CPU time of the tests that a mutant meets in the first round.
        quick: Whether that round is the only one.
        table: Where outcomes are written now and then.
        outcome: Of each mutant, those of an earlier run among them: ``killed``, ``timeout``,
            ``crash``, ``survived`` or ``no tests``.
    """

    mutants: list[Mutant]
    workers: int
    seconds: float
    quick: bool
    table: Path
    outcome: dict[Mutant, str] = field(default_factory=dict)
    _failure: str = ""
    _cost: list[float] = field(default_factory=list)
    _covering: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _kills: Counter[tuple[str, int]] = field(default_factory=Counter)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of pytest's own loop over the tests."""
        self._items = session.items
        self._watch_apart()
        gc.freeze()
        if not self.quick:
            self._control()
        met = {mutant: self._tests(mutant, self.seconds) for mutant in self.mutants}
        self._round(met)
        if not self.quick:
            more = {
                mutant: [
                    test
                    for test in self._tests(mutant, _MORE * self.seconds)
                    if test not in met[mutant]
                ]
                for mutant in self.mutants
                if self.outcome[mutant] == "survived"
            }
            self._round({mutant: tests for mutant, tests in more.items() if tests})
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what the last test that failed says."""
        if report.failed:
            self._failure = report.longreprtext or "no reason given"

    def _control(self) -> None:
        """All tests pass in a forked process too: who fails there, fails for the mutant."""
        nobody = Mutant("none", "", False)
        self._round({nobody: list(range(len(self._items)))})
        if self.outcome.pop(nobody) != "survived":
            sys.exit("the tests fail in a forked process, without any mutant")

    def _watch_apart(self) -> None:
        """Learn in a forked process what each test calls and costs."""
        with tempfile.TemporaryFile("w+") as told:
            process = os.fork()
            if process == 0:
                code = 1
                try:
                    self._watch()
                    json.dump([self._cost, self._covering], told)
                    told.flush()
                    code = 0
                except BaseException as failure:
                    print(failure, flush=True)
                finally:
                    os._exit(code)
            if os.waitpid(process, 0)[1]:
                sys.exit("the tests do not pass without a mutant")
            told.seek(0)
            self._cost, covering = json.load(told)
        self._covering.update(covering)

    def _watch(self) -> None:
        """Run all tests on the unchanged functions, and note what each calls and costs."""
        from mutmut.state import state

        os.environ[FUNCTION_OF] = "stats"
        for place, item in enumerate(self._items):
            following = self._items[place + 1] if place + 1 < len(self._items) else None
            start = time.process_time()
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            self._cost.append(time.process_time() - start)
            if self._failure:
                sys.exit(f"{item.nodeid} fails without a mutant:\n{self._failure}")
            for function in state()._stats:
                self._covering[function].append(place)
            state()._stats.clear()
        os.environ[FUNCTION_OF] = ""
        print(f"{len(self._items)} tests take {sum(self._cost):.0f} s", flush=True)

    def _tests(self, mutant: Mutant, seconds: float) -> list[int]:
        """The tests that call the mutant's function, as many as take so long."""
        own = f"test_{mutant.module.rpartition('.')[2]}.py"
        spent, chosen = 0.0, []
        for test in sorted(
            self._covering[mutant.function],
            key=lambda test: (self._items[test].path.name != own, self._cost[test]),
        ):
            spent += self._cost[test]
            if spent <= seconds or not chosen:
                chosen.append(test)
        return chosen

    def _round(self, tests: dict[Mutant, list[int]]) -> None:
        running: dict[int, tuple[Mutant, int]] = {}
        start, done = time.monotonic(), 0
        for mutant in [*tests, None]:
            while len(running) >= self.workers or (mutant is None and running):
                process, status = os.wait()
                ended, pipe = running.pop(process)
                self._note(ended, status, os.read(pipe, 16))
                os.close(pipe)
                done += 1
                if done % 20 == 0:
                    write_table(self.table, self.outcome)
                if done % 100 == 0:
                    minutes = (time.monotonic() - start) / 60
                    left = sum(each == "survived" for each in self.outcome.values())
                    print(f"{done} of {len(tests)}, {minutes:.1f} min, {left} live", flush=True)
            if mutant is None:
                return
            if not tests[mutant]:
                self.outcome[mutant] = "no tests"
                continue
            again = sorted(tests[mutant], key=lambda test: -self._kills[mutant.function, test])
            reading, writing = os.pipe()
            process = os.fork()
            if process == 0:
                self._child(mutant, again, writing)
            os.close(writing)
            running[process] = mutant, reading

    def _note(self, mutant: Mutant, status: int, killer: bytes) -> None:
        if killer:
            self._kills[mutant.function, int(killer)] += 1
            self.outcome[mutant] = "killed"
        elif os.WIFSIGNALED(status):
            slow = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL)
            self.outcome[mutant] = "timeout" if slow else "crash"
        else:
            self.outcome[mutant] = "survived" if os.WEXITSTATUS(status) == 0 else "crash"

    def _child(self, mutant: Mutant, tests: list[int], writing: int) -> None:
        """Run tests until one fails; never returns."""
        cost = sum(self._cost[test] for test in tests)
        limit = int(10 * cost) + 5
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        room = pages * resource.getpagesize() + _ROOM
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        signal.alarm(40 * limit + 60)  # of the clock, for one that waits for ever
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        os.environ[FUNCTION_OF] = mutant.name
        code = 3
        try:
            for place, test in enumerate(tests):
                item = self._items[test]
                following = self._items[tests[place + 1]] if place + 1 < len(tests) else None
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._failure:
                    os.write(writing, str(test).encode())
                    code = 1
                    break
            else:
                code = 0
        finally:
            os._exit(code)


def quiet_properties() -> None:
    """Property tests without chance, shrinking, or complaints about being run twice."""
    settings.register_profile(
        "mutation", phases=[Phase.explicit, Phase.generate], database=None, derandomize=True,
        deadline=None, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    settings.load_profile("mutation")


def sample(mutants: list[Mutant], count: int | None, seed: int) -> list[Mutant]:
    """So many, at equal distances, so that each module is in it by its share; None for all.

    In an order of chance, so that the table of a run that is ended early is a sample as well.
    """
    if count is None or count >= len(mutants):
        return mutants
    rng, step = random.Random(seed), len(mutants) / count
    start = rng.random()
    chosen = [mutants[int((start + number) * step)] for number in range(count)]
    return rng.sample(chosen, count)


def score(outcome: dict[Mutant, str], what: str) -> float:
    """Print how many were noticed, and return the share in percent."""
    counts = Counter(outcome.values())
    noticed = len(outcome) - counts["survived"] - counts["no tests"]
    share = 100 * noticed / max(1, len(outcome))
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    print(f"{what}: {noticed} of {len(outcome)} noticed, {share:.1f} % ({kinds})")
    return share


def main() -> int:
    """Make the mutants, run the tests against each, print the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=3.0, help="tests of the first round")
    parser.add_argument("--only", nargs="+", default=[""], help="parts of names of modules")
    parser.add_argument("--quick", action="store_true", help="one round, and no control")
    parser.add_argument("--every", type=int, default=1, help="only each so-manieth mutant")
    parser.add_argument("--sample", type=int, help="so many of these, evenly spread")
    parser.add_argument("--seed", type=int, default=0, help="another sample")
    parser.add_argument("--sources", nargs="+", default=SOURCES, help="files and folders to mutate")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files and folders of tests")
    parser.add_argument("--resume", action="store_true", help="keep what --out has as noticed")
    parser.add_argument("--out", type=Path, default=ROOT / "result/mutants.csv")
    parser.add_argument("--floor", type=float, default=80.0)
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ[FUNCTION_OF] = ""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    quiet_properties()
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder) / "src"
        shutil.copytree(ROOT / "src", changed, ignore=shutil.ignore_patterns("__pycache__"))
        mutants = mutants_of(ROOT, options.sources, changed, options.only)
        known = read_noticed(options.out) if options.resume else {}
        noticed = {each: known[each.name] for each in mutants if each.name in known}
        mutants = [each for each in mutants if each not in noticed][:: options.every]
        mutants = sample(mutants, options.sample, options.seed)
        print(f"{len(mutants)} mutants, and {len(noticed)} noticed before", flush=True)
        sys.path.insert(0, str(changed))
        campaign = Campaign(
            mutants, options.workers, options.seconds, options.quick, options.out, noticed
        )
        arguments = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:doctest", "-o"]
        arguments += ["addopts=--import-mode=importlib -m 'not slow'"]
        pytest.main([*arguments, *options.tests], plugins=[campaign])
        import msedge

        assert Path(msedge.__file__).is_relative_to(changed), msedge.__file__
    write_table(options.out, campaign.outcome)
    whole = score(campaign.outcome, "all mutants")
    telling = {key: value for key, value in campaign.outcome.items() if not key.text_only}
    score(telling, "without those of messages' text alone")
    by_module = defaultdict(dict)
    for mutant, outcome in campaign.outcome.items():
        by_module[mutant.module][mutant] = outcome
    for module, outcomes in sorted(by_module.items()):
        score(outcomes, module)
    return int(whole < options.floor)


if __name__ == "__main__":
    sys.exit(main())
