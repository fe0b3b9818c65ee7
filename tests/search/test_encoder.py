"""The encoder without PyTorch gives the vectors and edges that training and evaluation saw."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from cards import CARD
from msedge.data.datasets import ImageSet
from msedge.data.images import read_pixels
from msedge.data.layouts import Record
from msedge.data.sample import SAMPLE_CLASSES, draw_photo, draw_sketch
from msedge.errors import ConfigError, ShapeError, WeightsError
from msedge.models import shipped
from msedge.models.card import Card, DataSource
from msedge.models.checkpoint import load_checkpoint, save_checkpoint
from msedge.models.network import MSEdge
from msedge.models.onnx_conversion import convert
from msedge.models.onnx_export import export_onnx
from msedge.models.shipped import ModelFiles
from msedge.models.shipping import ship
from msedge.search.calibration import choose_photos
from msedge.search.encoder import OnnxEncoder, photo_side
from msedge.search.gallery import Gallery
from msedge.search.indexing import index
from msedge.training.embedding import embed

SIZE = 64
OWN = CARD.model_copy(update={"image_size": SIZE, "gallery_edges": 0.5, "dim": 12})


def write_network(path: Path, seed: int = 0, card: Card = OWN) -> Path:
    torch.manual_seed(seed)
    network = MSEdge(card.backbone, dim=card.dim, fusion=card.fusion, image_size=card.image_size)
    network(torch.rand(4, 3, card.image_size, card.image_size))
    save_checkpoint(path, network.eval(), card)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """A small network as it ships, made once; its files are to be copied, not changed."""
    folder = tmp_path_factory.mktemp("encoder")
    source = DataSource(name="own", what="noise", licence="CC0")
    return ship(
        write_network(folder / "run.safetensors"),
        folder / "weights",
        name="msedge-tiny",
        intended_use="tests",
        limits="knows nothing",
        data=[source],
    ).model


@pytest.fixture
def pair(made: ModelFiles, tmp_path: Path) -> Path:
    """A copy of both files; the path of the checkpoint."""
    folder = Path(shutil.copytree(made.checkpoint.parent, tmp_path / "weights"))
    return folder / made.checkpoint.name


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Eleven photos, more than go through a network together, and as many sketches."""
    folder, records = tmp_path_factory.mktemp("drawings"), []
    for row, name in enumerate(SAMPLE_CLASSES[:11]):
        rng = np.random.default_rng(row)
        for domain, draw in (("photo", draw_photo), ("sketch", draw_sketch)):
            path = folder / f"{name}-{domain}.png"
            draw(name, rng, 96).convert("RGB").save(path)
            records.append(Record(path, domain, name))
    return ImageSet(records, SAMPLE_CLASSES, size=SIZE)


def pixels_of(images: ImageSet, domain: str) -> np.ndarray:
    rows = [row for row, record in enumerate(images.records) if record.domain == domain]
    return np.ascontiguousarray(images.pixels(torch.tensor(rows)))


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8)


class TestSmoke:
    def test_what_it_says_of_itself(self, pair):
        encoder = OnnxEncoder.load(pair)
        assert (encoder.dim, encoder.image_size) == (12, SIZE)
        assert encoder.card == load_checkpoint(pair)[1]
        assert len(encoder.fingerprint) == 64

    def test_the_name_is_what_loads_it_again_from_anywhere(self, pair, tmp_path, monkeypatch):
        monkeypatch.chdir(pair.parent)
        relative = OnnxEncoder.load(pair.name)
        monkeypatch.chdir(tmp_path)
        assert relative.name == str(pair)
        assert OnnxEncoder.load(relative.name).fingerprint == relative.fingerprint

    def test_a_shipped_model_goes_by_its_name(self, pair, monkeypatch):
        monkeypatch.setattr(shipped, "WEIGHTS", pair.parent)
        encoder = OnnxEncoder.load("msedge-tiny")
        assert encoder.name == "msedge-tiny"
        assert encoder.fingerprint == OnnxEncoder.load(pair).fingerprint

    def test_the_onnx_file_itself(self, pair):
        named, beside = OnnxEncoder.load(pair.with_suffix(".onnx")), OnnxEncoder.load(pair)
        assert named.fingerprint == beside.fingerprint
        np.testing.assert_array_equal(named.photos(noise(2)), beside.photos(noise(2)))

    @pytest.mark.parametrize("threads", [1, 2, None])
    def test_threads_change_no_vector(self, pair, threads):
        found = OnnxEncoder.load(pair, threads=threads).photos(noise(3))
        np.testing.assert_allclose(found, OnnxEncoder.load(pair).photos(noise(3)), atol=1e-6)

    def test_several_threads_may_ask_one(self, pair):
        encoder, pixels = OnnxEncoder.load(pair, threads=1), noise(20)
        answers: dict[int, np.ndarray] = {}

        def ask(row: int) -> None:
            answers[row] = encoder.photos(pixels[row : row + 5])

        workers = [threading.Thread(target=ask, args=(row,)) for row in range(0, 20, 5)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        found = np.concatenate([answers[row] for row in sorted(answers)])
        np.testing.assert_allclose(found, encoder.photos(pixels), atol=1e-6)

    def test_it_needs_no_learning_library(self, pair):
        code = (
            "import sys, numpy as np; from msedge.search.encoder import OnnxEncoder\n"
            f"encoder = OnnxEncoder.load({str(pair)!r})\n"
            f"print(encoder.photos(np.zeros((1, 3, {SIZE}, {SIZE}), np.uint8)).shape)\n"
            "print(sorted({'torch', 'kornia', 'scipy', 'onnx'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
        )
        assert done.stdout == "(1, 12)\n[]\n"

    def test_importing_it_loads_neither_the_runtime_nor_what_reads_cards(self):
        code = (
            "import sys, msedge.search.encoder; "
            "print(sorted({'onnxruntime', 'pydantic', 'torch', 'PIL'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
        )
        assert done.stdout == "[]\n"


class TestExceptions:
    @pytest.mark.parametrize(
        "pixels",
        [
            np.zeros((3, SIZE, SIZE), np.uint8),
            np.zeros((1, 3, 32, 32), np.uint8),
            np.zeros((1, SIZE, SIZE, 3), np.uint8),
            np.zeros((1, 3, SIZE, SIZE), np.float32),
        ],
        ids=["one photo", "size", "order", "floats"],
    )
    @pytest.mark.parametrize("domain", ["photos", "sketches"])
    def test_pixels_outside_the_contract(self, pair, domain, pixels):
        with pytest.raises(ShapeError, match=r"reads uint8 pixels of shape \(B, 3, 64, 64\), got"):
            getattr(OnnxEncoder.load(pair), domain)(pixels)

    def test_devices(self, monkeypatch):
        with pytest.raises(ConfigError, match="expected cpu or cuda"):
            OnnxEncoder.load(device="tpu")
        monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [])
        with pytest.raises(ConfigError, match="CPUs alone: pip install onnxruntime-gpu"):
            OnnxEncoder.load(device="cuda")

    def test_no_thread(self, pair):
        with pytest.raises(ConfigError, match="at least 1 thread, got 0"):
            OnnxEncoder.load(pair, threads=0)

    @pytest.mark.parametrize("name", ["msedge-absent", "absent.onnx", "absent.safetensors"])
    def test_no_such_model(self, name):
        with pytest.raises(WeightsError, match=f"no model '{name}'"):
            OnnxEncoder.load(name)

    def test_a_checkpoint_alone(self, pair):
        pair.with_suffix(".onnx").unlink()
        with pytest.raises(WeightsError, match=r"has no ONNX file beside it; write it with `msedg"):
            OnnxEncoder.load(pair)

    def test_a_graph_alone(self, pair):
        pair.unlink()
        with pytest.raises(WeightsError, match=r"refers to weights in .*tiny.safetensors, which"):
            OnnxEncoder.load(pair.with_suffix(".onnx"))

    def test_a_graph_of_another_checkpoint(self, pair):
        write_network(pair, seed=1, card=OWN.model_copy(update={"epoch": 9}))
        with pytest.raises(WeightsError, match=r"tiny\.onnx was made from another model than"):
            OnnxEncoder.load(pair)

    @pytest.mark.parametrize("kept", [0, 10, 0.5, 0.9])
    def test_a_damaged_graph(self, pair, kept):
        graph = pair.with_suffix(".onnx")
        content = graph.read_bytes()
        graph.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
        with pytest.raises(WeightsError, match=r"tiny\.onnx ") as caught:
            OnnxEncoder.load(graph)
        assert "\n" not in str(caught.value)

    def test_damaged_weights(self, pair):
        pair.write_bytes(pair.read_bytes()[:-1000])
        with pytest.raises(WeightsError) as caught:
            OnnxEncoder.load(pair.with_suffix(".onnx"))
        assert "\n" not in str(caught.value)

    def test_a_graph_of_another_program(self, pair):
        graph = pair.with_suffix(".onnx")
        model = onnx.load(graph, load_external_data=False)
        del model.metadata_props[:]
        onnx.save(model, graph)
        with pytest.raises(WeightsError, match=r"tiny\.onnx is not a checkpoint of MSEdge"):
            OnnxEncoder.load(graph)

    def test_a_graph_that_does_not_keep_to_its_card(self, pair):
        graph = pair.with_suffix(".onnx")
        model = onnx.load(graph, load_external_data=False)
        said = next(each for each in model.metadata_props if each.key == "card")
        said.value = json.dumps(json.loads(said.value) | {"dim": 13})
        onnx.save(model, graph)
        with pytest.raises(WeightsError, match="does not take and give what its card says"):
            OnnxEncoder.load(graph)


class TestNumbers:
    def test_vectors_as_evaluation_has_them(self, pair, drawings):
        network, card = load_checkpoint(pair)
        expected = embed(
            network, drawings, device=torch.device("cpu"), edge_weight=card.gallery_edges
        )
        encoder = OnnxEncoder.load(pair)
        photos = encoder.photos(pixels_of(drawings, "photo"))
        sketches = encoder.sketches(pixels_of(drawings, "sketch"))
        np.testing.assert_allclose(photos, expected.embeddings[expected.of("photo")], atol=1e-3)
        np.testing.assert_allclose(sketches, expected.embeddings[expected.of("sketch")], atol=1e-3)
        # and not because all are alike, or because edges do not count
        assert np.abs(photos[0] - photos[1]).max() > 0.01
        assert np.abs(photos - encoder.sketches(pixels_of(drawings, "photo"))).max() > 0.01

    def test_without_edges_both_domains_are_seen_alike(self, tmp_path):
        run = write_network(
            tmp_path / "run.safetensors", card=OWN.model_copy(update={"gallery_edges": 0.0})
        )
        convert(run, run.with_suffix(".onnx"))
        encoder = OnnxEncoder.load(run)
        np.testing.assert_array_equal(encoder.photos(noise(3)), encoder.sketches(noise(3)))

    @pytest.mark.parametrize("domain", ["photos", "sketches"])
    def test_batches_of_any_size(self, pair, domain):
        ask, pixels = getattr(OnnxEncoder.load(pair), domain), noise(19)
        whole = ask(pixels)
        assert (whole.shape, whole.dtype) == ((19, 12), np.float32)
        np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, rtol=1e-5)
        one_by_one = np.concatenate([ask(photo[None]) for photo in pixels])
        np.testing.assert_allclose(whole, one_by_one, atol=1e-6)
        assert ask(pixels[:0]).shape == (0, 12)

    def test_what_goes_through_the_network_together_is_bounded(self, pair):
        encoder, seen = OnnxEncoder.load(pair), []
        run = encoder._session.run

        class Watched:
            def run(self, names, given):
                seen.append(len(given["images"]))
                return run(names, given)

        encoder._session = Watched()
        encoder.photos(noise(50))
        assert max(seen) <= 32
        assert sum(seen) == 100  # each photo and its edges

    def test_the_fingerprint_follows_the_weights(self, pair):
        before = OnnxEncoder.load(pair).fingerprint
        network, card = load_checkpoint(pair)
        network.projection.bias.data[0] += 0.25
        save_checkpoint(pair, network, card, half=True)
        assert OnnxEncoder.load(pair).fingerprint != before


def test_nobody_is_told_that_it_runs(tmp_path):
    """ONNX Runtime would keep a record of its use below the home folder, and send it."""
    program = (
        "import numpy as np; from msedge.search.encoder import OnnxEncoder;"
        "encoder = OnnxEncoder.load(); size = encoder.image_size;"
        "encoder.photos(np.zeros((1, 3, size, size), np.uint8))"
    )
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", program], check=True, env={**kept, **home}, timeout=120)
    assert list(tmp_path.rglob("*")) == []


SHAPES = ((96, 96), (200, 90), (90, 200), (640, 70), (200, 92))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Photos and drawings of several shapes."""
    folder, records = tmp_path_factory.mktemp("shapes"), []
    for row, shape in enumerate(SHAPES):
        for domain, draw in (("photo", draw_photo), ("sketch", draw_sketch)):
            path = folder / f"{row}-{domain}.png"
            picture = draw(SAMPLE_CLASSES[row], np.random.default_rng(row), 200)
            picture.convert("RGB").resize(shape).save(path)
            records.append(Record(path, domain, SAMPLE_CLASSES[row]))
    return ImageSet(records, SAMPLE_CLASSES, size=SIZE)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> OnnxEncoder:
    """A network that reads photos in their own shape."""
    folder = tmp_path_factory.mktemp("shaped")
    card = OWN.model_copy(update={"photo_sizes": (96,), "fusion": "none"})
    export_onnx(write_network(folder / "net.safetensors", card=card), folder / "net.onnx")
    return OnnxEncoder.load(folder / "net.onnx")


class TestPhotosOfTheirOwnShape:
    @pytest.mark.parametrize(("sizes", "precision"), [((96,), "float32"), ((64, 96), "float16")])
    def test_as_pytorch_embeds_them(self, photos, tmp_path, sizes, precision):
        card = OWN.model_copy(update={"photo_sizes": sizes, "fusion": "none"})
        checkpoint = write_network(tmp_path / "net.safetensors", card=card)
        convert(checkpoint, tmp_path / "own.onnx", precision=precision)
        encoder = OnnxEncoder.load(tmp_path / "own.onnx")
        network, _ = load_checkpoint(checkpoint)
        expected = embed(
            network, photos, device=torch.device("cpu"), edge_weight=0.5, photo_sizes=sizes
        )
        rows = [row for row, record in enumerate(photos.records) if record.domain == "photo"]
        side, keep_shape = photo_side(encoder)
        assert (side, keep_shape) == (96, True)
        found = []
        for row in rows:
            pixels = read_pixels(photos.records[row].path, side, keep_shape=True)
            found.append(encoder.photos(pixels[None])[0])
        tolerance = 1e-5 if precision == "float32" else 5e-3
        np.testing.assert_allclose(found, expected.embeddings[rows], atol=tolerance)
        squashed = embed(network, photos, device=torch.device("cpu"), edge_weight=0.5)
        assert np.abs(squashed.embeddings[rows] - expected.embeddings[rows]).max() > 0.01
        sketches = expected.of("sketch")
        np.testing.assert_allclose(
            encoder.sketches(pixels_of(photos, "sketch")),
            expected.embeddings[sketches],
            atol=tolerance,
        )

    def test_a_gallery_and_a_photo_that_is_asked_with(self, photos, encoder, tmp_path):
        folder = photos.records[0].path.parent
        index([folder], tmp_path / "photos.msedge", encoder)
        with Gallery.open(tmp_path / "photos.msedge", model=encoder) as gallery:
            for record in photos.records:
                copy = shutil.copy(record.path, tmp_path / "copy.png")
                (first, *_) = gallery.search(like=[copy], k=1)
                assert (first.photo.path, round(first.similarity, 3)) == (record.path, 1)

    def test_eight_bits_are_fitted_to_photos_of_every_shape(self, photos, tmp_path):
        card = OWN.model_copy(
            update={"photo_sizes": (96,), "fusion": "none", "backbone": "test_efficientnet"}
        )
        checkpoint = write_network(tmp_path / "net.safetensors", card=card)
        paths = [record.path for record in photos.records] * 4
        chosen = choose_photos(paths, 96, keep_shape=True)
        assert len({batch.shape for batch in chosen.calibration}) > 3
        convert(
            checkpoint,
            tmp_path / "int8.onnx",
            precision="int8",
            calibration=chosen.calibration,
            held_out=chosen.held_out,
        )
        encoder = OnnxEncoder.load(tmp_path / "int8.onnx")
        assert encoder.photos(np.zeros((1, 3, 64, 128), np.uint8)).shape == (1, 12)

    def test_places_are_those_of_the_network(self, encoder, made, photos):
        """A grid over the photo, each place as the network sees it; none of one without sizes."""
        network, card = load_checkpoint(Path(encoder.name).with_suffix(".safetensors"))
        pixels = read_pixels(photos.records[2].path, 96, keep_shape=True)
        found = encoder.places(pixels)
        assert found.shape == (card.dim, pixels.shape[1] // 32, pixels.shape[2] // 32)
        with torch.inference_mode():
            _, expected = network.with_places(torch.from_numpy(pixels)[None] / 255)
        expected = torch.nn.functional.normalize(expected[0], dim=0).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert OnnxEncoder.load(made.checkpoint).places(pixels) is None

    def test_what_is_no_multiple_of_the_stride(self, encoder):
        with pytest.raises(ShapeError, match=r"in multiples of 32, got \(1, 3, 64, 70\)"):
            encoder.photos(np.zeros((1, 3, 64, 70), np.uint8))

    def test_a_network_that_does_not_bear_it(self, tmp_path):
        """The fusion with edges averages them over areas that the export fixes."""
        card = OWN.model_copy(update={"photo_sizes": (96,)})
        checkpoint = write_network(tmp_path / "net.safetensors", card=card)
        with pytest.raises(WeightsError, match="nothing was written"):
            export_onnx(checkpoint, tmp_path / "net.onnx")
        assert not (tmp_path / "net.onnx").exists()

    def test_the_sizes_decide_the_vectors(self, tmp_path):
        """They are told though graph and weights are the same."""
        prints = set()
        for sizes in ((96,), (64, 96)):
            card = OWN.model_copy(update={"photo_sizes": sizes, "fusion": "none"})
            path = write_network(tmp_path / "net.safetensors", card=card)
            export_onnx(path, path.with_suffix(".onnx"), embed_weights=False)
            prints.add(OnnxEncoder.load(path).fingerprint)
        assert len(prints) == 2
