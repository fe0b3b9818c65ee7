"""What is read from an ONNX file without ONNX: as the library reads it, or an error of one line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from msedge.errors import WeightsError
from msedge.models.card import FORMAT, Card
from msedge.models.checkpoint import load_checkpoint, save_checkpoint
from msedge.models.onnx_file import external_files, fingerprint, read_onnx_card


@pytest.fixture
def pair(shipment, tmp_path) -> Path:
    """A copy of both files; the path of the graph."""
    shutil.copy(shipment.model.checkpoint, tmp_path)
    return Path(shutil.copy(shipment.model.onnx, tmp_path))


def write_graph(path: Path, location: str, card: Card) -> Path:
    tensor = onnx.TensorProto(
        name="w", dims=[1], data_type=1, data_location=onnx.TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value=location)
    model = onnx.ModelProto(ir_version=10, graph=onnx.GraphProto(initializer=[tensor]))
    model.metadata_props.add(key="format", value=FORMAT)
    model.metadata_props.add(key="card", value=card.model_dump_json())
    path.write_bytes(model.SerializeToString())
    return path


class TestSmoke:
    def test_the_card(self, pair, shipment):
        assert read_onnx_card(pair) == shipment.model.card

    def test_the_files_that_hold_its_weights(self, pair, shipment):
        assert external_files(pair) == (pair.parent / shipment.model.checkpoint.name,)

    def test_a_file_that_holds_its_own(self, pair):
        model = onnx.load(pair)
        alone = pair.parent / "alone.onnx"
        onnx.save(model, alone)
        assert external_files(alone) == ()
        assert read_onnx_card(alone) == read_onnx_card(pair)

    def test_a_card_of_more_than_ascii(self, tmp_path, card):
        limits = "Zürich, 東京"
        path = write_graph(tmp_path / "a.onnx", "w", card.model_copy(update={"limits": limits}))
        assert read_onnx_card(path).limits == limits

    def test_reading_needs_no_onnx(self, pair):
        code = (
            "import sys; from pathlib import Path; from msedge.models import onnx_file; "
            f"print(len(onnx_file.fingerprint(Path({str(pair)!r}))), "
            "sorted({'torch', 'onnx', 'onnxruntime', 'google'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
        )
        assert done.stdout == "64 []\n"


class TestExceptions:
    def test_no_file(self, tmp_path):
        with pytest.raises(WeightsError, match=r"absent\.onnx cannot be read \(No such file"):
            read_onnx_card(tmp_path / "absent.onnx")

    @pytest.mark.parametrize(
        "content",
        [b"", b"not an ONNX file at all", b"\x0b", b"\xff" * 20, b"\x3a\x05a", b"\x09abc"],
        ids=["empty", "text", "wire type", "long number", "cut field", "cut fixed"],
    )
    @pytest.mark.parametrize("read", [read_onnx_card, external_files, fingerprint])
    def test_no_onnx_file(self, tmp_path, content, read):
        path = tmp_path / "other.onnx"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"other\.onnx cannot be read as ONNX; it is dam"):
            read(path)

    @pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "deep/w.bin"])
    def test_weights_outside_the_folder(self, tmp_path, card, location):
        path = write_graph(tmp_path / "a.onnx", location, card)
        with pytest.raises(WeightsError, match="refers to weights outside its folder"):
            external_files(path)

    def test_weights_that_are_missing(self, tmp_path, card):
        path = write_graph(tmp_path / "a.onnx", "w.bin", card)
        with pytest.raises(WeightsError, match=r"w\.bin, which is missing; put the two side by si"):
            fingerprint(path)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_damage_anywhere_is_an_error_of_ours_or_none(self, tmp_path, card, data):
        (tmp_path / "w").touch()
        path = write_graph(tmp_path / "a.onnx", "w", card)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(content) - 1))
            content[at] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        try:
            said = fingerprint(path)
        except WeightsError as error:
            said = str(error)
        assert said.isprintable()


class TestFingerprint:
    def test_it_does_not_depend_on_where_the_files_lie(self, pair, shipment):
        assert fingerprint(pair) == fingerprint(shipment.model.onnx)

    def test_one_weight_changes_it(self, pair, shipment):
        before = fingerprint(pair)
        network, card = load_checkpoint(shipment.model.checkpoint)
        network.projection.bias.data[0] += 0.25
        save_checkpoint(pair.with_suffix(".safetensors"), network, card, half=True)
        assert fingerprint(pair) != before

    @pytest.mark.parametrize("change", [{"gallery_edges": 0.25}, {"frame_sketches": True}])
    def test_how_images_are_shown_changes_it(self, tmp_path, card, change):
        (tmp_path / "w").touch()
        one = write_graph(tmp_path / "a.onnx", "w", card)
        other = write_graph(tmp_path / "b.onnx", "w", card.model_copy(update=change))
        assert fingerprint(one) != fingerprint(other)
