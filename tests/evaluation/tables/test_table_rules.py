"""Each rule with rows that break it and rows that just do not."""

from __future__ import annotations

import pytest

from msedge.evaluation.tables.findings import Finding
from msedge.evaluation.tables.results_table import read_entries
from msedge.evaluation.tables.table_rules import TABLE_RULES


def findings(header: str, *rows: str) -> list[Finding]:
    entries = read_entries(header.split(","), [row.split(",") for row in rows])
    return [finding for rule in TABLE_RULES for finding in rule(entries)]


def found(header: str, *rows: str) -> list[tuple[int, str, str]]:
    return [(each.row, each.rule, each.severity) for each in findings(header, *rows)]


class TestUnits:
    def test_the_fewer_are_named(self):
        rows = ("0.459,0.5", "45.8,50.1", "44.9,52.2")
        assert found("S21 mAP@200,S21 P@200", *rows) == [(1, "mixed-units", "mixed")]

    def test_one_unit(self):
        assert found("S21 P@200", "45.9", "45.8", "0") == []
        assert found("S21 P@200", "0.459", "0.458", "-") == []


class TestRepeatedRows:
    HEADER = "method,dim,S21 mAP@200,S21 P@200,TUB P@100"

    def test_name_and_figures(self):
        rows = ("SAKE,512,0.497,0.598,", "DSN,512,0.501,0.597,", "SAKE,512,0.497,0.598,")
        assert found(self.HEADER, *rows) == [(3, "repeated-row", "suspect")]
        assert "row 1 (SAKE)" in findings(self.HEADER, *rows)[0].message

    def test_figures_of_another(self):
        rows = ("VGG16,64,0.293,0.333,0.453", "VGG16,512,29.3,33.3,45.3")
        assert (2, "repeated-figures", "suspect") in found(self.HEADER, *rows)

    def test_two_equal_figures_are_chance(self):
        assert found(self.HEADER, "A,64,0.293,0.333,", "B,64,0.293,0.333,") == []

    def test_one_other_figure(self):
        rows = ("A,64,0.293,0.333,0.453", "B,64,0.293,0.333,0.454")
        assert found(self.HEADER, *rows) == []

    def test_empty_rows_are_not_the_same(self):
        assert found(self.HEADER, "A,64,,,", "B,64,,,") == []


class TestProtocols:
    def test_declared(self):
        rows = ("A,sketchy-25-sake,60", "B,sketchy-25-sake,61", "C,sketchy-25-sempcyc,62", "D,,63")
        assert found("method,protocol,S25 P@100", *rows) == [(3, "mixed-protocols", "mixed")]

    def test_two_datasets_in_a_row(self):
        header = "method,protocol,S25 P@100,TUB P@100"
        rows = (
            "A,sketchy-25-sake tuberlin-30-sake,60,50",
            "B,sketchy-25-sake tuberlin-30-sempcyc,61,51",
        )
        (finding,) = findings(header, *rows)
        assert finding.row == 2
        assert "TUB P@100 51 are of tuberlin-30-sempcyc (declared)" in finding.message
        assert "under TUB are of tuberlin-30-sake" in finding.message

    def test_only_rows_with_a_figure_count(self):
        rows = ("A,sketchy-25-sake,60,", "B,sketchy-25-sempcyc,,55")
        assert found("method,protocol,S25 P@100,QD P@100", *rows) == []

    def test_a_declaration_against_the_column(self):
        (finding,) = findings("protocol,S25 P@100", "sketchy-21,60")
        assert (finding.row, finding.rule, finding.severity) == (1, "mixed-protocols", "mixed")
        assert "S25, which is sketchy-25-sake or sketchy-25-sempcyc" in finding.message
        assert found("protocol,S25 P@100,S21 P@100", "sketchy-21,,60") == []

    def test_two_at_once(self):
        row = "sketchy-25-sake;sketchy-25-sempcyc,60"
        assert found("protocol,S25 P@100", row) == [(1, "mixed-protocols", "mixed")]

    def test_on_record(self):
        header = "method,S25 mAP@all,S25 P@100"
        rows = ("SEM-PCYC (real),34.9,46.3", "SAKE,0.547,0.692", "sake 64,0.364,0.487")
        odd = [each for each in findings(header, *rows) if each.rule == "mixed-protocols"]
        assert [each.row for each in odd] == [1]
        assert odd[0].message == (
            "S25 mAP@all 34.9, S25 P@100 46.3 are of sketchy-25-sempcyc (on record for this "
            "method); other rows under S25 are of sketchy-25-sake, other unseen classes"
        )

    def test_a_declaration_counts_before_what_is_on_record(self):
        header = "method,protocol,S25 mAP@all,S25 P@100"
        rows = ("SEM-PCYC,sketchy-25-sake,34.9,46.3", "SAKE,,54.7,69.2", "A,,,", "B,,60,70")
        assert found(header, *rows) == []

    def test_a_method_run_anew_is_not_mistaken(self):
        header = "method,S25 mAP@all,S25 P@100"
        assert found(header, "SEM-PCYC,0.351,0.463", "SAKE,0.547,0.692") == []
        assert found(header, "Another,0.349,0.463", "SAKE,0.547,0.692") == []
        assert found(header, "SEM-PCYC,0.349,", "SAKE,0.547,0.692") == []

    def test_a_column_without_a_split_may_hold_any(self):
        assert found("protocol,P@100", "sketchy-25-sake,60", "sketchy-21,61") == []


class TestConventions:
    HEADER = "method,convention,S21 mAP@200,S21 mAP@all,S21 P@200"

    def test_hits_beside_strict_ones(self):
        rows = ("A,sake,50.1,55.1,60.1", "B,standard,50.2,55.2,60.2", "C,hits,68.7,55.3,60.3")
        (finding,) = findings(self.HEADER, *rows)
        assert (finding.row, finding.rule, finding.severity) == (3, "mixed-conventions", "mixed")
        assert finding.message.startswith("S21 mAP@200 68.7 are under hits")

    def test_strict_ones_are_one_scale(self):
        rows = (f"{name},{name},5{i}.1,55.{i},60.{i}" for i, name in enumerate(STRICT))
        assert found(self.HEADER, *rows) == []

    @pytest.mark.parametrize("odd", ["hits", "total"])
    @pytest.mark.parametrize("usual", ["standard", "hits", "total"])
    def test_the_most_lenient_and_the_strictest_are_scales_of_their_own(self, odd, usual):
        rows = (f"A,{usual},50.1,55.1,60.1", f"B,{usual},50.2,55.2,60.2", f"C,{odd},40.3,55.3,60.3")
        expected = [] if odd == usual else [(3, "mixed-conventions", "mixed")]
        assert found(self.HEADER, *rows) == expected

    def test_precision_at_one_rank(self):
        rows = ("A,sake,50.1,55.1,60.1", "B,rank,50.2,55.2,60.2")
        (finding,) = findings(self.HEADER, *rows)
        assert finding.message.startswith("S21 P@200 60.2 are under rank")

    def test_over_all_ranks_they_agree(self):
        rows = ("A,sake,,55.1,", "B,hits,,55.2,", "C,total,,55.3,")
        assert found(self.HEADER, *rows) == []

    def test_undeclared_rows_take_no_part(self):
        assert found(self.HEADER, "A,,50.1,55.1,60.1", "B,hits,68.7,55.3,60.3") == []


STRICT = ("standard", "sake", "zse")
