"""The running mean of a network's weights."""

from __future__ import annotations

from torch import Tensor


class RunningMean:
    """How a running mean of weights takes in the next ones, quickly while it is young.

    For ``avg_fn`` of :class:`torch.optim.swa_utils.AveragedModel`.
    """

    def __init__(self, decay: float) -> None:
        """Take how much of an old mean is kept at each step, in [0, 1)."""
        self._decay = decay

    def __call__(self, mean: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        """The next mean of one tensor, after ``count`` earlier ones."""
        if not mean.is_floating_point():
            return current
        decay = min(self._decay, (int(count) + 1) / (int(count) + 10))
        return mean.lerp(current, 1 - decay)
