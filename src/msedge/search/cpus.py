"""How many CPUs there are to use: now in :mod:`msedge.system`."""

from msedge.system import usable_cpus as usable_cpus
