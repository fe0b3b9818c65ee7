"""Headers and cells in the spellings that papers use, and tables that cannot be read."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.errors import DataError
from msedge.evaluation.tables.results_table import Entry, Metric, read_entries


def only(header: list[str], *row: str) -> Entry:
    (entry,) = read_entries(header, [row])
    return entry


class TestHeader:
    @pytest.mark.parametrize(
        ("name", "metric"),
        [
            ("S21_mAP200", Metric("S21", "mAP", 200)),
            ("s21 map@200", Metric("S21", "mAP", 200)),
            ("S21 mAP@200 (%)", Metric("S21", "mAP", 200)),
            ("S25_mAPall", Metric("S25", "mAP", None)),
            ("S25 mAP", Metric("S25", "mAP", None)),
            ("TUB_P100", Metric("TUB", "P", 100)),
            ("TU Berlin Prec@100", Metric("TU-Berlin", "P", 100)),
            ("TU-Berlin: precision @ 100", Metric("TU-Berlin", "P", 100)),
            ("sketchy-21 P@10", Metric("sketchy-21", "P", 10)),
            ("Sketchy21 P@10", Metric("sketchy-21", "P", 10)),
            ("S 21 mAP@200 [%]", Metric("S21", "mAP", 200)),
            ("QuickDraw/mAP@all", Metric("QuickDraw", "mAP", None)),
            (" P@200 ", Metric("", "P", 200)),
        ],
    )
    def test_spellings(self, name, metric):
        assert only([name], "0.5").figures.keys() == {metric}

    @pytest.mark.parametrize("name", ["P", "S21 P@all", "precision@all"])
    def test_precision_over_all_ranks_is_no_metric(self, name):
        assert only([name, "P@100"], "0.1", "0.5").figures.keys() == {Metric("", "P", 100)}

    @pytest.mark.parametrize(
        ("metric", "text"),
        [
            (Metric("S21", "mAP", 200), "S21 mAP@200"),
            (Metric("TU-Berlin", "mAP", None), "TU-Berlin mAP@all"),
            (Metric("", "P", 100), "P@100"),
        ],
    )
    def test_a_metric_is_written_in_one_way(self, metric, text):
        assert str(metric) == text

    def test_other_columns_are_left_alone(self):
        entry = only(["venue", "note", "Method", "P@100"], "CVPR 19", "map", " ACNet ", "0.5")
        assert (entry.about, entry.method) == ({"method": "ACNet"}, "ACNet")

    def test_the_backbone_stands_in_for_the_method(self):
        assert only(["backbone", "P@100"], "VGG16", "0.5").method == "VGG16"

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (["method", "venue"], "no metric column: .* S21_mAP200"),
            ([], "no metric column"),
            (["protocol", "metric", "value"], "no metric column: .* one metric a column"),
            (["S22_mAP200"], "'S22_mAP200': unknown split, expected one of S21, S25"),
            (["S21_P200", "s21 prec@200"], "'S21_P200' and 's21 prec@200' both hold S21 P@200"),
            (["dim", "Dim", "P@100"], "'dim' and 'Dim' both hold dim"),
        ],
    )
    def test_unusable(self, header, message):
        with pytest.raises(DataError, match=message) as caught:
            read_entries(header, [])
        assert "\n" not in str(caught.value)


class TestCells:
    @pytest.mark.parametrize(
        ("text", "low", "high"),
        [
            ("0.459", "0.4585", "0.4595"),
            (".459", "0.4585", "0.4595"),
            ("45.9", "0.4585", "0.4595"),
            ("45.9%", "0.4585", "0.4595"),
            ("**45.9** ± 0.3", "0.4585", "0.4595"),
            ("0.53", "0.525", "0.535"),
            ("46", "0.455", "0.465"),
            ("0.5%", "0.0045", "0.0055"),
            ("1.000", "0.9995", "1"),
            ("0.0", "0", "0.05"),
            ("1e-3", "0.0005", "0.0015"),
            ("0.4590000000000001", "0.458999999", "0.459000001"),
        ],
    )
    def test_interval(self, text, low, high):
        figure = only(["P@100"], text).figures[Metric("", "P", 100)]
        assert figure.low == pytest.approx(Decimal(low), abs=Decimal("1e-15"))
        assert figure.high == pytest.approx(Decimal(high), abs=Decimal("1e-15"))

    @given(st.integers(0, 10_000), st.integers(1, 4), st.booleans())
    def test_what_was_rounded_is_in_the_interval(self, ten_thousandth, digits, percent):
        value = Decimal(ten_thousandth) / 10_000
        printed = f"{value * 100:.{digits}f}%" if percent else f"{value:.{digits}f}"
        figure = only(["P@100"], printed).figures[Metric("", "P", 100)]
        assert figure.low <= value <= figure.high
        assert figure.low <= figure.value <= figure.high

    @pytest.mark.parametrize("text", ["", " ", "-", "\u2013", "\u2014", "n/a", "N/A", "?"])
    def test_missing(self, text):
        entry = only(["P@100", "P@200"], text, "0.5")
        assert entry.figures.keys() == {Metric("", "P", 200)}
        assert not entry.unreadable

    @pytest.mark.parametrize("text", ["nan", "inf", "0,459", "1_0", "abc", "0.4.5", "٤٥", "0x1"])
    def test_not_a_number(self, text):
        entry = only(["P@100"], text)
        assert entry.unreadable == {Metric("", "P", 100): text}
        assert not entry.figures

    @pytest.mark.parametrize("text", ["-0.1", "\u22125", "100.1", "1e999"])
    def test_outside(self, text):
        entry = only(["P@100"], text)
        assert entry.outside == {Metric("", "P", 100): text}
        assert not entry.figures

    def test_a_row_of_both_units_has_no_figure_that_is_sure(self):
        entry = only(["P@100", "P@200"], "45.9", "0.37")
        assert (len(entry.percent), len(entry.shares), entry.figures) == (1, 1, {})

    def test_zero_is_of_either_unit(self):
        assert len(only(["P@100", "P@200"], "45.9", "0").figures) == 2

    def test_what_a_terminal_obeys_is_taken_out(self):
        assert only(["method", "P@100"], "a\x1b[31m\nb", "0.5").method == "a [31m b"


class TestDeclarations:
    HEADER = ("convention", "protocol", "gallery", "P@100")

    def test_all_of_them(self):
        entry = only(list(self.HEADER), "SAKE", "Sketchy-21; tuberlin-30-sake", "10,453", "0.5")
        assert entry.convention == "sake"
        assert entry.protocols == ("sketchy-21", "tuberlin-30-sake")
        assert entry.gallery == 10453

    def test_none_of_them(self):
        entry = only(list(self.HEADER), "", "-", "n/a", "0.5")
        assert (entry.convention, entry.protocols, entry.gallery) == (None, (), None)

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (("strict", "", "", "0.5"), "row 1: unknown convention 'strict', expected standard"),
            (("", "sketchy-26", "", "0.5"), "row 1: unknown protocol 'sketchy-26', expected"),
            (("", "", "many", "0.5"), "row 1: gallery is 'many', expected a number"),
            (("", "", "0", "0.5"), "row 1: gallery is '0'"),
            (("", "", "0.5"), "row 1 has 3 cells, expected 4"),
            (("", "", "", "0.5", ""), "row 1 has 5 cells, expected 4"),
        ],
    )
    def test_unusable(self, row, message):
        with pytest.raises(DataError, match=message):
            only(list(self.HEADER), *row)
