"""The facts agree with the protocols that the package holds, and with each other."""

from __future__ import annotations

from decimal import Decimal

import pytest

from msedge.data.protocols import list_protocols, load_protocol, normalise_class_name
from msedge.evaluation.tables.splits import CLASS_SIZES, ORIGINS, PROTOCOLS, SPLITS, ShortClass


def test_every_protocol_of_the_package_can_be_named():
    assert set(list_protocols()) <= set(PROTOCOLS)


def test_every_protocol_is_a_split_of_its_own():
    assert all(SPLITS[name] == (name,) for name in PROTOCOLS)


@pytest.mark.parametrize("name", sorted(set(CLASS_SIZES) & set(list_protocols())))
def test_counts_are_those_of_the_protocol(name):
    protocol, sizes = load_protocol(name), CLASS_SIZES[name]
    expected = protocol.expected
    if expected.gallery_unique is not None:
        assert sizes.gallery == expected.gallery_unique
    if expected.fewest_photos is not None:
        assert expected.fewest_photos == min(
            [sizes.others, *(short.photos for short in sizes.short)]
        )
    unseen = {normalise_class_name(one) for one in protocol.unseen}
    assert {normalise_class_name(short.name) for short in sizes.short} <= unseen
    others = len(protocol.unseen) - len(sizes.short)
    assert sizes.gallery >= sum(short.photos for short in sizes.short) + others * sizes.others


def test_skyscraper_s_share_holds_the_lists_and_the_mean_over_classes():
    (short,) = CLASS_SIZES["sketchy-21"].short
    queries = load_protocol("sketchy-21").expected.queries
    assert queries is not None
    for share in (Decimal(545) / queries, Decimal(1) / 21):
        assert short.least_share <= share <= short.most_share


@pytest.mark.parametrize(("k", "missing"), [(100, "0"), (161, "0"), (200, "0.195"), (322, "0.5")])
def test_missing_places(k, missing):
    assert ShortClass("skyscraper", 161, Decimal(0), Decimal(1)).missing(k) == Decimal(missing)


def test_origins_name_known_protocols_and_figures_in_range():
    assert {origin.protocol for origin in ORIGINS} <= set(PROTOCOLS)
    assert all(0 < figure < 1 for origin in ORIGINS for figure in (origin.map_all, origin.p_100))
    assert len({(origin.map_all, origin.p_100) for origin in ORIGINS}) == len(ORIGINS)
