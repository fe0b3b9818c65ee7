"""Each rule with a row that breaks it and one that just does not."""

from __future__ import annotations

import pytest

from msedge.evaluation.tables.results_table import read_entries
from msedge.evaluation.tables.row_rules import ROW_RULES

AVERAGE, PRECISION = "S21 mAP@200", "S21 P@200"


def found(**cells: str) -> list[tuple[str, str]]:
    """Rule and severity of the findings on one row; ``_`` in a name stands for a space."""
    (entry,) = read_entries([name.replace("_", " ") for name in cells], [list(cells.values())])
    findings = [finding for rule in ROW_RULES for finding in rule(entry)]
    assert all(finding.row == 1 and "\n" not in finding.message for finding in findings)
    return [(finding.rule, finding.severity) for finding in findings]


def said(**cells: str) -> str:
    (entry,) = read_entries([name.replace("_", " ") for name in cells], [list(cells.values())])
    (finding,) = [finding for rule in ROW_RULES for finding in rule(entry)]
    return finding.message


class TestCells:
    @pytest.mark.parametrize("text", ["nan", "0,459"])
    def test_not_a_number(self, text):
        assert found(S21_P200=text, S21_mAP200="0.3") == [("not-a-number", "impossible")]

    @pytest.mark.parametrize("text", ["100.1", "-0.001"])
    def test_outside(self, text):
        assert found(S21_P100=text) == [("out-of-range", "impossible")]

    @pytest.mark.parametrize("text", ["100", "1", "0", "0.0", "1.000"])
    def test_the_ends_are_inside(self, text):
        assert found(TUB_P100=text) == []

    def test_percent_and_shares_in_a_row(self):
        cells = {"S21_mAP200": "45.9", "S21_P200": "0.37"}
        assert found(**cells) == [("mixed-units", "mixed")]
        assert "S21 mAP@200 45.9 is in percent, S21 P@200 0.37 a share" in said(**cells)


class TestApAbovePrecision:
    def test_names_both_figures_and_what_is_left(self):
        message = said(S21_mAP200="0.461", S21_P200="0.370")
        assert message.startswith("S21 mAP@200 0.461, S21 P@200 0.370: ")
        assert "mAP above P with the whole gallery cannot be under standard, sake, zse" in message
        assert message.endswith("consistent with hits or rank, or figures of two rankings")

    @pytest.mark.parametrize("convention", ["standard", "sake", "zse", "total"])
    def test_where_it_is_proved(self, convention):
        cells = {"convention": convention, "S21_mAP200": "0.461", "S21_P200": "0.370"}
        assert found(**cells) == [("ap-above-precision", "impossible")]
        assert said(**cells).endswith(f"cannot be under {convention}")

    @pytest.mark.parametrize("convention", ["hits", "rank"])
    def test_where_it_is_not(self, convention):
        assert found(convention=convention, S21_mAP200="0.461", S21_P200="0.370") == []

    @pytest.mark.parametrize(
        ("average", "rules"),
        [
            ("0.381", [("ap-above-precision", "mixed")]),
            ("0.380", []),  # 0.3795 - 0.3705 is within the 0.00975 of skyscraper
        ],
    )
    def test_skyscraper_s_slack(self, average, rules):
        assert found(S21_mAP200=average, S21_P200="0.370") == rules

    @pytest.mark.parametrize(("average", "rules"), [("0.372", 1), ("0.371", 0)])
    def test_rounding_on_both_sides(self, average, rules):
        assert len(found(S25_mAP100=average, S25_P100="0.370")) == rules

    @pytest.mark.parametrize(("average", "rules"), [("0.376", 1), ("0.375", 0)])
    def test_coarse_figures_leave_more(self, average, rules):
        assert len(found(S25_mAP100=average, S25_P100="0.37")) == rules

    def test_unknown_classes_make_it_suspect(self):
        assert found(TUB_mAP200="0.577", TUB_P200="0.5") == [("ap-above-precision", "suspect")]
        assert "fewer than 200 photos" in said(mAP200="0.577", P200="0.5")

    def test_a_declared_protocol_settles_it(self):
        cells = {"protocol": "tuberlin-30-sake", "TUB_mAP200": "0.577", "TUB_P200": "0.5"}
        assert found(**cells) == [("ap-above-precision", "mixed")]

    def test_a_part_of_the_dataset_is_not_judged(self):
        # 25 photos a class: P@200 is at most 0.125
        cells = {"convention": "standard", "protocol": "sketchy-21"}
        small = {"mAP200": "48.7", "P200": "11.7"}
        assert found(**cells, gallery="525", **small) == []
        assert found(**cells, gallery="10453", **small) == [("ap-above-precision", "impossible")]

    def test_every_pair_of_a_row_is_looked_at(self):
        fine, broken = {"S25_mAP100": "0.3", "S25_P100": "0.4"}, {"mAP50": "0.7", "P50": "0.2"}
        assert found(**fine, **broken) == [("ap-above-precision", "suspect")]
        assert found(**broken, **fine) == [("ap-above-precision", "suspect")]
        partial = {"gallery": "100", "S25_mAP100": "0.5", "S25_P100": "0.4"}
        assert found(**partial, **broken) == [("ap-above-precision", "suspect")]

    def test_cut_offs_are_not_mixed_up(self):
        assert found(S21_mAP200="0.461", S21_P100="0.370") == []
        assert found(S21_mAPall="0.461", S21_P100="0.370") == []
        assert found(S21_mAP200="0.461", QD_P200="0.370") == []


class TestApBelowPrecision:
    # P@200 = 0.5 forces 0.5 + 0.5 ln 0.5 = 0.1534; of 0.4995 it is 0.1531
    @pytest.mark.parametrize(("average", "rules"), [("0.152", 1), ("0.153", 0)])
    def test_edge(self, average, rules):
        findings = found(S21_mAP200=average, S21_P200="0.500")
        assert findings == [("ap-below-precision", "mixed")] * rules

    @pytest.mark.parametrize("convention", ["standard", "sake", "zse", "hits"])
    def test_where_it_is_proved(self, convention):
        cells = {"convention": convention, "S21_mAP200": "18.5", "S21_P200": "61.7"}
        assert found(**cells) == [("ap-below-precision", "impossible")]

    @pytest.mark.parametrize("convention", ["total", "rank"])
    def test_where_it_is_not(self, convention):
        assert found(convention=convention, S21_mAP200="18.5", S21_P200="61.7") == []

    def test_says_how_much_is_forced(self):
        message = said(S21_mAP200="18.5", S21_P200="61.7")
        assert "at least 0.249" in message
        assert "consistent with total or rank" in message


class TestPrecisionOverDepth:
    @pytest.mark.parametrize(("deep", "rules"), [("0.299", 1), ("0.300", 0)])
    def test_half_is_left_at_twice_the_depth(self, deep, rules):
        # 0.600 can be 0.5995, of which half is 0.29975; 0.299 can be 0.2995
        findings = found(S21_P100="0.600", S21_P200=deep)
        assert findings == [("precision-over-depth", "mixed")] * rules

    @pytest.mark.parametrize(
        ("deep", "rule"), [("0.802", "precision-over-depth"), ("0.800", "precision-rises")]
    )
    def test_the_second_half_cannot_be_more_than_full(self, deep, rule):
        assert [name for name, _ in found(S21_P100="0.600", S21_P200=deep)] == [rule]

    @pytest.mark.parametrize(("deep", "rules"), [("0.602", 1), ("0.601", 0), ("0.599", 0)])
    def test_rising_is_suspect(self, deep, rules):
        findings = found(S21_P100="0.600", S21_P200=deep)
        assert findings == [("precision-rises", "suspect")] * rules

    def test_declared(self):
        cells = {"S21_P200": "0.1", "S21_P100": "0.6"}
        assert found(convention="zse", **cells) == [("precision-over-depth", "impossible")]
        assert found(convention="rank", **cells) == []
        assert "the first leaves 0.275 to 0.825 for the second" in said(P100="0.6", P200="0.1")

    def test_splits_are_not_mixed_up(self):
        assert found(S21_P200="0.1", S25_P100="0.6") == []

    def test_columns_in_any_order(self):
        findings = found(S21_P400="0.1", S21_P200="0.9", S21_P100="0.9", QD_P100="0.1")
        assert findings == [("precision-over-depth", "mixed")] * 2


class TestAboveCeiling:
    # 1 - 0.04 * 0.195 = 0.9922
    @pytest.mark.parametrize(("precision", "rules"), [("0.993", 1), ("0.992", 0)])
    def test_edge(self, precision, rules):
        assert found(S21_P200=precision) == [("above-ceiling", "suspect")] * rules

    def test_declared_convention_and_gallery_make_it_impossible(self):
        cells = {"convention": "sake", "S21_P200": "99.5"}
        assert found(**cells) == [("above-ceiling", "suspect")]
        assert found(**cells, gallery="10453") == [("above-ceiling", "impossible")]

    def test_a_gallery_with_repeats_allows_it(self):
        assert found(convention="sake", S21_P200="99.5", gallery="12553") == []

    @pytest.mark.parametrize("convention", ["zse", "rank"])
    def test_where_it_is_not_proved(self, convention):
        assert found(convention=convention, S21_P200="99.5", gallery="10453") == []

    def test_beside_what_has_no_ceiling(self):
        cells = {"S21_mAP200": "0.9", "S21_P100": "0.99", "S21_P200": "0.995"}
        assert ("above-ceiling", "suspect") in found(**cells)

    @pytest.mark.parametrize("column", ["S21_P100", "S25_P200", "Sketchy_P200", "P200"])
    def test_large_or_unknown_classes_have_no_ceiling(self, column):
        assert found(**{column: "99.5"}) == []


class TestRepeatedSplit:
    def test_all_equal(self):
        cells = {"S25_mAP": "33.3", "S25_P100": "45.3", "TUB_mAP": "33.3", "TUB_P100": "45.30"}
        assert found(**cells) == [("repeated-split", "suspect")]
        assert said(**cells).endswith("the same under S25 and TUB")

    def test_one_of_three_may_differ(self):
        same = {"S21_mAP": "33.3", "S21_P100": "45.3", "S21_P200": "40.1"}
        other = {"TUB_mAP": "33.3", "TUB_P100": "45.3"}
        assert found(**same, **other, TUB_P200="40.2") == [("repeated-split", "suspect")]

    def test_one_equal_figure_is_chance(self):
        cells = {"S25_mAP": "33.3", "S25_P100": "45.3", "TUB_mAP": "33.3", "TUB_P100": "45.4"}
        assert found(**cells) == []
        assert found(S25_mAP="33.3", TUB_mAP="33.3") == []
