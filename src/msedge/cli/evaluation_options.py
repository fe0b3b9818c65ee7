"""The options of ``msedge evaluate`` and their help.

Tested, as everything about the command, in ``tests/cli/test_evaluate.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SEEN = "Generalised: seen photos in the gallery"
_EXPANSION = "Neighbour expansion: re-ranking, which published figures are without"
_RERANKING = "Hubs: re-ranking, which published figures are without"
_COMPARE = "Comparison with another system"
_SHOWN = "What is printed and written"

Queries = Annotated[
    Path,
    typer.Argument(
        metavar="QUERIES",
        help="Features of sketches: .npz, .npy or our .safetensors; of a file that says which rows "
        "are sketches and which photos, the sketches.",
    ),
]
Gallery = Annotated[
    Path, typer.Argument(metavar="GALLERY", help="Features of photos, likewise; may be one file.")
]
Labels = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--labels",
        metavar="QUERIES GALLERY",
        help="Labels of both, .npy or .txt with one a line; - keeps those of the features.",
    ),
]
Conventions = Annotated[
    list[str] | None,
    typer.Option(
        "--convention",
        metavar="NAME",
        help="standard (default), sake, zse, hits, total, rank, or all; can be given again.",
    ),
]
At = Annotated[
    list[int] | None,
    typer.Option("--at", metavar="K", help="Cut-off (default: 100, 200); can be given again."),
]
MetricName = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="cosine (default), euclidean, or hamming for binary codes.",
    ),
]
Binary = Annotated[
    bool, typer.Option("--binary", help="Judge sign codes of the vectors, by hamming.")
]
FineGrained = Annotated[
    bool,
    typer.Option(
        "--fine-grained",
        help="Acc@1, 5 and 10: the sketch NAME-1.png seeks the photo NAME.jpg of its class.",
    ),
]
DropAbsent = Annotated[
    bool, typer.Option("--drop-absent", help="Leave out queries whose class has no photo.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]

SeenGallery = Annotated[
    Path | None,
    typer.Option("--seen-gallery", help="Photos of seen classes.", rich_help_panel=_SEEN),
]
SeenLabels = Annotated[
    Path | None, typer.Option("--seen-labels", help="Their labels.", rich_help_panel=_SEEN)
]
SeenQueries = Annotated[
    Path | None,
    typer.Option(
        "--seen-queries",
        help="Sketches of seen classes, asked too and reported on their own.",
        rich_help_panel=_SEEN,
    ),
]
SeenQueryLabels = Annotated[
    Path | None, typer.Option("--seen-query-labels", help="Their labels.", rich_help_panel=_SEEN)
]
SeenShare = Annotated[
    float | None,
    typer.Option(
        "--seen-share",
        help="Share drawn of each seen class, photos and sketches (default: 1.0); papers take 1.0 "
        "or 0.2.",
        rich_help_panel=_SEEN,
    ),
]

SmoothGallery = Annotated[
    int,
    typer.Option(
        "--smooth-gallery",
        metavar="K",
        help="Replace each photo by the weighted mean of the K nearest to it, itself among them; "
        "0 for off.",
        rich_help_panel=_EXPANSION,
    ),
]
ExpandQueries = Annotated[
    int,
    typer.Option(
        "--expand-queries",
        metavar="K",
        help="Add to each query the weighted mean of the K photos nearest to it, smoothed where "
        "the gallery is; 0 for off.",
        rich_help_panel=_EXPANSION,
    ),
]
ExpansionPower = Annotated[
    float | None,
    typer.Option(
        "--expansion-power",
        metavar="A",
        help="A neighbour weighs its cosine to the power A (default: 3).",
        rich_help_panel=_EXPANSION,
    ),
]

Hubs = Annotated[
    Path | None,
    typer.Option(
        "--hubs",
        metavar="BANK",
        help="Take half of its mean similarity to its 30 nearest drawings of a bank off each "
        "photo's similarity (CSLS): a .bank.safetensors, or features of sketches, of which at most "
        "1,000 are taken, evenly over classes.",
        rich_help_panel=_RERANKING,
    ),
]

Compare = Annotated[
    Path | None,
    typer.Option(
        "--compare",
        metavar="OTHER",
        help="The same queries as another system sees them: a paired test.",
        rich_help_panel=_COMPARE,
    ),
]
CompareGallery = Annotated[
    Path | None,
    typer.Option(
        "--compare-gallery",
        help="Its gallery (default: the photos in OTHER).",
        rich_help_panel=_COMPARE,
    ),
]
CompareLabels = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--compare-labels",
        metavar="QUERIES GALLERY",
        help="Labels of both, as in --labels.",
        rich_help_panel=_COMPARE,
    ),
]

PerClass = Annotated[
    bool,
    typer.Option("--per-class", help="Figures of each class, worst first.", rich_help_panel=_SHOWN),
]
Intervals = Annotated[
    bool,
    typer.Option(
        "--intervals/--no-intervals",
        help="95 % bootstrap intervals over queries.",
        rich_help_panel=_SHOWN,
    ),
]
Resamples = Annotated[
    int | None,
    typer.Option(
        "--resamples",
        help="Draws (default: 2,000 for intervals, 10,000 for --compare).",
        rich_help_panel=_SHOWN,
    ),
]
PerQuery = Annotated[
    Path | None,
    typer.Option(
        "--per-query",
        metavar="FILE.csv",
        help="Write a row a query, figures in [0, 1].",
        rich_help_panel=_SHOWN,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON, figures in [0, 1].", rich_help_panel=_SHOWN)
]
