import gzip
import hashlib
import http.client
import json
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from lib import data
from lib.data import files, tensors

DATA = Path(__file__).resolve().parents[2] / "data"
FILES = {
    "train-images-idx3-ubyte": (3, 2, 2),
    "train-labels-idx1-ubyte": (3,),
    "t10k-images-idx3-ubyte": (2, 2, 2),
    "t10k-labels-idx1-ubyte": (2,),
}
ABOUT = {"torchvision": "MNIST", "npm": "tiny@1", "npm_folder": "package/data", "files": {"a": {"bytes": 7}}}


def idx(shape):
    """An IDX file of bytes that count up."""
    head = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return head + bytes(range(int(np.prod(shape))))


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A data set of a few bytes with a manifest in ``tmp_path``, and no source unless a test replaces one."""
    contents = {name: idx(shape) for name, shape in FILES.items()}
    about = {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in contents.items()}
    (tmp_path / "manifest.json").write_text(json.dumps({"mnist": ABOUT | {"files": about}}), "utf-8")
    monkeypatch.setattr(files, "_from_mirrors", offline)
    monkeypatch.setattr(files, "_from_npm", offline)
    return contents


def offline(about, names):
    raise OSError("no network")
    yield


def put(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def source_of(contents):
    def _from_somewhere(about, names):
        for name in names:
            yield name, contents[name]

    return _from_somewhere


# --- files -------------------------------------------------------------------------------------------------------


def test_real_mnist_is_complete():
    train, test = data.mnist(DATA)
    assert train.images.shape == (60000, 28, 28)
    assert train.images.dtype == torch.uint8
    assert test.images.shape == (10000, 28, 28)
    assert test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]


def test_files_that_are_there_are_read(tiny, tmp_path):
    put(tmp_path / "mnist", tiny)
    train, test = data.mnist(tmp_path)
    assert train.images.flatten().tolist() == list(range(12))
    assert test.labels.tolist() == [0, 1]


def test_only_the_first_images_are_given_when_asked_for(tiny, tmp_path):
    put(tmp_path / "mnist", tiny)
    train, test = data.mnist(tmp_path, n_train=2, n_test=1)
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1], [0])
    assert train.images.flatten().tolist() == list(range(8))


def test_missing_files_come_from_the_first_source_that_has_them(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_from_npm", source_of(tiny))
    assert data.mnist(tmp_path)[0].labels.tolist() == [0, 1, 2]
    assert not list((tmp_path / "mnist").glob("*.part"))


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:-1] + b"\xff", lambda c: b""])
def test_damaged_file_is_set_aside_and_replaced(tiny, tmp_path, monkeypatch, damage):
    name = "train-images-idx3-ubyte"
    put(tmp_path / "mnist", {**tiny, name: damage(tiny[name])})
    monkeypatch.setattr(files, "_from_npm", source_of(tiny))
    data.fetch(tmp_path)
    assert (tmp_path / "mnist" / name).read_bytes() == tiny[name]
    assert (tmp_path / "mnist" / f"{name}.rejected").read_bytes() == damage(tiny[name])


@pytest.mark.parametrize("place", ["mnist", "", "MNIST/raw", "mnist/raw"])
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("mark", ["-idx", ".idx"])
def test_files_as_people_have_them_are_found_and_verified(tiny, tmp_path, place, mark, ending):
    as_had = {}
    for name, content in tiny.items():
        as_had[name.replace("-idx", mark) + ending] = gzip.compress(content) if ending else content
    put(tmp_path / place, as_had)
    assert data.mnist(tmp_path)[0].labels.tolist() == [0, 1, 2]
    assert {name: (tmp_path / "mnist" / name).read_bytes() for name in tiny} == tiny


def test_files_of_another_data_set_or_damaged_ones_are_not_used_but_named(tiny, tmp_path):
    other = {name: content[:-1] + b"\xff" for name, content in tiny.items()}
    put(tmp_path / "fashion-mnist", other)
    put(tmp_path / "MNIST/raw", {"train-images-idx3-ubyte.gz": gzip.compress(b"cut off")[:-4]})
    with pytest.raises(data.DataError) as error:
        data.fetch(tmp_path)
    assert "fashion-mnist/train-labels-idx1-ubyte holds other data (wrong sha256)" in str(error.value)
    assert "MNIST/raw/train-images-idx3-ubyte.gz cannot be read" in str(error.value)
    assert not (tmp_path / "mnist").exists()
    put(tmp_path / "MNIST/raw", tiny)
    assert len(data.mnist(tmp_path)[0]) == 3, "the right ones beside them are used"


def test_files_of_a_shared_folder_are_used_there_and_others_go_to_the_users_store(tiny, tmp_path, monkeypatch):
    store = tmp_path / "home"
    monkeypatch.setattr(files, "_from_npm", source_of(tiny))
    assert data.fetch(tmp_path, store=store) == store / "mnist"
    assert not (tmp_path / "mnist").exists()
    put(tmp_path / "mnist", tiny)
    assert data.fetch(tmp_path, store=store) == tmp_path / "mnist"
    assert data.mnist(tmp_path, store=store)[1].labels.tolist() == [0, 1]


def test_damaged_file_without_source_is_an_error_that_says_what_to_do(tiny, tmp_path):
    put(tmp_path / "mnist", {**tiny, "t10k-labels-idx1-ubyte": b"wrong"})
    with pytest.raises(data.DataError, match=r"t10k-labels.*\n.*5 bytes long instead of 10") as error:
        data.fetch(tmp_path)
    assert "no network" in str(error.value)
    assert "copy train-images-idx3-ubyte, " in str(error.value)
    assert "Compressed files (.gz), names such as train-images.idx3-ubyte, and torchvision's" in str(error.value)
    assert f"{tmp_path.name}/mnist/" in str(error.value)


def test_a_source_with_wrong_content_is_not_used(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_from_mirrors", source_of({name: b"error page" for name in tiny}))
    with pytest.raises(data.DataError, match="wrong sha256"):
        data.fetch(tmp_path)
    assert not list((tmp_path / "mnist").glob("*-ubyte"))


def test_cheap_check_trusts_an_unchanged_file_and_the_full_check_does_not(tiny, tmp_path):
    folder = tmp_path / "mnist"
    put(folder, tiny)
    data.fetch(tmp_path)
    path = folder / "train-labels-idx1-ubyte"
    before = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    data.fetch(tmp_path)
    with pytest.raises(data.DataError, match="corrupt"):
        data.mnist(tmp_path)


def test_touched_file_is_read_again(tiny, tmp_path):
    put(tmp_path / "mnist", tiny)
    data.fetch(tmp_path)
    path = tmp_path / "mnist" / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    os.utime(path, ns=(0, 1))
    with pytest.raises(data.DataError, match="corrupt"):
        data.fetch(tmp_path)


def test_read_only_folder(tiny, tmp_path, monkeypatch):
    def refuse(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files, "write_atomic", refuse)
    monkeypatch.setattr(files, "_from_npm", source_of(tiny))
    with pytest.raises(data.DataError, match=r"cannot write to .*mnist"):
        data.fetch(tmp_path)
    put(tmp_path / "mnist", tiny)
    assert len(data.mnist(tmp_path)[0]) == 3  # complete files need no writing


def test_unknown_dataset():
    with pytest.raises(ValueError, match="unknown dataset 'minst'; choose one of mnist, fashion-mnist"):
        data.mnist(DATA, "minst")


def test_npm_package_is_unpacked(tmp_path, monkeypatch):
    def pack(command, **_):
        folder = tmp_path / "package" / "data"
        put(folder, {"a": b"content"})
        with tarfile.open(f"{command[-1]}/x.tgz", "w:gz") as archive:
            archive.add(folder / "a", "package/data/a")
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(files.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(files.subprocess, "run", pack)
    assert list(files._from_npm(ABOUT, ["a"])) == [("a", b"content")]


@pytest.mark.parametrize("failure", [OSError("down"), zlib.error("damaged"), http.client.IncompleteRead(b"")])
def test_mirrors_are_tried_in_turn(monkeypatch, failure):
    class Response:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self):
            return gzip.compress(b"content")

    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        if len(asked) == 1:
            raise failure
        return Response()

    monkeypatch.setattr(files.urllib.request, "urlopen", urlopen)
    assert list(files._from_mirrors(ABOUT, ["a"])) == [("a", b"content")]
    assert len(asked) == 2
    assert all(url.endswith("/a.gz") for url in asked)


def test_fashion_mnist_from_debian(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"content"))
    about = json.loads((DATA / "manifest.json").read_text("utf-8"))["fashion-mnist"]
    about |= {"debian_folder": str(tmp_path), "files": ABOUT["files"]}
    assert list(files._from_debian(about, ["a"])) == [("a", b"content")]


# --- tensors -----------------------------------------------------------------------------------------------------


def test_validation_split_is_pinned_and_disjoint(monkeypatch):
    kept, held_out = data.validation_indices(60000)
    assert len(held_out) == 10000
    assert torch.cat([kept, held_out]).sort().values.equal(torch.arange(60000))
    monkeypatch.setitem(tensors.VALIDATION, "seed", 1)
    with pytest.raises(RuntimeError, match="validation split differs"):
        data.validation_indices(60000)


def test_no_validation_image_is_among_the_training_images():
    """Image and label of a case are both its number here, so that one sees which went where."""
    numbers = torch.arange(120)
    whole = data.Split(numbers.to(torch.uint8).view(-1, 1, 1).expand(-1, 28, 28), numbers)
    train, validation = data.hold_out(whole)
    for part in (train, validation):
        assert part.images[:, 0, 0].tolist() == part.labels.tolist(), "an image keeps its label"
    assert (len(train), len(validation)) == (100, 20)
    assert set(train.labels.tolist()).isdisjoint(validation.labels.tolist())
    assert set(train.labels.tolist()) | set(validation.labels.tolist()) == set(range(120))
    assert validation.labels.tolist() != list(range(100, 120)), "drawn, not cut off"


def test_scales():
    images = torch.tensor([[[0, 255], [51, 102]]], dtype=torch.uint8)
    assert data.unit(images).flatten().tolist() == pytest.approx([0, 1, 0.2, 0.4])
    assert data.symmetric(images).flatten().tolist() == pytest.approx([-1, 1, -0.6, -0.2])
    assert images.dtype == torch.uint8
    assert data.unit(images).shape == data.symmetric(images).shape == (1, 1, 2, 2)


def test_what_is_darker_than_black_or_lighter_than_white_is_shown_as_black_or_white():
    images = torch.tensor([[-0.5, -1e-3, 0.0, 0.25, 0.5, 1.0, 1.001, 1.5, 40.0]])
    shown = data.to_uint8(images)
    assert shown.dtype == torch.uint8
    assert shown.shape == (1, 3, 3)
    assert shown.flatten().tolist() == [0, 0, 0, 64, 128, 255, 255, 255, 255]
    assert data.to_uint8(images.view(1, 1, 3, 3)).equal(shown)


def test_images_come_back_from_floats_as_they_were():
    images = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    assert data.to_uint8(data.unit(images)).equal(images)
    assert data.to_uint8(data.symmetric(images) / 2 + 0.5).equal(images)


def test_random_shift_moves_without_changing_pixels():
    images = torch.zeros(50, 28, 28, dtype=torch.uint8)
    images[:, 14, 14] = 200
    shifted = data.random_shift(images, torch.Generator().manual_seed(0), pixels=2)
    where = (shifted == 200).nonzero()
    assert shifted.sum() == images.sum()
    assert where[:, 1:].min() == 12
    assert where[:, 1:].max() == 16


def test_random_shift_goes_in_every_direction_equally_often():
    images = torch.zeros(10_000, 28, 28, dtype=torch.uint8)
    images[:, 14, 14] = 200
    where = (data.random_shift(images, torch.Generator().manual_seed(0), pixels=2) == 200).nonzero()[:, 1:] - 12
    counts = torch.bincount(5 * where[:, 0] + where[:, 1], minlength=25)
    assert len(counts) == 25
    assert (counts - 400).abs().max() < 80, "four standard deviations around a twenty-fifth"


def test_random_shift_fills_with_black_and_keeps_the_image_as_a_whole():
    image = torch.arange(1, 10, dtype=torch.uint8).view(1, 3, 3)
    possible = torch.nn.functional.pad(image, (1,) * 4)
    possible = [possible[:, i : i + 3, j : j + 3].flatten().tolist() for i in range(3) for j in range(3)]
    shifted = data.random_shift(image.expand(200, 3, 3), torch.Generator().manual_seed(0), pixels=1)
    found = {tuple(one.flatten().tolist()) for one in shifted}
    assert found == {tuple(one) for one in possible}


def test_batches_hold_every_index_once_and_repeat_with_the_seed():
    first, again = (torch.cat(list(data.batches(10, 4, torch.Generator().manual_seed(3)))) for _ in range(2))
    assert first.equal(again)
    assert first.sort().values.equal(torch.arange(10))
    assert [len(b) for b in data.batches(10, 4, torch.Generator())] == [4, 4, 2]


def test_batches_are_shuffled_anew_each_time():
    generator = torch.Generator().manual_seed(0)
    epochs = [torch.cat(list(data.batches(1000, 100, generator))).float() for _ in range(3)]
    epochs.append(torch.arange(1000.0))
    for i, one in enumerate(epochs):
        for other in epochs[:i]:
            assert torch.corrcoef(torch.stack([one, other]))[0, 1].abs() < 0.13, "four standard deviations"
