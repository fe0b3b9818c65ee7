"""Every parser of text or structured bytes that strangers can write, as a function of bytes.

One place lists them, for the quick tests (``test_parsers.py``) and for the campaign
(``campaign.py``). Imports stand in the functions, so that a campaign loads one parser alone.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

from fuzzing.judging import Defect, Target
from fuzzing.seeds import SEEDS, WORDS


def scratch_root() -> Path:
    """Where scratch folders lie."""
    memory = Path("/dev/shm")
    writable = memory.is_dir() and os.access(memory, os.W_OK)
    return memory if writable else Path(tempfile.gettempdir())


def scratch_prefix(process: int) -> str:
    """How the names of a process's scratch folders begin."""
    return f"msedge-fuzzing-{process}-"


@functools.cache
def scratch() -> Path:
    """A folder for what parsers read from files, in memory where the machine has such a place."""
    folder = Path(tempfile.mkdtemp(prefix=scratch_prefix(os.getpid()), dir=scratch_root()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def written(name: str, content: bytes) -> Path:
    """A file of the scratch folder with this content."""
    path = scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def strokes(content: bytes) -> None:
    """``msedge search drawing.json``."""
    import math

    from msedge.data.stroke_files import MAX_POINTS, MAX_STROKES, read_strokes

    read = read_strokes(content, "it")
    if not 0 < len(read) <= MAX_STROKES or not 0 < sum(len(xs) for xs, _ in read) <= MAX_POINTS:
        raise Defect("strokes: beyond the limits")
    if any(len(xs) != len(ys) or not xs for xs, ys in read):
        raise Defect("strokes: a stroke without points, or with a point cut in half")
    if not all(math.isfinite(value) for xs, ys in read for value in (*xs, *ys)):
        raise Defect("strokes: a coordinate that is not finite")


def stroke_drawing(content: bytes) -> None:
    """The same, to the picture that is searched with."""
    from msedge.data.drawings import open_drawing
    from msedge.data.stroke_files import read_strokes

    if open_drawing(read_strokes(content, "it"), name="it").size[0] < 1:
        raise Defect("stroke_drawing: an empty picture")


def svg(content: bytes) -> None:
    """The document of ``msedge search drawing.svg``, up to what the renderer is given."""
    from xml.etree import ElementTree

    from msedge.data.svg import harmless_svg

    for element in ElementTree.fromstring(harmless_svg(content, "it")).iter():
        for key, value in element.attrib.items():
            if key.rpartition("}")[2] == "href" and not value.strip().startswith("#"):
                raise Defect(f"svg: a link to the outside is left: {value[:100]!r}")


def svg_drawing(content: bytes) -> None:
    """The same, drawn; each by a process of its own."""
    from msedge.data.svg import draw_svg

    sheet = draw_svg(content, "it")
    if sheet.mode != "RGBA" or sheet.size[0] != sheet.size[1]:
        raise Defect(f"svg_drawing: {sheet.mode} {sheet.size}")


def card(content: bytes) -> None:
    """The card in a checkpoint or an ONNX file."""
    from msedge.models.card import FORMAT, Card, card_of

    text = content.decode("utf-8", "replace")  # both formats hold nothing but UTF-8
    read = card_of({"format": FORMAT, "card": text}, Path("it.safetensors"))
    said = read.model_dump_json()
    if Card.model_validate_json(said).model_dump_json() != said:
        raise Defect("card: it does not come back as it was")


def checkpoint(content: bytes) -> None:
    """The head of a ``.safetensors`` file: whole, or its JSON alone."""
    from msedge.models.card import read_card
    from msedge.models.stored_tensors import stored_tensors

    path = written("it.safetensors", _safetensors(content))
    stored_tensors(path)
    read_card(path)


def vectors(content: bytes) -> None:
    """``vectors.safetensors`` of a run, as ``msedge evaluate`` reads it."""
    from msedge.data.feature_files import read_stored

    read_stored(written("vectors.safetensors", _safetensors(content)))


def _safetensors(content: bytes) -> bytes:
    if not content.startswith(b"{"):
        return content
    return len(content).to_bytes(8, "little") + content + bytes(64)


def features(content: bytes) -> None:
    """``features.npz`` or ``.npy`` of a stranger."""
    from msedge.data.feature_files import read_stored

    suffix = "npy" if content.startswith(b"\x93NUMPY") else "npz"
    read_stored(written(f"features.{suffix}", content))


def labels(content: bytes) -> None:
    """A label a row, in text or as an array."""
    from msedge.data.feature_files import read_labels

    suffix = "npy" if content.startswith(b"\x93NUMPY") else "txt"
    read_labels(written(f"labels.{suffix}", content))


def synonyms(content: bytes) -> None:
    """What things are called else, as JSON."""
    from msedge.search.naming import read_synonyms

    read_synonyms(written("synonyms.json", content))


def protocol(content: bytes) -> None:
    """A zero-shot split of one's own."""
    from msedge.data.protocols import load_protocol, overlap

    read = load_protocol(str(written("protocol.toml", content)))
    if len(read.hash) != 64 or set(overlap(read, read).unseen_in_both) != set(read.unseen):
        raise Defect("protocol: it is not like itself")


def configuration(content: bytes) -> None:
    """``msedge train --config settings.yaml``."""
    from msedge.training.config import TrainConfig, read_yaml, recorded_settings, resolve

    given = read_yaml(written("settings.yaml", content))
    decided = resolve(given).what_decides()
    if recorded_settings(decided) != decided:
        raise Defect("configuration: what was recorded is read as something else")
    if not set(given) <= set(TrainConfig.model_fields):
        raise Defect("configuration: a setting that there is not was taken")


def plan(content: bytes) -> None:
    """``msedge benchmark plan.yaml``, to its runs."""
    from msedge.benchmark.cells import expand
    from msedge.benchmark.plan import read_plan

    for cell in expand(read_plan(written("plan.yaml", content)), Path("out")):
        if not cell.label.isprintable() or ".." in cell.folder.parts:
            raise Defect(f"plan: a run called {cell.label[:100]!r} in {str(cell.folder)[:100]!r}")


def table(content: bytes) -> None:
    """``msedge lint table.csv``."""
    from msedge.cli.lint import read_table
    from msedge.evaluation.tables.lint import lint
    from msedge.evaluation.tables.results_table import read_entries

    for finding in lint(read_entries(*read_table(written("table.csv", content)))):
        if not finding.message.isprintable():
            raise Defect(f"table: a finding over several lines: {finding.message[:100]!r}")


def run_record(content: bytes) -> None:
    """``run.json``, as the next run and the benchmark read it."""
    from msedge.benchmark.cells import Cell, RowKey
    from msedge.benchmark.outcomes import read_folder
    from msedge.benchmark.plan import DatasetPlan
    from msedge.errors import MSEdgeError
    from msedge.training.config import TrainConfig
    from msedge.training.run_files import RunFiles

    config = TrainConfig(save_root=scratch() / "run")
    files = RunFiles(config)
    written(f"run/{files.record.name}", content)
    files.read_finished("0" * 64)
    read_folder(Cell(DatasetPlan(data_name="sample"), RowKey(None, ()), config), "0" * 64)
    try:
        files.guard()
    except MSEdgeError as error:
        raise type(error)(str(error).replace(str(scratch()), "")) from error


def run_log(content: bytes) -> None:
    """``log.jsonl`` of a killed run, which is gone on with."""
    from msedge.training.step_log import StepLog

    StepLog(written("log.jsonl", content), resume_at=(2, 10)).close()


def marker(content: bytes) -> None:
    """What was noted in a dataset's folder."""
    from msedge.data.prepare import MARKER, read_marker

    written(f"dataset/{MARKER}", content)
    if not isinstance(read_marker(scratch() / "dataset"), dict):
        raise Defect("marker: no mapping")


def approximate(content: bytes) -> None:
    """``about.json`` of an approximate index."""
    from msedge.search.approximate.build import sweep
    from msedge.search.approximate.index import NAME, read_about

    folder = written(f"approximate/{NAME}", content).parent
    (folder / "ids").write_bytes(b"12345678")
    sweep(folder)
    read_about(folder)


def shard_notes(content: bytes) -> None:
    """What a gallery notes of the shards that its photos lie in."""
    from msedge.search.sources import Choice, Found
    from msedge.search.sources.plan import with_shards_listed

    with_shards_listed(Found(("/a",)), {}, Choice(), content.decode("utf-8", "replace"), list)


def tar(content: bytes) -> None:
    """A tar file of photos."""
    from msedge.search.sources.shards import members

    for name, (start, length) in members(str(written("photos.tar", content)))[0].items():
        if name.startswith("/") or ".." in name.split("/") or start < 0 or length < 0:
            raise Defect(f"tar: a photo called {name[:100]!r} at {start}, {length} bytes")


def gallery(content: bytes) -> None:
    """A damaged gallery, of which as much as can be read is saved."""
    from msedge.search.stores import check_gallery

    path = written("galleries/photos.msedge", content)
    for left in path.parent.iterdir():
        if left != path:
            left.unlink()
    check_gallery(path, repair=True)


def locations(content: bytes) -> None:
    """A path or an address, in whatever spelling."""
    from msedge.search.locations import is_remote, location, whole

    path = Path(os.fsdecode(content.replace(b"\0", b"")))
    if location(whole(path)) != location(location(whole(path))) or is_remote(path) != is_remote(
        location(path)
    ):
        raise Defect(f"locations: {path!r} is not the same when it is read again")


def host(content: bytes) -> None:
    """The ``Host`` and ``Origin`` headers."""
    from msedge.server.guard import _is_own
    from msedge.server.settings import host_name

    head, _, origin = content.decode("latin-1").partition("\n")
    origin = origin.translate({ord(one): None for one in "\t\r\n"})  # no header holds a line break
    name = host_name(head)
    if name is not None and (not name.isprintable() or set(name) & set("/@?# \\")):
        raise Defect(f"host: {name!r} was taken for a name")
    if _is_own(origin, head) and name is not None and name not in origin.lower():
        raise Defect(f"host: {origin!r} was taken for {head!r}")


def request(content: bytes) -> None:
    """The body of ``POST /api/search``, ``/api/similar`` and ``/api/where``."""
    from fuzzing.application import ask

    for path in ("/api/search", "/api/similar", "/api/where"):
        status, answer = ask(path, content)
        if status >= 500 or (status != 200 and not _is_problem(answer)):
            raise Defect(f"request: {path} answers {status} {answer[:300]!r}")


def _is_problem(answer: bytes) -> bool:
    import json

    told = json.loads(answer)
    line = told.get("detail") if isinstance(told, dict) else None
    return isinstance(line, str) and line.isprintable() and 0 < len(line) <= 500


_PARSERS = (
    strokes, stroke_drawing, svg, svg_drawing, card, checkpoint, vectors, features, labels,
    synonyms, protocol, configuration, plan, table, run_record, run_log, marker, approximate,
    shard_notes, tar, gallery, locations, host, request,
)  # fmt: skip

TARGETS = {
    parse.__name__: Target(
        parse.__name__,
        parse,
        SEEDS[parse.__name__],
        WORDS.get(parse.__name__, ()),
        longest=131_072 if parse in (tar, gallery) else 4_096,
    )
    for parse in _PARSERS
}
"""Every parser by its name."""
