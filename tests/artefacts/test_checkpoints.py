"""Checkpoints from strangers: tensors, cards, and starting weights in pickles of PyTorch."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from cards import CARD
from hostile_artefacts import (
    Case,
    Mark,
    cut_short,
    held_to_it,
    of_others,
    refusal,
    safetensors,
    turned,
    wiped,
)
from msedge.models.backbones import fetch_weights
from msedge.models.card import FORMAT, read_card
from msedge.models.checkpoint import load_checkpoint
from msedge.models.network import MSEdge
from msedge.models.stored_tensors import stored_tensors


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Of the smallest network there is."""
    torch.manual_seed(0)
    network = MSEdge(CARD.backbone, dim=CARD.dim, fusion=CARD.fusion, image_size=CARD.image_size)
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}


def checkpoint(tensors: dict[str, torch.Tensor], card: str = "", form: str = FORMAT) -> bytes:
    return save(tensors, {"format": form, "card": card or CARD.model_dump_json()})


def card_with(**changes: Any) -> str:
    return json.dumps(CARD.model_dump(mode="json") | changes)


def crafted(tensors: dict[str, torch.Tensor]) -> Iterator[Case]:
    name = next(name for name, tensor in tensors.items() if tensor.ndim > 1)
    first = tensors[name]
    values = {
        "NaN": first * float("nan"),
        "infinity": first + float("inf"),
        "another shape": first.transpose(0, 1).contiguous(),
        "integers": first.to(torch.int32),
        "complex numbers": first.to(torch.complex64),
        "8 bits": first.to(torch.float8_e4m3fn),
        "bits": first > 0,
    }
    for kind, value in values.items():
        yield Case("tensors of a wrong kind", kind, checkpoint(tensors | {name: value}))
    fewer = {key: tensor for key, tensor in tensors.items() if key != name}
    yield Case("tensors of a wrong kind", "one is missing", checkpoint(fewer))
    yield Case("tensors of a wrong kind", "none", checkpoint({}))
    more = tensors | {"evil\n\x1b[2J": torch.zeros(1)}
    yield Case("tensors of a wrong kind", "one more", checkpoint(more))


def of_cards(tensors: dict[str, torch.Tensor]) -> Iterator[Case]:
    cards = [
        {"dim": 65_536}, {"dim": 10**15}, {"dim": 0}, {"image_size": 10**9}, {"image_size": 2048.5},
        {"backbone": "vit_small_patch16_224"}, {"backbone": "hf-hub:stranger/model"},
        {"backbone": "local-dir:/etc"}, {"backbone": "a\nb"}, {"backbone": ""},
        {"backbone": "test_resnet.hf-hub:stranger"}, {"prompts": 4}, {"prompts": 10**9},
        {"fusion": "x\ny"}, {"mean": [1, 2]}, {"std": [0, 0, 0]}, {"unknown\nfield": 1},
        {"metrics": {"mAP": "x"}}, {"data": "none"},
    ]  # fmt: skip
    for changes in cards:
        content = checkpoint(tensors, card_with(**changes))
        yield Case("a card that lies", str(changes), content)
    for name, text in (("nested deeply", "[" * 100_000), ("two", "{}{}"), ("a number", "9" * 9999)):
        yield Case("a card that lies", name, checkpoint(tensors, text))
    for version in ("msedge-checkpoint-2", "msedge-checkpoint-0", "vectors\nof another"):
        yield Case("of another release", version, checkpoint(tensors, form=version))


def headers() -> Iterator[Case]:
    made = {
        "claims 10^18 bytes": safetensors({}, length=10**18),
        "20 MB": safetensors(b'{"__metadata__":{"format":"' + b"x" * 20_000_000 + b'"}}'),
        "a list": safetensors([]),
        "nested deeply": safetensors(b'{"a":' * 50_000),
        "an offset below 0": safetensors(
            {"a": {"dtype": "F32", "shape": [4], "data_offsets": [-1, 16]}}, bytes(16)
        ),
        "a shape of 2^64 numbers": safetensors(
            {"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 16]}}, bytes(16)
        ),
        "metadata twice": safetensors(b'{"__metadata__":{"a":"b"},"__metadata__":{"a":"c"}}'),
    }
    for name, content in made.items():
        yield Case("a header that lies", name, content)


def pickled(value: object, *, zipped: bool = True) -> bytes:
    content = io.BytesIO()
    torch.save(value, content, _use_new_zipfile_serialization=zipped)
    return content.getvalue()


class TestCheckpoints:
    def test_a_file_from_anywhere_is_read_or_refused_in_one_line(self, tensors, hostile_file, mark):
        whole = checkpoint(tensors)
        path = hostile_file.with_suffix(".safetensors")
        cases = chain(
            cut_short(whole), turned(whole, header=3000, each=4), of_others(mark), headers(),
            crafted(tensors), of_cards(tensors), list(wiped(whole))[-2:],
        )  # fmt: skip
        counts = held_to_it("checkpoint", cases, load_checkpoint, path, mark)
        assert sum(counts.values()) >= 80

    def test_so_are_its_card_and_the_places_of_its_tensors(self, tensors, hostile_file, mark):
        whole = checkpoint(tensors)
        path = hostile_file.with_suffix(".safetensors")
        cases = [
            *cut_short(whole), *turned(whole, header=3000), *of_others(mark), *headers(),
        ]  # fmt: skip
        assert held_to_it("card", cases, read_card, path, mark)
        places = [case for case in cases if case.name not in ("20 MB",)]
        assert held_to_it("places of tensors", places, stored_tensors, path, mark)

    def test_a_whole_one_is_read(self, tensors, tmp_path):
        path = tmp_path / "model.safetensors"
        path.write_bytes(checkpoint(tensors))
        assert load_checkpoint(path)[1] == CARD

    def test_a_newer_one_says_how_to_go_on(self, tensors, tmp_path):
        path = tmp_path / "model.safetensors"
        path.write_bytes(checkpoint(tensors, form="msedge-checkpoint-2"))
        assert "update" in (refusal(load_checkpoint, path) or "")

    @pytest.mark.parametrize("name", ["eva02_enormous_patch14_clip_224", "vit_giant_patch14_224"])
    @pytest.mark.slow
    def test_a_card_of_a_network_of_gigabytes_takes_none(self, tensors, tmp_path, name):
        path = tmp_path / "model.safetensors"
        path.write_bytes(checkpoint(tensors, card_with(backbone=name)))
        before = _memory()
        assert "do not fit its card" in (refusal(load_checkpoint, path) or "")
        assert _memory() - before < 500 * 2**20


def _memory() -> int:
    """The most that this process has held so far, in bytes."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("the memory of a process is told by Linux alone")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class TestStartingWeights:
    @pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
    def test_files_of_others_are_refused_and_their_code_is_not_run(
        self, hostile_file, mark, suffix
    ):
        path = hostile_file.with_suffix(suffix)
        assert held_to_it("starting weights", of_others(mark), self.read, path, mark)

    @pytest.mark.parametrize("zipped", [True, False])
    def test_what_pytorch_wrote_and_a_disk_has_damaged(self, hostile_file, mark, zipped):
        whole = pickled({"weight": torch.zeros(5)}, zipped=zipped)
        cases = [*cut_short(whole), *turned(whole, header=300), *wiped(whole)]
        held_to_it("starting weights", cases, self.read, hostile_file.with_suffix(".pth"), mark)

    def test_a_pickle_says_that_it_was_not_run_and_not_how_to(self, tmp_path, mark):
        path = tmp_path / "weights.pth"
        path.write_bytes(pickled({"weights": Mark(tmp_path)}))
        message = refusal(self.read, path) or ""
        assert "never loaded since it can run code" in message
        assert "weights_only" not in message
        assert not mark.was_left

    def test_a_script_of_pytorch_is_not_run(self, tmp_path):
        path = tmp_path / "script.pth"
        torch.jit.save(torch.jit.script(torch.nn.Identity()), str(path))
        assert "never loaded" in (refusal(self.read, path) or "")

    @staticmethod
    def read(path: Path) -> None:
        fetch_weights("test_resnet", str(path), image_size=32)
