"""An approximate index on disk: what it says of itself, opening it, and searching it.

Candidates come from a compressed structure of faiss and are ranked again, exactly, from float16
vectors as the gallery holds them; both are memory-mapped. ``IndexRefine`` of faiss ranks in
float32, ties as they come; answers here are those of :func:`msedge.search.ranking.nearest` to the
last bit, ties by rising row.

The files carry a token in their names, and ``about.json`` names them. It is replaced in one step
when all of them are there: at any moment the folder holds one whole index, whatever was killed.

Refinement from stored vectors: Jegou et al., Searching in one billion vectors: re-rank with source
coding (ICASSP 2011). Tested in ``tests/search/approximate/test_index.py`` and ``test_damage.py``.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import faiss as typed_faiss
import numpy as np
import numpy.typing as npt

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.quoting import plain
from msedge.search.encoder import Embeddings
from msedge.search.photo import STORED_VECTOR, Ids, Reals
from msedge.search.ranking import Positions, Similarities, unit_vectors
from msedge.storage import atomic_path

faiss: Any = typed_faiss  # the stubs that come with it do not know what it can do

NAME = "about.json"
FORMAT = 1  # rises when an older release could not read what is written
STORED_ID, STORED_HUBNESS = np.dtype("<i8"), np.dtype("<f8")
MEASURED_AT = 20  # photos are asked for where recall is measured
EXACT_ROWS = 4000  # up to which all of them are ranked: some milliseconds
GRAPH_OF_CENTRES_FROM = 1024  # lists; the centres of fewer are compared one by one
COARSE_BEAM = 64  # of that graph, at least

_LONGEST = 1 << 16  # bytes of what it says
_WHOLE = 1 << 20  # bytes up to which a file is summed whole
_PAGE, _PAGES = 4096, 64  # bytes, and how many are summed of a larger one
_WIDER_FOR_MORE = 0.25  # power of the ranks; see benchmarks/ann.py, recall@500
_DEEPER_FOR_MORE = 2  # candidates for every photo wanted beyond the first 20
_WIDER_AGAIN = 4
_NEARLY_ALL = 0.9  # share of the rows that count, above which they lie everywhere
_MANY = 8  # a walk to every eighth photo takes longer than ranking all of them
_BLOCK = 4096  # rows that are ranked again at a time
# A table does what `astype` does in half the time; 256 KB that stay in the cache.
_SINGLE = np.arange(65_536, dtype=np.uint16).view(np.float16).astype(np.float32)

Kind = Literal["hnsw", "ivf-sq", "ivf-pq"]
Vectors = npt.NDArray[np.float16]
Found = tuple[Positions, Similarities]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class About:
    """What an index says of itself.

    Where the gallery has hubs, a photo's hubness is one number more of its vector in the structure,
    so that the near ones are found with it or without.

    Its parameters: ``lists`` that it has, 0 for a graph; and where 20 photos are wanted, ``width``,
    the lists looked into or the beam of the walk, and ``depth``, the candidates ranked again.
    """

    gallery: str | None  # its identity, and its state then; None where it has none
    version: int  # of the gallery, when its vectors were read
    fingerprint: str  # of the model that made them
    dim: int  # width of the vectors
    count: int
    kind: Kind
    parameters: Mapping[str, int]
    recall_wanted: float  # share of the true first 20 photos that a search was to find
    recall_measured: float  # below what was wanted where that could not be had
    sample: int  # queries that this was measured with; 0 where nothing was to be measured
    seconds: float  # that building took
    bytes: int  # of the structure in memory; the float16 vectors stay on disk
    faiss: str  # release that built it
    hubs: str = ""  # whose the hubness is; empty where there is none

    @property
    def width(self) -> int:
        """Numbers of a vector in the structure; see :func:`widened`."""
        width = self.dim + bool(self.hubs)
        return width + -width % 4


@dataclass(frozen=True, slots=True)
class ApproximateIndex:
    """A gallery's vectors and what finds the near ones. Any number of threads may search it.

    It stays as it is when another is built in its place, and when its folder is deleted.
    """

    about: About
    ids: Ids  # of the photos, rising, (N,), memory-mapped
    vectors: Vectors  # in that order, as the gallery holds them, (N, dim), memory-mapped
    hubness: Reals  # in that order, (N,), memory-mapped; zeros where there are no hubs
    structure: Any  # of faiss, whose rows they are

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map what :func:`~msedge.search.approximate.build.build` wrote; nothing is read yet.

        Raises:
            DataError: it is missing, damaged or of a newer format.
        """
        while True:
            before = _stamp(folder)
            try:
                return cls._open(folder)
            except DataError:
                # Another may have been built in its place while this one was being opened.
                if _stamp(folder) == before:
                    raise

    @classmethod
    def _open(cls, folder: Path) -> Self:
        about, files = read_about(folder)
        try:
            ids = mapped(files["ids"], STORED_ID, (about.count,))
            vectors = mapped(files["vectors"], STORED_VECTOR, (about.count, about.dim))
            hubness = np.broadcast_to(np.float64(0), about.count)
            if about.hubs:
                hubness = mapped(files["hubness"], STORED_HUBNESS, (about.count,))
            structure = faiss.read_index(str(files["structure"]), faiss.IO_FLAG_MMAP_IFC)
        except (KeyError, OSError, ValueError, TypeError, RuntimeError) as error:
            raise _unusable(folder, "a file of it is damaged") from error
        if (structure.ntotal, structure.d) != (about.count, about.width):
            raise _unusable(folder, "its files do not belong together")
        return cls(about, ids, vectors, hubness, structure)

    @property
    def is_graph(self) -> bool:
        """Whether photos are found by walking a graph, rather than in lists."""
        return not hasattr(self.structure, "nlist")

    @property
    def full_width(self) -> int:
        """The width with which everything is looked at."""
        return max(1, len(self.vectors) if self.is_graph else self.structure.nlist)

    def nearest(
        self, query: Embeddings, k: int, *, allowed: Mask | None = None, hub_share: float = 0.0
    ) -> Found:
        """The first ``k`` rows by falling score, ties by rising row.

        Which rows are candidates is approximate, unless no more than some thousand rows count;
        their similarities and order are exact.

        Args:
            query: a unit vector ``(dim,)``.
            k: how many, at least 1.
            allowed: ``(N,)``; only the rows where it is true count.
            hub_share: how much of its hubness is taken off a photo's similarity to score it.

        Returns:
            Rows ``(n,)`` and their similarities ``(n,)`` in [-1, 1], where ``n`` is the smaller of
            ``k`` and the number of rows that count.
        """
        count = len(self.vectors)
        counting = count if allowed is None else int(np.count_nonzero(allowed))
        if counting == count:
            allowed = None
        k = min(k, counting)
        if counting > max(EXACT_ROWS, k):
            if allowed is None or not self.is_graph:
                found = self._looked_up(query, k, counting, allowed, hub_share)
            else:
                found = self._walked(query, k, counting, allowed, hub_share)
            if len(found[0]) == k:
                return found
        rows = np.arange(count) if allowed is None else np.flatnonzero(allowed)
        return self._ranked(rows, query, k, hub_share)

    def _looked_up(
        self, query: Embeddings, k: int, counting: int, allowed: Mask | None, hub_share: float
    ) -> Found:
        """What some lists hold, or a walk; fewer than ``k`` where all of it holds fewer."""
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        share, most = counting / len(self.vectors), self.full_width
        width, depth = self._effort(k, k / share)
        width, depth = min(width, most), min(max(depth, k), counting)
        found: Found | None = None
        while True:
            rows = self._candidates(query, width, depth, bits, hub_share)
            before, found = found, self._ranked(rows, query, k, hub_share)
            full = len(found[0]) == k
            # The first lists that hold some of what counts need not hold the nearest, which may be
            # far from the query. Where four times as many find nothing else, they do.
            settled = share >= _NEARLY_ALL or (before and np.array_equal(before[0], found[0]))
            if (full and settled) or width == most:
                return found
            width = min(_WIDER_AGAIN * width, most)

    def _walked(
        self, query: Embeddings, k: int, counting: int, allowed: Mask, hub_share: float
    ) -> Found:
        """What a graph finds; fewer than ``k`` where what counts is seldom near.

        A walk that sees only what counts ends where that begins, far from the nearest of it. So it
        sees everything, and what counts of that is kept.
        """
        among = math.ceil(k * len(allowed) / counting)
        width, depth = self._effort(among, among)
        if depth > len(allowed) // _MANY:
            return np.empty(0, np.int64), np.empty(0)
        rows = self._candidates(query, width, depth, None, hub_share)
        return self._ranked(rows[allowed[rows]], query, k, hub_share)

    def _ranked(self, rows: Positions, query: Embeddings, k: int, hub_share: float) -> Found:
        """The first ``k`` of some rising rows, exactly."""
        handicaps = hub_share * self.hubness[rows] if hub_share and self.about.hubs else None
        return _nearest_of(self.vectors, rows, query, k, handicaps)

    def _effort(self, k: int, rank: float) -> tuple[int, int]:
        """Width and depth for ``k`` photos, the last of which is about so far down all of them."""
        width = self.about.parameters["width"] * max(1.0, rank / MEASURED_AT) ** _WIDER_FOR_MORE
        depth = self.about.parameters["depth"] + _DEEPER_FOR_MORE * max(0, k - MEASURED_AT)
        return math.ceil(width), depth

    def _candidates(
        self,
        query: Embeddings,
        width: int,
        depth: int,
        bits: npt.NDArray[np.uint8] | None,
        hub_share: float,
    ) -> Positions:
        """Rising rows that may be near a query; at most ``depth`` of those whose bit is set."""
        structure = self.structure
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        if self.is_graph:
            how = faiss.SearchParametersHNSW(efSearch=max(width, depth), sel=selector)
        else:
            beam = None
            if structure.nlist >= GRAPH_OF_CENTRES_FROM:
                beam = faiss.SearchParametersHNSW(efSearch=max(COARSE_BEAM, 2 * width))
            how = faiss.SearchParametersIVF(nprobe=width, sel=selector, quantizer_params=beam)
        # `faiss.contrib.torch_utils`, which pytorch-metric-learning imports, puts another search,
        # which takes no parameters, in the place of faiss's own.
        search = getattr(structure, "search_numpy", structure.search)
        with one_thread():
            asked = widened(query[None], np.array([-hub_share]) if self.about.hubs else None)
            _, found = search(asked, depth, params=how)
        rows = found[0].astype(np.int64)
        return np.sort(rows[(rows >= 0) & (rows < structure.ntotal)])


def read_about(folder: Path) -> tuple[About, dict[str, Path]]:
    """What there is in a folder, and its files by what they hold, which are whole; or DataError."""
    try:
        content = read_content(folder)
        if int(content["format"]) > FORMAT:
            said = plain(content["format"], 20)
            raise _unusable(folder, f"it is of format {said}, newer than {FORMAT}")
        about = _about_of(content["about"])
        files = {what: _checked(folder, each) for what, each in dict(content["files"]).items()}
    except (DataError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise _unusable(folder, f"{NAME} is missing") from error
    except OSError as error:
        raise _unusable(folder, f"{NAME} cannot be read") from error
    except Exception as error:  # whatever a damaged file brings about
        raise _unusable(folder, f"{NAME} is damaged") from error
    return about, files


def read_content(folder: Path) -> Any:
    """What ``about.json`` holds, unchecked; any exception where it is missing or damaged."""
    if not (folder / NAME).is_file():  # opening a pipe would wait for ever
        raise FileNotFoundError
    with (folder / NAME).open("rb") as file:
        text = file.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise ValueError(f"more than {_LONGEST:,} bytes")
    return json.loads(text)


def write_about(folder: Path, about: About, files: Mapping[str, Path]) -> None:
    """Make files the index of their folder: ``ids``, ``vectors``, ``structure``, ``hubness``."""
    held = {
        what: {"name": path.name, "bytes": path.stat().st_size, "checksum": _checksum(path)}
        for what, path in files.items()
    }
    said = asdict(about)
    if not about.hubs:  # which earlier releases do not know
        del said["hubs"]
    content = {"format": FORMAT, "about": said, "files": held}
    with atomic_path(folder / NAME) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """An array of a file of exactly that size, read as it is used; ValueError where it is not."""
    if not path.stat().st_size:  # which cannot be mapped
        return np.empty(0, dtype).reshape(shape)
    return np.asarray(np.memmap(path, dtype, "r")).reshape(shape)


def widened(vectors: Embeddings, last: Reals | None) -> Embeddings:
    """Vectors as structures hold them: one number more where there are hubs, float32.

    Zeros follow up to a multiple of 4. Of a photo that number is its hubness, of a query less how
    much of that counts: their product is the score.
    """
    if last is not None:
        vectors = np.concatenate([vectors, last[:, None].astype(np.float32)], axis=1)
    if vectors.shape[1] % 4:
        vectors = np.pad(vectors, ((0, 0), (0, -vectors.shape[1] % 4)))
    return np.ascontiguousarray(vectors, np.float32)


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold faiss to one thread; OpenMP keeps this number for each thread that asks, by itself."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _stamp(folder: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        status = (folder / NAME).stat()
        return status.st_ino, status.st_mtime_ns
    return None


def _unusable(folder: Path, reason: str) -> DataError:
    return DataError(
        f"the approximate index {one_line(folder)} cannot be used ({reason}): delete the folder; "
        "it will be built again"
    )


def _about_of(said: Mapping[str, Any]) -> About:
    about = About(**said)
    effort = about.parameters
    wholes = [about.version, about.dim, about.count, about.sample, about.bytes, *effort.values()]
    reals = (about.recall_wanted, about.recall_measured, about.seconds)
    texts = (about.gallery or "", about.fingerprint, about.kind, about.faiss, about.hubs)
    if not (
        all(type(number) is int and 0 <= number < 2**63 for number in wholes)
        and all(type(number) in (int, float) and math.isfinite(number) for number in reals)
        and all(type(text) is str for text in texts)
        and about.kind in get_args(Kind)
        and min(effort["width"], effort["depth"]) >= 1
    ):
        raise ValueError("a value is of another kind")
    return about


def _checked(folder: Path, entry: Mapping[str, Any]) -> Path:
    path = folder / Path(entry["name"]).name
    name = plain(path.name)
    try:
        if not path.is_file():
            raise FileNotFoundError
        length, checksum = path.stat().st_size, _checksum(path)
    except OSError as error:
        raise _unusable(folder, f"{name} is missing or cannot be read") from error
    if length != entry["bytes"]:
        raise _unusable(folder, f"{name} has {length} bytes instead of {int(entry['bytes'])}")
    if checksum != entry["checksum"]:
        raise _unusable(folder, f"{name} is not what was written")
    return path


def _checksum(path: Path) -> int:
    """CRC-32 of a file; of pages spread over it where it is large, so that opening stays quick."""
    total, length = 0, path.stat().st_size
    with path.open("rb") as file:
        if length <= _WHOLE:
            return zlib.crc32(file.read())
        for page in range(_PAGES + 1):
            file.seek((length - _PAGE) * page // _PAGES)
            total = zlib.crc32(file.read(_PAGE), total)
    return total


def _nearest_of(
    vectors: Vectors, rows: Positions, query: Embeddings, k: int, handicaps: Reals | None
) -> Found:
    """The first ``k`` of some rising rows as ``nearest`` gives them; no BLAS, so on one thread.

    Their handicaps, ``(n,)``, are taken off their similarities to rank them.
    """
    single, double = query.astype(np.float32), query.astype(np.float64)
    if 0 < k < len(rows):
        scores = np.concatenate([_scores(vectors[block], single) for block in _blocks(rows)])
        if handicaps is not None:
            scores -= handicaps.astype(np.float32)
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        # As in ranking.py, and twice that, since lengths are rounded too.
        likely = scores >= least - 2 * (vectors.shape[1] + 4) * np.finfo(np.float32).eps
        rows, handicaps = rows[likely], None if handicaps is None else handicaps[likely]
    # A sum along a row depends on nothing but that row.
    sums = [(unit_vectors(vectors[block]) * double).sum(axis=1) for block in _blocks(rows)]
    exact = np.concatenate([np.empty(0), *sums])
    ranking = exact if handicaps is None else exact - handicaps
    order = np.argsort(-ranking, kind="stable")[: max(k, 0)]
    return rows[order], np.clip(exact[order], -1.0, 1.0)


def _blocks(rows: Positions) -> Iterator[Positions]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))


def _scores(stored: Vectors, query: Embeddings) -> npt.NDArray[np.float32]:
    vectors = np.take(_SINGLE, stored.view(np.uint16))
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    scores: npt.NDArray[np.float32] = np.einsum("nd,d->n", vectors, query)
    scores /= np.maximum(lengths, np.float32(1e-12))
    return scores
