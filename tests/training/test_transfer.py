"""Tensors to the device and back, in order, and no earlier than they are needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from msedge.training.transfer import fetched, sent

CPU = torch.device("cpu")
DEVICES = [
    CPU,
    pytest.param(
        torch.device("cuda"),
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
    ),
]


def numbered(count: int, device: torch.device, asked: list[int] | None = None) -> Iterator[Tensor]:
    for number in range(count):
        if asked is not None:
            asked.append(number)
        tensor = torch.full((256, 1024), number, dtype=torch.uint8)
        yield tensor.pin_memory() if device.type == "cuda" else tensor


@pytest.mark.parametrize("device", DEVICES)
class TestBoth:
    @pytest.mark.parametrize("count", [0, 1, 2, 9])
    def test_each_comes_once_and_in_order(self, device, count):
        there = list(sent(numbered(count, device), device))
        assert all(tensor.device.type == device.type for tensor in there)
        back = list(fetched(iter(there)))
        assert [tensor.unique().tolist() for tensor in back] == [[n] for n in range(count)]
        assert all(tensor.device == CPU for tensor in back)

    def test_what_is_computed_on_the_way_waits_for_the_transfer(self, device):
        """Every buffer is used again and again; a race would mix the numbers."""

        def computed() -> Iterator[Tensor]:
            for tensor in sent(numbered(60, device), device):
                work = torch.rand(300, 300, device=device)
                for _ in range(3 if device.type == "cpu" else 300):
                    work = work @ work / 300
                yield tensor.float() + 0 * work.mean()

        for number, tensor in enumerate(fetched(computed())):
            assert (tensor == number).all()

    def test_is_no_more_than_one_ahead(self, device):
        asked: list[int] = []
        for number, _ in enumerate(fetched(sent(numbered(5, device, asked), device))):
            assert len(asked) == min(number + 2, 5)

    def test_an_error_comes_through(self, device):
        def failing() -> Iterator[Tensor]:
            yield from numbered(3, device)
            raise OSError("gone")

        results = fetched(sent(failing(), device))
        assert [int(next(results)[0, 0]) for _ in range(2)] == [0, 1]
        with pytest.raises(OSError, match="gone"):
            next(results)
