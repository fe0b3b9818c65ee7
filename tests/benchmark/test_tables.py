"""The page: its shape, its figures, and what it warns of."""

from __future__ import annotations

import re

import pytest

from msedge.benchmark.differences import differences
from msedge.benchmark.intervals import over_seeds
from msedge.benchmark.outcomes import note_failure, read_outcome
from msedge.benchmark.rows import gather
from msedge.benchmark.tables import mean_text, page


@pytest.fixture
def made(plan, cells):
    """The page of a plan whose cells were filled by a function."""

    def make(fill, **changes) -> str:
        found = cells(**changes)
        for cell in found:
            fill(cell)
        rows = gather([read_outcome(cell, None) for cell in found])
        chosen = plan(**changes)
        return page(chosen, rows, differences(rows, chosen.baselines))

    return make


def body(text: str) -> list[list[str]]:
    """The cells of each row of the HTML table."""
    (inner,) = re.findall(r"<tbody>(.*)</tbody>", text, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", inner, re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]


class TestMeanText:
    @pytest.mark.parametrize(
        ("values", "sign", "text"),
        [
            ([49.1, 47.9, 49.1], False, "48.7 ± 1.7 (s 0.7)"),
            ([48.66], False, "48.7"),
            ([1.0, 1.0], True, "+1.0 ± 0.0 (s 0.0)"),
            ([-0.04], True, "+0.0"),
            ([-1.26], True, "-1.3"),
        ],
    )
    def test_in_words(self, values, sign, text):
        assert mean_text(over_seeds(values), sign=sign) == text

    def test_nothing(self):
        assert mean_text(None) == "-"


class TestShape:
    def test_that_of_the_published_page(self, made, finish):
        text = made(
            lambda cell: finish(cell, photos=200),
            datasets=[{"data_name": "sketchy"}, {"data_name": "tuberlin"}],
            axes={"backbone": ["vgg16", "resnet50"], "dim": [64, 512]},
            variants=None,
            baselines=None,
        )
        assert re.findall(r'<th rowspan="2">(.*?)</th>', text) == ["Backbone", "Dim"]
        spans = re.findall(r'<th colspan="(\d)">(.*?)</th>', text)
        assert spans == [("6", "sketchy"), ("6", "tuberlin")]
        heads = re.findall(r"<td[^>]*>(.*?)</td>", text.split("</thead>")[0])
        four = ["seeds", "held-out mAP@all", "mAP@200", "mAP@all", "P@100", "P@200"]
        assert heads == four * 2
        assert [row[:2] for row in body(text)] == [
            ["vgg16", "64"], ["vgg16", "512"], ["resnet50", "64"], ["resnet50", "512"],
        ]  # fmt: skip
        assert all(len(row) == 2 + 6 * 2 for row in body(text))
        assert "cannot exceed" not in text

    def test_small_galleries_have_two_more(self, made, finish):
        text = made(lambda cell: finish(cell, 40.0 + 2 * cell.config.seed), seeds=[0, 1])
        assert "P@100 cannot exceed 6.0 here, nor P@200 3.0: some classes have fewer" in text
        row = body(text)[0]
        assert row[2:] == ["plain", "2", "60.0 ± 0.0 (s 0.0)", *["41.0 ± 12.7 (s 1.4)"] * 6][0:9]

    def test_what_the_figures_are(self, made, finish):
        text = made(finish)
        assert (
            "under the convention `standard` (AP@k is divided by min(k, relevant photos))" in text
        )
        assert (
            "- **tiny**: protocol sketchy-21; 3 unseen classes, 15 sketches against 18 photos; "
            "seeds 0, 1; checkpoint chosen on held-out seen classes." in text
        )
        assert "4 of 4 runs are done.\n" in text
        assert "choose between rows by it, and by nothing else here." in text
        assert "Warning" not in text


class TestWarning:
    def test_chosen_on_test_classes(self, made, finish):
        text = made(finish, settings={"select": "test"})
        assert "**Warning: the checkpoint of all rows was chosen on the test classes" in text
        assert "checkpoint chosen ON THE TEST CLASSES." in text
        assert {row[4] for row in body(text)} == {"-"}
        assert "nothing here is a ground to choose between rows." in text

    def test_of_some_rows(self, made, finish):
        variants = {"plain": {"select": "last"}, "edge": {"select": "test"}}
        text = made(finish, variants=variants)
        assert "**Warning: the checkpoint of 1 rows (edge) was chosen on the test" in text


class TestUnfinished:
    def test_failures(self, made, finish):
        def fill(cell):
            if cell.row.variant == "edge":
                note_failure(cell, "no <weights> | at hub")
            elif cell.config.seed == 0:
                finish(cell)

        text = made(fill)
        assert "1 of 4 runs are done (1 to do, 2 failed)." in text
        plain, edge = body(text)
        assert plain[3] == "1 of 2"
        assert edge[3:] == ["failed: no &lt;weights&gt; | at hub"]
        assert text.count("- tiny, edge, seed") == 2
        assert "- tiny, edge, seed 1: failed: no \\<weights> \\| at hub\n" in text

    def test_nothing_yet(self, made):
        text = made(lambda _: None)
        assert "0 of 4 runs are done (4 to do)." in text
        assert body(text)[0][3:] == ["0 of 2", *["-"] * 5]
        assert "No row shares a finished seed with its baseline yet." in text


class TestDifferences:
    def test_to_the_baseline(self, made, finish):
        def fill(cell):
            gain = 2.0 + cell.config.seed if cell.row.variant == "edge" else 0.0
            finish(cell, 40.0 + gain, held_out=60.0 - gain, noise=0.9 - gain / 10)

        text = made(fill)
        (line,) = [line for line in text.splitlines() if line.startswith("| tiny ")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:5] == ["tiny", "edge", "0, 1", "-2.5 ± 6.4 (s 0.7)", "+2.5 ± 6.4 (s 0.7)"]
        assert re.fullmatch(r"[+-]\d+\.\d to [+-]\d+\.\d", cells[5])
        assert "whole queries are drawn with replacement, over all classes together" in text

    def test_each_baseline_has_its_own(self, made, finish):
        text = made(finish, baselines=["edge", "plain"])
        rows = [line for line in text.splitlines() if line.startswith(("## Diff", "| tiny "))]
        assert rows[0] == "## Differences to edge"
        assert rows[1].startswith("| tiny | plain |")
        assert rows[2] == "## Differences to plain"
        assert rows[3].startswith("| tiny | edge |")

    def test_none_without_a_baseline(self, made, finish):
        assert "Differences" not in made(finish, baselines=None)
