"""Two processes that want to write the same thing: one does, the other says so, nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from encoders import ColourEncoder
from indexing_runs import held, run
from made_photos import compact
from msedge.errors import ConfigError, DataError
from msedge.search.gallery import Gallery
from msedge.search.stores import check_gallery, copy_gallery
from msedge.training.run_files import RunFiles
from msedge.training.run_lock import sole_training
from msedge.training.trainer import train
from photo_files import write_photo

SECONDS = 120  # against hanging
INDEX = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from encoders import ColourEncoder
from indexing_runs import run
from msedge.errors import MSEdgeError
class Slow(ColourEncoder):
    def photos(self, pixels):
        time.sleep(0.05)
        return super().photos(pixels)
sys.stdin.readline()
try:
    print(json.dumps(run(Path(sys.argv[2]), Path(sys.argv[3]), Slow()).new))
except MSEdgeError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(60):
        write_photo(folder / f"{number}.png", number)
    return folder


def index_together(photos: Path, gallery: Path, count: int) -> list[int | str]:
    """What each of some processes that index at the same time comes to."""
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", INDEX, str(tests), str(photos), str(gallery)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe) for _ in range(count)]
    try:
        for process in processes:
            process.stdin.write(b"go\n")
            process.stdin.flush()
        return [json.loads(process.communicate(timeout=SECONDS)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_of_indexers_into_one_gallery_one_writes_and_none_loses_anything(photos, tmp_path):
    run(photos, tmp_path / "alone.msedge")
    gallery = tmp_path / "g.msedge"
    answers = index_together(photos, gallery, 4)
    said = [answer for answer in answers if isinstance(answer, str)]
    assert sum(answer for answer in answers if isinstance(answer, int)) == 60
    assert all("another process is indexing into" in line for line in said)
    assert held(gallery) == held(tmp_path / "alone.msedge")
    assert {path.name for path in tmp_path.iterdir()} == {"alone.msedge", "g.msedge"}


def test_indexing_beside_copies_compaction_and_searches(photos, tmp_path):
    gallery, drawing = tmp_path / "g.msedge", tmp_path / "drawing.png"
    more = tmp_path / "more"
    for number in range(100, 160):
        write_photo(more / f"{number}.png", number)
    write_photo(drawing, 7)
    run(photos, gallery)
    errors, copies, ended = [], [], threading.Event()

    def others():
        with Gallery.open(gallery, model=ColourEncoder()) as opened:
            while not ended.is_set():
                try:
                    copies.append(copy_gallery(gallery, tmp_path / f"{len(copies)}.msedge").photos)
                    assert len(opened.search(drawing, k=5)) == 5
                    compact(gallery)
                except DataError as error:
                    errors.append(str(error))

    beside = threading.Thread(target=others)
    beside.start()
    answers = []
    try:
        while not any(isinstance(answer, int) for answer in answers) and len(answers) < 20:
            answers += index_together(more, gallery, 1)  # compacting may keep it out for a moment
    finally:
        ended.set()
        beside.join()
    assert answers[-1] == 60
    assert all("another process is indexing into" in line for line in [*answers[:-1], *errors])
    assert copies == sorted(copies)
    assert set(copies) <= set(range(60, 121))
    assert len(held(gallery)) == 120
    assert not [found for found in check_gallery(gallery) if found.is_left]


class TestTrainings:
    def test_the_second_into_a_folder_says_so(self, tiny_config, listener):
        config = tiny_config()
        files = RunFiles(config)
        with (
            sole_training(files.record),
            pytest.raises(ConfigError, match=r"another training is writing .*run\.json"),
        ):
            train(config, listener)
        assert list(config.save_root.iterdir()) == []

    def test_runs_of_other_names_share_a_folder(self, tiny_config, listener):
        config = tiny_config(epochs=1)
        with sole_training(RunFiles(tiny_config(dim=24)).record):
            train(config, listener)
        assert RunFiles(config).record.exists()
        assert not list(config.save_root.glob(".*"))

    def test_a_killed_one_lets_go(self, tmp_path):
        program = (
            "import os, sys; from pathlib import Path\n"
            "from msedge.training.run_lock import sole_training\n"
            "with sole_training(Path(sys.argv[1])): os.kill(os.getpid(), 9)\n"
        )
        record = tmp_path / "a_run.json"
        done = subprocess.run([sys.executable, "-c", program, str(record)], timeout=SECONDS)
        assert done.returncode == -9
        with sole_training(record):
            pass
        assert list(tmp_path.iterdir()) == []
