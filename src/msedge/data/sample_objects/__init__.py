"""The objects of the sample set: shapes only; the two domains are drawn from them.

``parts`` holds the geometry; the other modules hold the classes by subject.
"""

from __future__ import annotations

from msedge.data.sample_objects.animals import ANIMALS
from msedge.data.sample_objects.household import HOUSEHOLD
from msedge.data.sample_objects.outdoors import OUTDOORS
from msedge.data.sample_objects.parts import Describe
from msedge.data.sample_objects.plants import PLANTS
from msedge.data.sample_objects.tools import TOOLS

OBJECTS: dict[str, Describe] = ANIMALS | HOUSEHOLD | OUTDOORS | PLANTS | TOOLS
"""Class name -> how to draw one instance."""
