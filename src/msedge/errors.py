"""The errors that a user can mend, told apart from those that only we can.

Everything that bad input can cause derives from :class:`MSEdgeError`. The command line prints its
message as one line and exits with status 2; anything else is a defect and keeps its traceback.
A message says what was wrong, what was expected, and what to do.
"""

from __future__ import annotations


class MSEdgeError(Exception):
    """Bad input, with a one-line message that says how to go on.

    Attributes:
        exit_status: what the command line ends with.
    """

    exit_status = 2


class DataError(MSEdgeError):
    """A dataset on disk is missing, incomplete, inconsistent or unreadable."""


class ConfigError(MSEdgeError):
    """A configuration or an option has a value that cannot be used."""


class WeightsError(MSEdgeError):
    """Weights or a checkpoint cannot be found, fetched or read."""


class ShapeError(MSEdgeError):
    """An array or tensor does not have the shape, type or range that was asked for."""
