"""Banks from strangers: tensors of a wrong kind, names that lie, headers that claim too much."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain

import numpy as np
from safetensors.numpy import save

from hostile_artefacts import Case, cut_short, held_to_it, of_others, safetensors, turned, wiped
from msedge.models.bank import FORMAT, read_bank

TENSORS = {
    "drawings": np.eye(8, dtype=np.float16),
    "name_drawings": np.eye(8, dtype=np.float16)[:2],
    "name_photos": np.zeros((2, 8), np.float16),
}
SAID = {
    "format": FORMAT,
    "model": "0" * 64,
    "names": '[{"name": "cat", "synonyms": ["kitten"]}, {"name": "dog"}]',
    "data": '[{"name": "n", "what": "w", "licence": "l"}]',
}


def crafted() -> Iterator[Case]:
    for name, whole in TENSORS.items():
        wrong = {
            "NaN": whole * np.float16("nan"),
            "infinity": whole + np.float16("inf"),
            "another type": whole.astype(np.float32),
            "integers": whole.astype(np.int16),
            "one axis": whole[0],
            "three axes": whole[None],
            "another width": whole[:, :7],
            "long": whole * np.float16(2) + np.float16(3),
        }
        for kind, tensor in wrong.items():
            content = save(TENSORS | {name: np.ascontiguousarray(tensor)}, SAID)
            yield Case("tensors of a wrong kind", f"{name}: {kind}", content)
        fewer = {key: tensor for key, tensor in TENSORS.items() if key != name}
        yield Case("tensors of a wrong kind", f"{name} is missing", save(fewer, SAID))
    more = TENSORS | {"evil\n\x1b[2J": np.zeros(1, np.float16)}
    yield Case("tensors of a wrong kind", "one more", save(more, SAID))
    names = [
        "", "{}", "[1]", '[{"name": ""}, {"name": "dog"}]', '[{"name": "cat"}]', "[" * 100_000,
        '[{"name": "a\\nb"}, {"name": "A\\nB"}]', '[{"name": "cat", "evil\\n": 1}, {"name": "d"}]',
        json.dumps([{"name": "x" * 10_000}, {"name": "dog"}]), "9" * 9999,
    ]  # fmt: skip
    for text in names:
        content = save(TENSORS, SAID | {"names": text})
        yield Case("names that lie", text[:40], content)
    yield Case("names that lie", "of its data", save(TENSORS, SAID | {"data": '[{"name": "n"}]'}))
    for form in ("msedge-bank-2", "msedge-checkpoint-1", "a bank\nof another"):
        yield Case("of another release", form, save(TENSORS, SAID | {"format": form}))
    for name, content in (
        ("claims 10^18 bytes", safetensors({}, length=10**18)),
        ("a list", safetensors([])),
        ("nested deeply", safetensors(b'{"a":' * 50_000)),
    ):
        yield Case("a header that lies", name, content)


class TestBanks:
    def test_a_file_from_anywhere_is_read_or_refused_in_one_line(self, hostile_file, mark):
        whole = save(TENSORS, SAID)
        cases = chain(
            cut_short(whole), turned(whole, header=600, each=20), wiped(whole), of_others(mark),
            crafted(),
        )  # fmt: skip
        path = hostile_file.with_suffix(".bank.safetensors")
        assert sum(held_to_it("bank", cases, read_bank, path, mark).values()) >= 80

    def test_a_whole_one_is_read(self, tmp_path):
        path = tmp_path / "net.bank.safetensors"
        path.write_bytes(save(TENSORS, SAID))
        assert [each.name for each in read_bank(path).names] == ["cat", "dog"]
