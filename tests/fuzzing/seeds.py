"""Whole documents of every format, made by code, and the words that they are made of.

A campaign makes new inputs of them. They are small, since what counts is what they hold; a corpus
that a campaign has found is better and can be kept in a folder of one's own.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
import tempfile
import zlib
from pathlib import Path

import numpy as np

from cards import CARD

_AXES = [[[0, 255, 9.5], [7, 3, -8]], [[1e3, 2], [5, 4]]]
_POINTS = [[[0, 7], [255, 3]], [[1, 5], [2, 4], [3, 3]]]
_SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    b'viewBox="0 0 99 99">'
)


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def _strokes() -> tuple[bytes, ...]:
    times = {"word": "cat", "drawing": [[*stroke, [0, 5, 9][: len(stroke[0])]] for stroke in _AXES]}
    named = {"strokes": [{"points": [{"x": 1, "y": 2}, {"x": 3, "y": 9}]}, {"x": [1], "y": [2]}]}
    whole = [_json(each) for each in (_AXES, _POINTS, times, named, {"strokes": _POINTS})]
    return (*whole, b"\n".join(whole), b"\xef\xbb\xbf " + whole[0])


def _svgs() -> tuple[bytes, ...]:
    bodies = (
        b'<path d="M10 50H90C1 2 3 4 5 6z" stroke="black" stroke-width="10"/>',
        b'<defs><g id="a"><circle cx="5" cy="5" r="4"/></g></defs><use xlink:href="#a" y="-2"/>',
        b'<style>.a{fill:url(#g)}</style><linearGradient id="g"><stop offset="0"/></linearGradient>'
        b'<rect class="a" width="9" height="9" transform="rotate(9)"/>',
        b'<filter id="f"><feGaussianBlur stdDeviation="3"/><feImage href="a.png"/></filter>'
        b'<mask id="m"><ellipse rx="5" ry="2"/></mask><g filter="url(#f)" mask="url(#m)">'
        b'<polyline points="1,2 3,4 5 6" stroke-dasharray="1 2"/></g>',
        b'<image href="a.png" width="1"/><text x="5" font-size="9">a&#65;&amp;</text><!-- a -->'
        b'<pattern id="p" width="1" height="1"><line x2="9" y2="3%"/></pattern><![CDATA[a]]>',
    )
    heads = (
        b'<svg xmlns="http://www.w3.org/2000/svg" width="75pt" height="2in" style="a:b">',
        b'<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"'
        b' "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">' + _SVG,
        b"<svg>",
    )
    whole = [_SVG + body + b"</svg>" for body in bodies]
    return (*whole, *(head + bodies[0] + b"</svg>" for head in heads))


def _cards() -> tuple[bytes, ...]:
    source = {"name": "n", "what": "w", "licence": "l"}
    full = CARD.model_copy(update={"name": "n", "steps": 7, "limits": "ünder", "data": ()})
    return (
        CARD.model_dump_json().encode(),
        _json({**full.model_dump(mode="json"), "data": [source, source], "precision": "int8"}),
    )


def _heads(metadata: dict[str, str], **tensors: tuple[str, list[int], list[int]]) -> bytes:
    entries = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        for name, (dtype, shape, offsets) in tensors.items()
    }
    return _json({"__metadata__": metadata, **entries})


def _whole(head: bytes) -> bytes:
    return len(head).to_bytes(8, "little") + head + bytes(64)


def _checkpoints() -> tuple[bytes, ...]:
    said = {"format": "msedge-checkpoint-1", "card": CARD.model_dump_json()}
    head = _heads(said, a=("F32", [4, 2], [0, 32]), b=("F16", [16], [32, 64]))
    return head, _whole(head), _heads({"format": "other"}, a=("I64", [8], [0, 64]))


def _vectors() -> tuple[bytes, ...]:
    said = {
        "format": "msedge-vectors-1",
        "classes": '["a", "b"]',
        "paths": '["a/1.png", "b/2.png"]',
        "domains": '["sketch", "photo"]',
    }
    head = _heads(
        said,
        embeddings=("F32", [2, 4], [0, 32]),
        labels=("I64", [2], [32, 48]),
        domains=("I64", [2], [48, 64]),
    )
    return head, _whole(head)


def _array(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _features() -> tuple[bytes, ...]:
    vectors = np.eye(3, dtype=np.float32)
    archives = []
    for arrays in (
        {"embeddings": vectors, "labels": np.arange(3), "classes": np.array(["a", "b", "c"])},
        {"features": vectors, "labels": np.array(["a", "b", "a"]), "paths": np.array(["1"] * 3)},
        {"any": vectors, "domains": np.array([0, 1, 1]), "y": np.array([b"a", b"b", b"c"])},
        {"x": vectors, "labels": np.array([{}, None, 1], dtype=object)},
    ):
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        archives.append(stream.getvalue())
    return (*archives, _array(vectors), _array(vectors.astype(">f8")[:, ::2]))


def _labels() -> tuple[bytes, ...]:
    return (
        b"0\n1\n+2\n-3\n",
        b"\xef\xbb\xbfcat\r\ndog\r\nsea lion\r\n",
        _array(np.arange(4, dtype=np.int16)),
        _array(np.array(["cat", "dog"])),
        _array(np.array([None, "dog"], dtype=object)),
    )


def _protocols() -> tuple[bytes, ...]:
    least = b'id = "mine"\ndataset = "sketchy"\ntitle = "t"\ncitation = "c"\nunseen = ["a", "b"]\n'
    full = (
        b'id = "mine"\ndataset = "sketchy"\ntitle = """\\\n t"""\ncitation = \'c\'\n'
        b'known_defects = ["d",]\nunseen = ["hot-air balloon", "b_c"]\nseen = ["d"] # e\n'
        b"[expected]\nseen_classes = 1\nunseen_classes = 2\nqueries = 0x10\ngallery_lines = 1_000\n"
        b'fewest_photos = 3\nmost_photos = 9\n[class_photos]\n"hot air balloon" = 4\nb_c = 9\n'
    )
    return least, full


def _configurations() -> tuple[bytes, ...]:
    return (
        b"backbone: resnet50\ndim: 64\nepochs: 3\nlearning_rate: 3.0e-4\nschedule: cosine\n",
        b"---\n# a\nprecision: 32\ncache: no\nedge_views: 0.5\ntrain_on: photos\nweights: 'none'\n",
        b"{data_root: ~, save_root: &a out, keep_dir: *a, seed: 0x1F, min_val_photos: null}\n",
        b"cache_dir: !!str 2020-01-02\nbatch_size: 64\naccumulate: 4\nholdout: .5\ndevices: 1_0\n",
    )


def _plans() -> tuple[bytes, ...]:
    return (
        b"name: a\nseeds: [1]\ndatasets: [{data_name: b}]\nvariants:\n  plain:\n",
        b"name: a b\nseeds: [0, 1]\ndatasets:\n- {data_name: b, data_root: d, protocol: sketchy-21}"
        b"\nsettings: {epochs: 2}\naxes:\n  dim: [64, 128]\n  backbone: [resnet50, vgg16]\n"
        b"variants: {edge: {fusion: edge}, plain: {fusion: none}}\nbaselines: [plain]\n"
        b"blocks:\n- {settings: {batch_size: 8}}\n- {axes: {dim: [8]}, variants: {c: {seed: 1}}}\n",
    )


def _tables() -> tuple[bytes, ...]:
    return (
        b"method,S21_mAP200,S21_P200\nSAKE,0.497,0.598\nLenient,0.719,0.681\n",
        b"method,convention,protocol,gallery,TUB_mAPall,S25_P100,dim,code\r\n"
        b'"A, B",sake,sketchy-21,"17,101",46.1%,37.0 +- 1.2,64,yes\r\n'
        b"C,standard,-,n/a,1e-1,\xe2\x88\x921,512,\r\n",
        b'\xef\xbb\xbfbackbone;"S21 mAP@200"\na;1\n',
    )


def _records() -> tuple[bytes, ...]:
    epoch = {"epoch": 1, "loss": 1.5, "metrics": {"mAP@all": 1.0}, "selection_value": 1.0}
    record = {
        "finished": True,
        "config": {"data_name": "sample", "dim": 512, "epochs": 10},
        "data": {"fingerprint": "0" * 64},
        "epochs": [{**epoch, "seconds": 1.0}],
        "selected_epoch": 1,
    }
    return _json(record), _json({**record, "finished": False, "config": {"dim": 64, "colour": 1}})


def _logs() -> tuple[bytes, ...]:
    step = {"kind": "step", "epoch": 1, "step": 10, "loss": 1.0, "memory_gb": None}
    later = {**step, "epoch": 2, "step": 20}
    epoch = {"kind": "epoch", "epoch": 1, "loss": 1.0, "metrics": {"mAP@all": None}}
    lines = [_json(each) for each in (step, epoch, later)]
    return b"\n".join(lines) + b"\n", b"\n".join(lines)[:-9]


def _markers() -> tuple[bytes, ...]:
    return (_json({"dataset": "sketchy", "protocol": "sketchy-21", "counts": {"train": [1, 2]}}),)


def _approximate() -> tuple[bytes, ...]:
    about = {
        "gallery": None, "version": 1, "fingerprint": "f", "dim": 4, "count": 1, "kind": "hnsw",
        "parameters": {"lists": 0, "width": 32, "depth": 40}, "recall_wanted": 0.9,
        "recall_measured": 0.95, "sample": 5,
        "seconds": 1.0, "bytes": 8, "faiss": "1.12",
    }  # fmt: skip
    files = {"ids": {"name": "ids", "bytes": 8, "checksum": 2598427311}}
    return (_json({"format": 1, "about": about, "files": files}),)


def _shard_notes() -> tuple[bytes, ...]:
    notes = _json({"/a.tar": [1, 2, 3, "x"], "/b/c.parquet": [4, 5, 6, "[[], false, null]"]})
    return notes, b"zlib:" + base64.b64encode(zlib.compress(notes))


def _tars() -> tuple[bytes, ...]:
    files = []
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=kind) as tar:
            for name in ("a/1.jpg", "é.png", "../b.jpg", "c/" + "long" * 20 + ".jpg"):
                member = tarfile.TarInfo(name)
                member.size = 3
                tar.addfile(member, io.BytesIO(b"abc"))
        files.append(stream.getvalue())
    return tuple(files)


def _galleries() -> tuple[bytes, ...]:
    from made_photos import make, photos

    with tempfile.TemporaryDirectory() as folder:
        return tuple(
            make(Path(folder) / f"{count}.msedge", photos(count)).read_bytes() for count in (0, 40)
        )


def _requests() -> tuple[bytes, ...]:
    strokes = [[[0, 10], [0, 9]]]
    return tuple(
        _json(document)
        for document in (
            {"strokes": strokes, "k": 5, "unlike": [2]},
            {"like": [1, 2], "after": "2020-01-02", "before": "2021-01-02", "folder": "/a"},
            {"id": 1, "k": 3, "orientation": "landscape"},
            {"strokes": strokes, "name": ["cat"], "not_names": ["fox"], "names": True},
            {"image": "iVBORw0KGgo="},
            {"image": "PHN2Zz48L3N2Zz4="},
        )
    )


SEEDS: dict[str, tuple[bytes, ...]] = {
    "strokes": _strokes(),
    "stroke_drawing": _strokes(),
    "svg": _svgs(),
    "svg_drawing": _svgs(),
    "card": _cards(),
    "checkpoint": _checkpoints(),
    "vectors": _vectors(),
    "features": _features(),
    "labels": _labels(),
    "synonyms": (
        _json({"car": ["auto", "automobile"], "tv": []}),
        _json({"b\u00e4r": ["\u718a"], " two\twords ": ["x" * 9, ""]}),
    ),
    "protocol": _protocols(),
    "configuration": _configurations(),
    "plan": _plans(),
    "table": _tables(),
    "run_record": _records(),
    "run_log": _logs(),
    "marker": _markers(),
    "approximate": _approximate(),
    "shard_notes": _shard_notes(),
    "tar": _tars(),
    "gallery": _galleries(),
    "locations": (b"s3://bucket/cat.jpg", b"/photos/1 2.jpg", b"a/../b.tar/c.jpg", b"\xff:/x"),
    "host": (b"localhost:80\nhttp://localhost:80", b"[::1]\nhttps://[::1]:443", b"a.b\nnull"),
    "request": _requests(),
}
"""Documents by the name of their parser, each of which the parser accepts or nearly so."""

_JSON_WORDS = (
    b"{}", b"[]", b"[[", b"]]", b"null", b"true", b"NaN", b"Infinity", b"-1e999", b"1e308",
    b'"\\ud800"', b'"\\u0000"', b'"\\n"', b"99999999999999999999", b"[" * 64, b'{"":' * 32, b"-0.0",
)  # fmt: skip
_YAML_WORDS = (
    b"!!python/object:os.system", b"!!binary", b"!!timestamp", b"!!set", b"!!omap", b"!!pairs",
    b"!!merge", b"!!int", b"!!float", b"!!null", b"!!bool", b"&a", b"*a", b"<<: *a", b"? ", b"- ",
    b"|", b">", b"---", b"...", b"%YAML 9.9", b"2020-99-99", b"1:60:99", b".inf", b".nan", b"0b1",
    b"0o9", b"{", b"}", b"[", b"]", b": ", b"\n", b"~", b"=", b"\\x00", b'"\\ud800"', b"\xc2\x85",
)  # fmt: skip
_SVG_WORDS = (
    b"<svg", b"</svg>", b"<g>", b"</g>", b"<use", b' href="', b' xlink:href="#a"', b"<path d=",
    b"<!ENTITY", b"<!DOCTYPE", b"<![CDATA[", b"]]>", b"<?xml", b"encoding=", b"utf-7", b"utf-16",
    b"<image", b"<style>", b"url(#a)", b"<filter", b"<mask", b"<pattern", b"<clipPath", b"<marker",
    b' transform="', b"matrix(", b' viewBox="', b"1e38", b"-1e38", b"nan", b"9e99mm", b"&#0;",
    b"<text>", b"<switch>", b"<symbol", b' id="a"', b"<feTurbulence", b"<feMorphology", b"file://",
)  # fmt: skip
_TOML_WORDS = (
    b"unseen", b"seen", b"[expected]", b"[class_photos]", b"[[unseen]]", b"inf", b"nan", b"0x",
    b"1979-05-27T07:32:00Z", b'"""', b"'''", b"\\u0000", b"\\U0010FFFF", b"a.b.c = 1", b"[" * 64,
    b"{a = 1}", b" = ", b"queries", b"fewest_photos", b"most_photos", b"true", b"-1", b"\r",
)  # fmt: skip
_CSV_WORDS = (
    b"method", b"S21_mAP200", b"mAP@all", b"P@100", b"convention", b"gallery", b"protocol", b'"',
    b'""', b"\r\n", b"\t", b";", b"%", b"+-", b"\xc2\xb1", b"1e999", b"-0", b"1e-400", b"\x00",
    b"sake", b"sketchy-21", b"99999999999999999999", b"\xe2\x88\x92", b"TUB", b"tuberlin",
)  # fmt: skip
_CARD_WORDS = tuple(f'"{name}"'.encode() for name in type(CARD).model_fields)

WORDS: dict[str, tuple[bytes, ...]] = {
    **dict.fromkeys(
        ("strokes", "stroke_drawing", "run_record", "run_log", "marker", "shard_notes"), _JSON_WORDS
    ),
    "approximate": _JSON_WORDS,
    "request": (*_JSON_WORDS, b'"strokes"', b'"image"', b'"like"', b'"k"', b'"after"'),
    "card": (*_JSON_WORDS, *_CARD_WORDS),
    "checkpoint": (*_JSON_WORDS, b"__metadata__", b"data_offsets", b"shape", b"dtype", b"BF16"),
    "vectors": (*_JSON_WORDS, b"embeddings", b"labels", b"domains", b"data_offsets", b"I64"),
    "svg": _SVG_WORDS,
    "svg_drawing": _SVG_WORDS,
    "protocol": _TOML_WORDS,
    "configuration": (*_YAML_WORDS, b"precision", b"dim", b"batch_size", b"accumulate"),
    "plan": (*_YAML_WORDS, b"axes", b"variants", b"blocks", b"settings", b"seeds", b"datasets"),
    "table": _CSV_WORDS,
    "labels": (b"\x93NUMPY", b"\xe2\x80\xa8", b"\x85", b"\x1c", b"'descr'", b"'O'", b"9" * 40),
    "features": (b"\x93NUMPY", b"'descr'", b"'<f4'", b"'|O'", b"'shape'", b"PK\x03\x04", b"<U99"),
    "tar": (b"ustar\x00", b"././@LongLink", b"GNU.sparse.major=1", b"path=", b"size=", b"\xff" * 8),
    "host": (b"://", b"[", b"]", b"%00", b"@", b":99999", b"\n", b"https", b"xn--", b"..", b"#"),
}
"""Words by the name of their parser."""
