"""``docs/referee.md`` cannot drift: figures are recomputed, commands and the example run."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from msedge.cli.app import app
from msedge.data.protocols import list_protocols, load_protocol, overlap
from msedge.data.vectors import Vectors, save_vectors
from msedge.evaluation.conventions import CONVENTIONS
from msedge.evaluation.hits import Hits
from msedge.models.bank import Bank, choose_drawings, save_bank

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/referee.md").read_text()
FIGURE = (ROOT / "docs/images/conventions.svg").read_text()
COMMANDS = re.findall(r"^(?:[A-Z_]+=\S+ )?msedge (.+?)(?:\s+[#>].*)?$", PAGE, re.MULTILINE)


def table(header: str, page: str = PAGE) -> list[list[str]]:
    """The cells of the rows below a header row, which must occur once."""
    (rows,) = re.findall(re.escape(header) + r"\n\|[-|]+\|\n((?:\|.*\n)+)", page)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]


class TestConventions:
    def test_formulas_are_those_of_the_code(self):
        rows = {name: cells for name, *cells in table("| convention | AP@k | P@k |")}
        assert rows == {
            f"`{name}`": [each.ap_formula, each.p_formula] for name, each in CONVENTIONS.items()
        }

    def test_origins_and_queries_without_a_relevant_photo(self):
        rows = table("| convention | from | AP@k, P@k of a query with R = 0 |")
        nothing = Hits.from_relevance(np.zeros((1, 9), np.bool_))
        assert rows == [
            [f"`{name}`", each.used_by, ", ".join("NaN" if np.isnan(v) else f"{v:g}" for v in pair)]
            for name, each in CONVENTIONS.items()
            for pair in [
                (each.average_precision(nothing, 4).item(), each.precision(nothing, 4).item())
            ]
        ]

    def test_the_ranking_by_hand(self):
        (row,) = re.findall(r"^relevant (.*)$", PAGE, re.MULTILINE)
        hits = Hits.from_relevance(np.array([[cell == "x" for cell in row.split()]]))
        rows = table("| convention | AP@4 | AP@8 | AP@all | P@4 | P@8 |")
        assert [name for name, *_ in rows] == [f"`{name}`" for name in CONVENTIONS]
        for name, *cells in rows:
            each = CONVENTIONS[name.strip("`")]
            exact = [each.average_precision(hits, k).item() for k in (4, 8, None)]
            exact += [each.precision(hits, k).item() for k in (4, 8)]
            for cell, value in zip(cells, exact, strict=True):
                fraction, decimal = cell.split(" = ")
                assert float(Fraction(fraction)) == pytest.approx(value, abs=1e-12), name
                assert decimal == f"{value:.4f}"


class TestGap:
    HEADLINE = "| | mAP@200 | mAP@all | P@100 | P@200 |"

    def figures(self) -> list[list[str]]:
        first, _ = PAGE.split("### The other knob")
        return table(self.HEADLINE, first)

    def test_the_figure_shows_the_table(self):
        drawn = re.findall(r">(\d+\.\d)</text>", FIGURE)
        columns = zip(*(cells for _, *cells in self.figures()), strict=True)
        assert drawn == [value for column in columns for value in column]

    def test_the_opening_quotes_the_table(self):
        at_200 = {name.strip("`"): cells[0] for name, *cells in self.figures()}
        opening = " ".join(PAGE.split("## Six conventions")[0].split())
        said = re.findall(
            r"mAP@200 is ([\d.]+) under .*?, ([\d.]+) under .*? and ([\d.]+)", opening
        )
        assert said == [(at_200["hits"], at_200["standard"], at_200["total"])]

    def test_what_the_duplicates_add(self):
        once, twice, gained = (
            [float(cell) for cell in cells]
            for _, *cells in table(self.HEADLINE, PAGE.split("### The other knob")[1])
        )
        assert once == [float(cell) for cell in self.figures()[0][1:]]
        np.testing.assert_allclose(np.subtract(twice, once), gained, atol=0.11)  # all are rounded

    @pytest.mark.slow
    def test_the_benchmark_gives_it_again(self, tmp_path, monkeypatch, capsys):
        script = ROOT / "benchmarks/convention_gap.py"
        spec = importlib.util.spec_from_file_location("convention_gap", script)
        benchmark = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "convention_gap", benchmark)
        spec.loader.exec_module(benchmark)
        monkeypatch.setattr(sys, "argv", [str(script), "--figure", str(tmp_path / "drawn.svg")])
        benchmark.main()
        printed = capsys.readouterr().out.split("\n\n")
        assert (tmp_path / "drawn.svg").read_text() == FIGURE
        _, made, _, doubled, _, gained, _, sweep, _ = printed
        assert table(self.HEADLINE, made + "\n") == self.figures()
        ours = table(self.HEADLINE, PAGE.split("### The other knob")[1])
        again = [table(self.HEADLINE, part + "\n")[0][1:] for part in (made, doubled, gained)]
        assert [cells for _, *cells in ours] == again
        noises, _, *rows = [[c.strip() for c in r.split("|")[1:-1]] for r in sweep.splitlines()]
        columns = [noises.index(noise) for noise in ("2.6", "1.7", "1.4", "1.1", "0.85")]
        kept = {row[0]: [row[column] for column in columns] for row in rows}
        for name, *cells in table("| | noise 2.6 | 1.7 | 1.4 | 1.1 | 0.85 |"):
            assert cells == kept[name]


class TestProtocols:
    def test_counts_and_hashes(self):
        def shown(count: int | None) -> str:
            return "-" if count is None else f"{count:,}"

        rows = table("| id | unseen, seen classes | queries | gallery: photos, lines | hash |")
        assert {name.strip("`") for name, *_ in rows} == set(list_protocols())
        for name, *cells in rows:
            protocol = load_protocol(name.strip("`"))
            expected = protocol.expected
            assert cells == [
                f"{len(protocol.unseen)}, {expected.seen_classes}",
                shown(expected.queries),
                f"{shown(expected.gallery_unique)}, {shown(expected.gallery_lines)}",
                f"`{protocol.hash[:12]}`",
            ], name

    def test_overlaps(self):
        rows = table(
            "| first | second | unseen in both "
            "| tested by the first, trained on by the second | the other way round |"
        )
        for one, other, *cells in rows:
            first, second = load_protocol(one.strip("`")), load_protocol(other.strip("`"))
            found = overlap(first, second)
            assert cells == [
                str(len(found.unseen_in_both)),
                f"{len(found.tested_by_first_trained_by_second)} of {len(first.unseen)}",
                f"{len(found.tested_by_second_trained_by_first)} of {len(second.unseen)}",
            ], (one, other)


class TestCommands:
    @pytest.fixture
    def files(self, tmp_path, monkeypatch):
        """Every file that the page names, of three classes in four dimensions."""
        monkeypatch.chdir(tmp_path)
        rng = np.random.default_rng(0)

        def made(classes: int, start: int = 0) -> dict[str, np.ndarray]:
            labels = start + np.repeat(np.arange(classes), 4)
            return {"embeddings": rng.standard_normal((len(labels), 4)), "labels": labels}

        for name in ("sketches", "photos", "other_sketches", "other_photos"):
            np.savez(f"{name}.npz", **made(3))
        np.savez("seen_photos.npz", **made(2, start=7))
        drawings = choose_drawings(made(3)["embeddings"], ["any"] * 12)
        nothing = np.empty((0, 4), np.float16)
        save_bank(Path("net.bank.safetensors"), Bank("", drawings, (), nothing, nothing))
        for domain, classes in (("sketches", "sketch_classes"), ("photos", "photo_classes")):
            each = made(3)
            np.save(f"{domain}.npy", each["embeddings"])
            np.save(f"{classes}.npy", each["labels"])
            Path(f"{classes}.txt").write_text("".join(f"class {i}\n" for i in each["labels"]))
        both = [made(3), made(3)]
        stems = [f"{label}/n{row}" for row, label in enumerate(both[0]["labels"])]
        vectors = Vectors(
            embeddings=np.concatenate([each["embeddings"] for each in both]).astype(np.float32),
            labels=np.concatenate([each["labels"] for each in both]),
            domains=np.repeat([0, 1], len(stems)),
            classes=("ant", "bee", "cat"),
            paths=(*(f"{stem}-1.png" for stem in stems), *(f"{stem}.jpg" for stem in stems)),
        )
        save_vectors(Path("vectors.safetensors"), vectors)
        Path("TABLE.csv").write_text("method,S21_mAP200,S21_P200\nmade up,0.5,0.6\n")

    def test_there_are_some(self):
        named = {" ".join(command.split()[:1]) for command in COMMANDS}
        assert named == {"evaluate", "lint", "protocols"}

    @pytest.mark.parametrize("command", COMMANDS)
    @pytest.mark.usefixtures("files")
    def test_each_runs(self, command):
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == 0, (command, result.output)

    def test_those_in_the_text_exist(self):
        for command in re.findall(r"`msedge ([a-z]+(?: show| list| overlap)?)", PAGE):
            assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0, command

    @pytest.mark.usefixtures("files")
    def test_the_example_runs(self, capsys):
        (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        found: dict[str, object] = {}
        exec(compile(example, "docs/referee.md", "exec"), found)
        printed = capsys.readouterr().out.splitlines()
        assert printed[0] == str(found["found"].means("sake")["mAP@200"])

    @pytest.mark.usefixtures("files")
    def test_rows_said_to_be_mixed_are(self):
        rows = table("| method | mAP@200 | P@200 | source | grade |")
        # Commas part columns and would end a method's name.
        lines = [",".join([row[0].replace(",", ""), row[1], row[2]]) for row in rows]
        Path("rows.csv").write_text("\n".join(["method,S21_mAP200,S21_P200", *lines]))
        result = CliRunner().invoke(app, ["lint", "rows.csv", "--json"])
        found = [(each["severity"], each["rule"]) for each in json.loads(result.stdout)["findings"]]
        assert result.exit_code == 1
        assert found.count(("mixed", "ap-above-precision")) == len(rows) == 5

    def test_scripts_and_tests_exist(self):
        named = set(re.findall(r"(?:tests|benchmarks)/[\w/]+\.py", PAGE))
        assert len(named) >= 6
        assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
