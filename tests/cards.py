"""A card with everything that one has to say; tests change what they are about."""

from msedge.models.card import Card

CARD = Card(
    backbone="test_resnet",
    dim=8,
    fusion="edge",
    image_size=32,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    dataset="sketchy",
    protocol="sketchy-21",
    loss="proxy-anchor",
    seed=7,
    epoch=3,
    selection="last",
    selected_on_test_classes=False,
    convention="standard",
    metrics={"mAP@200": 41.26, "mAP@all": 47.94},
    data_fingerprint="0" * 64,
    trained_classes=104,
    licence="Apache-2.0",
    version="0.1.0",
)
