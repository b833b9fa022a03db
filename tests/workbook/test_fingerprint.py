"""A training's key follows everything that its result depends on, and nothing else; the rest is refused."""

import dataclasses
import functools
import importlib
import json
import linecache
import math
import os
import sys
import textwrap
import types
from collections import OrderedDict
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import nn

from lib import compute, data
from lib.data.tensors import Split
from lib.models.cnn import CNN
from lib.models.feedforward import FeedForward
from lib.models.vae import VAE
from lib.training.classifier import train_classifier
from lib.training.vae import train_vae
from workbook import fingerprint as fingerprints
from workbook import search
from workbook.fingerprint import Edited, describe, digest, fingerprint


def module(source, name="lib._probe"):
    """A module of ours made from text, as if it had been edited to this."""
    made = types.ModuleType(name)
    sys.modules[name] = made
    return run_cell(made, source)


def run_cell(made, source):
    """Run one more piece of text in a module, as a cell of a notebook is; what was defined before stays."""
    source = textwrap.dedent(source)
    file = f"<{made.__name__}-{abs(hash(source))}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), made.__dict__)
    return made


@pytest.fixture(autouse=True)
def _forget_probes():
    yield
    for name in [name for name in sys.modules if "_probe" in name]:
        del sys.modules[name]


BASE = """
import math
import torch
from types import SimpleNamespace

RATE = 2.0
size = SimpleNamespace(epochs=3, images=100)

def step(x):
    return x * RATE

def unrelated(x):
    return x

class Layer(torch.nn.Linear):
    def forward(self, x):
        return step(super().forward(x))

def train(n, seed=0):
    layer = Layer(n, n)
    return {"w": layer.weight}, {"loss": [1.0 / n] * size.epochs}
"""


def key(source, **settings):
    return digest(describe(module(source).train, {"n": 3, **settings}))


def content(value):
    reached = {}
    return json.dumps([fingerprint(value, reached), reached])


def reached(value):
    found = {}
    fingerprint(value, found)
    return found


# --- what changes a key, and what does not -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        ("RATE = 2.0", "RATE = 3.0"),
        ("RATE = 2.0", "RATE = 2"),
        ("x * RATE", "x + RATE"),
        ("1.0 / n", "2.0 / n"),
        ("epochs=3", "epochs=4"),
        ("torch.nn.Linear", "torch.nn.Bilinear"),
        ("seed=0):", "seed=1):"),
        ("return step(super().forward(x))", "return super().forward(x)"),
    ],
)
def test_editing_what_a_training_uses_changes_its_key(edit):
    assert edit[0] in BASE
    assert key(BASE) != key(BASE.replace(*edit))


@pytest.mark.parametrize(
    "edit",
    [
        ("    return x\n", "    return x + 1\n"),
        ("def train", "# prose\ndef train"),
        ("    return x * RATE", '    """Docstring."""\n    return x*RATE  # comment'),
        ("    return x * RATE", "    return (\n        x\n        * RATE\n    )"),
        ("def step(x):", "def step(x: torch.Tensor) -> 'torch.Tensor':"),
        ("def train(n, seed=0):", "def train(n: int, seed: int = 0) -> tuple[dict, dict]:"),
        ("class Layer(torch.nn.Linear):", 'class Layer(torch.nn.Linear):\n    """A layer."""\n'),
        ("images=100", "images=200"),
        ("import math\n", "import math\nOTHER = 3\n"),
    ],
)
def test_editing_anything_else_keeps_the_key(edit):
    assert edit[0] in BASE
    assert key(BASE) == key(BASE.replace(*edit))


def test_a_namespace_counts_only_with_the_value_that_is_read():
    probe = module(BASE)
    first = describe(probe.train, {"n": 3})
    assert "lib._probe: size.epochs" in first["sources"]
    probe.size.images = 1
    probe.size.new = object()
    assert describe(probe.train, {"n": 3}) == first
    probe.size.epochs = 99
    assert describe(probe.train, {"n": 3}) != first


def test_settings_defaults_and_seed_change_the_key():
    base = key(BASE)
    assert base == key(BASE, seed=0)
    assert base != key(BASE, seed=1)
    assert base != key(BASE, n=4)
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        key(BASE, epoch=1)


def test_the_data_change_the_key():
    train = Split(torch.zeros(3, 28, 28, dtype=torch.uint8), torch.arange(3))
    base = content(train)
    assert base == content(Split(train.images.clone(), train.labels.clone()))
    changed = train.images.clone()
    changed[0, 0, 0] += 1
    assert base != content(Split(changed, train.labels))
    assert base != content(Split(train.images, train.labels.flip(0)))
    assert "lib.data.tensors.Split" in reached(train)


def test_a_key_follows_the_preparation_of_the_data():
    about = describe(
        train_classifier,
        {
            "build": CNN,
            "train": None,
            "evaluate_on": {},
            "prepare": data.unit,
            "epochs": 1,
            "batch_size": 2,
            "lr": 0.1,
            "augment": partial(data.random_shift, pixels=1),
        },
    )
    followed = {"lib.data.tensors.unit", "lib.data.tensors.random_shift", "lib.data.tensors.batches"}
    assert followed <= about["sources"].keys()
    assert content(data.unit) != content(data.symmetric)


def test_data_that_functions_share_are_looked_at_once_and_anew_for_the_next_key(monkeypatch):
    made = module("def first():\n    return images\n\n\ndef train():\n    return first(), images")
    made.images = torch.arange(12.0).view(3, 4)
    looked, look = [], fingerprints._of_tensor
    monkeypatch.setattr(fingerprints, "_of_tensor", lambda tensor, sources: looked.append(1) or look(tensor, sources))
    before = describe(made.train, {})
    assert len(looked) == 1
    made.images.numpy()[0, 0] = 5  # torch does not notice
    assert describe(made.train, {}) != before
    assert len(looked) == 2


def test_large_images_are_recognised_by_every_single_number(monkeypatch):
    monkeypatch.setattr(fingerprints, "LARGE", 0)
    counted, count = [], fingerprints._pixels
    monkeypatch.setattr(fingerprints, "_pixels", lambda *given: counted.append(1) or count(*given))
    pixels = torch.arange(240, dtype=torch.uint8)
    images = data.unit(pixels).clone()
    before = fingerprint(images, {})
    assert fingerprint(images.view(24, 10), {})[2:] == before[2:]
    assert len(counted) == 1
    images.numpy()[-1] = 1.0
    changed = fingerprint(images, {})
    assert changed != before
    images.copy_(data.unit(pixels))
    sources = {}
    assert fingerprint(images, sources) == before
    assert len(counted) == 2
    assert any("unit" in name for name in sources)


def test_a_network_is_followed_and_others_are_not():
    ours = reached(FeedForward)
    assert {"lib.models.feedforward._uniform", "lib.models.feedforward: ACTIVATIONS"} <= ours.keys()
    assert not any("cnn" in name or "Stack" in name for name in ours)
    assert content(partial(FeedForward, 32)) != content(partial(FeedForward, 64))
    assert content(CNN) != content(FeedForward)


def test_a_recipe_that_was_asked_for_outside_is_part_of_the_key():
    source = "from lib.models import loaded\nrecipe = {}\ndef train(n): return recipe, loaded(n, {{}})"
    keys = {digest(describe(module(source.format(text)).train, {"n": 1})) for text in ("{'lr': 1}", "{'lr': 2}")}
    assert len(keys) == 2


def test_what_cannot_change_a_result_is_not_followed():
    names = reached(train_vae)
    assert "lib.training.loop.fit" in names
    assert not any(name.startswith(("lib.progress", "lib.compute", "lib.training.checkpoint")) for name in names)


def test_a_module_that_says_that_it_changes_no_result_is_not_followed():
    source = "HIDDEN = 1\ndef helper(x): return x + HIDDEN"
    for said, names in (("", {"lib._probe_2.helper", "lib._probe_2: HIDDEN"}), ("CHANGES_NO_RESULT = True\n", set())):
        module(said + source, "lib._probe_2")
        made = module("from lib._probe_2 import helper\ndef train(n): return helper(n)")
        assert reached(made.train).keys() == {"lib._probe.train"} | names


def test_a_search_is_followed_into_what_chooses_and_ends_its_trials():
    settings = dict(name="a", evaluate=math.sin, space={}, trials=1, first=None, sampler="tpe", seed=0, settings={})
    names = describe(search._kept, settings)["sources"].keys()
    assert {"workbook.search._searched", "workbook.search._open", "workbook.search: WARM_UP"} <= names
    assert not any(name.startswith(("workbook.cache", "workbook.paths", "workbook.fingerprint")) for name in names)


def test_where_a_training_runs_is_no_part_of_its_key(monkeypatch):
    settings = dict(build=VAE, train=torch.ones(2, 784), evaluate_on={}, epochs=1, batch_size=2, lr=0.1)
    base = describe(train_vae, settings | {"precision": "fast"})
    monkeypatch.setattr(compute, "fast_precision", lambda: "another")
    monkeypatch.setattr(compute, "_processor", lambda: "another")
    monkeypatch.setattr("platform.python_version", lambda: "3.99.1")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    major, minor, *_ = torch.__version__.split(".")
    monkeypatch.setattr(torch, "__version__", f"{major}.{minor}.99+cu130")
    assert describe(train_vae, settings | {"precision": "fast"}) == base
    assert describe(train_vae, settings | {"precision": "float32"}) != base
    monkeypatch.setattr(torch, "__version__", f"{major}.{int(minor) + 1}.0")
    assert describe(train_vae, settings | {"precision": "fast"}) != base


# --- contents ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass
class Scaled(Point):
    by: float = 1.0

    def size(self):
        return self.by * (self.x + self.y)


class Net(nn.Module):
    def __init__(self, act, width=2):
        super().__init__()
        self.act, self.layer = act, nn.Linear(width, 2)
        self.register_buffer("hidden", torch.zeros(1), persistent=False)
        nn.init.ones_(self.layer.weight)
        nn.init.ones_(self.layer.bias)

    def forward(self, x):
        return self.act(self.layer(x))


class Schedule(dict):
    def at(self, epoch):
        return self[epoch]


def changed(network, how):
    how(network)
    return network


def double(x, by=2):
    return x * by


def halve(x):
    return x / 2


FLOATS = torch.tensor([1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FLOATS, FLOATS.view(2, 2)),
        (FLOATS, FLOATS.view(torch.int32)),
        (FLOATS, FLOATS.double()),
        (FLOATS, FLOATS.flip(0)),
        (FLOATS[0], FLOATS[:1]),
        (torch.tensor(1, dtype=torch.bfloat16), torch.tensor(2, dtype=torch.bfloat16)),
        (FLOATS, FLOATS.numpy()),
        (FLOATS.numpy(), FLOATS.numpy().view(np.int32)),
        (FLOATS.numpy(), FLOATS.numpy().reshape(2, 2)),
        (np.array(["2020"], "M8[Y]"), np.array(["2021"], "M8[Y]")),
        (np.float32(1), np.float32(2)),
        (sparse.csr_matrix([[0, 1]]), sparse.csr_matrix([[0, 2]])),
        (sparse.csr_matrix([[0, 1]]), sparse.csr_matrix([[1, 0]])),
        (sparse.csr_matrix([[0, 1]]), sparse.csc_matrix([[0, 1]])),
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        (math.inf, -math.inf),
        (math.nan, None),
        ("1", 1),
        (b"a", b"b"),
        ([1, 2], (1, 2)),
        ([1, 2], [2, 1]),
        ([[1], 2], [[1, 2]]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1: 2}, {"1": 2}),
        ({1, 2}, {1, 3}),
        ({1, 2}, [1, 2]),
        (range(3), range(4)),
        (slice(3), slice(4)),
        (Path("a"), Path("b")),
        (torch.float32, torch.float64),
        (torch.channels_last, torch.contiguous_format),
        (partial(double, by=2), partial(double, by=3)),
        (partial(double, 1, 2), partial(double, 1, by=2)),
        (double, halve),
        (math.sin, math.cos),
        (torch.tanh, torch.sigmoid),
        (F.relu, F.elu),
        (np.add, np.multiply),
        (np.mean, np.median),
        (nn.ReLU, nn.ELU),
        (Point(1.0), Point(2.0)),
        (Point(1.0), Scaled(1.0)),
        (Scaled(1.0).size, Scaled(2.0).size),
        (Schedule(a=1), {"a": 1}),
        (types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)),
        (Net(F.relu), Net(F.elu)),
        (Net(F.relu), Net(F.relu, 3)),
        (Net(F.relu), Net(F.relu).eval()),
        (Net(F.relu), Net(F.relu).requires_grad_(False)),
        (Net(F.relu), changed(Net(F.relu), lambda net: net.layer.bias.data.mul_(2))),
        (Net(F.relu), changed(Net(F.relu), lambda net: net.hidden.add_(1))),
        (nn.Sequential(nn.Dropout(0.1)), nn.Sequential(nn.Dropout(0.2))),
        (Net(F.relu).forward, Net(F.elu).forward),
    ],
)
def test_contents_that_differ_are_told_apart(one, other):
    assert content(one) != content(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FLOATS, FLOATS.clone().requires_grad_()),
        (FLOATS.view(2, 2), FLOATS.view(2, 2).T.contiguous().T),
        (FLOATS.numpy().reshape(2, 2), FLOATS.numpy().reshape(2, 2).T.copy().T),
        ({0, 8}, {8, 0}),  # two that lie in different order, since their hashes collide
        (frozenset([1, 2]), {1, 2}),
        ({"a": 1}, OrderedDict(a=1)),
        (Net(F.relu), Net(F.relu)),
        (math.nan, float("nan")),
        (Point(1.0), Point(1.0, 0.0)),
        (functools.cache(double), double),
    ],
)
def test_contents_that_are_equal_are_told_to_be(one, other):
    assert content(one) == content(other)


@pytest.mark.parametrize(
    "value",
    [
        FLOATS,
        FLOATS.numpy(),
        Net(F.relu),
        Point(1.0),
        {"a": [1, 2.0, "b", None]},
        {3, 1, 2},
        math.inf,
        torch.zeros(0, 3),
        np.zeros((0, 3)),
    ],
)
def test_globals_and_settings_may_be_of_any_content_that_can_be_told(value):
    probe = module("def train(n, more=None):\n    return KEPT, n, more")
    probe.KEPT = value
    as_global = describe(probe.train, {"n": 1})
    json.dumps(as_global, allow_nan=False)  # it is written into the head of a file
    assert "lib._probe: KEPT" in as_global["sources"]
    as_setting = describe(probe.train, {"n": 1, "more": value})
    json.dumps(as_setting, allow_nan=False)
    assert as_setting["settings"]["more"] == json.loads(json.dumps(as_setting["settings"]["more"])) is not None
    probe.KEPT = None
    assert describe(probe.train, {"n": 1})["sources"] != as_global["sources"]


def test_functions_in_globals_are_followed_wherever_they_hide():
    source = """
    import lib.metrics.classification
    from dataclasses import dataclass
    from functools import cache, partial
    def double(x, by): return x * by
    def plus(x): return x + 1
    def minus(x): return x - 1
    def last(x): return x
    @dataclass
    class Holder:
        do: object
    class Named:
        @staticmethod
        def do(x): return last(x)
    twice = partial(double, by=2)
    chosen = {"a": [plus], "b": Holder(minus)}
    @cache
    def once(x): return x
    def train(n): return twice(once(n)), lib.metrics.classification.accuracy, chosen["a"], Named.do(n)
    """
    names = {"double", "plus", "minus", "last", "once"}
    found = reached(module(source).train)
    assert {f"lib._probe.{name}" for name in names} | {"lib.metrics.classification.accuracy"} <= found.keys()
    base = key(source)
    for edit in (("by=2", "by=3"), ("x + 1", "x + 2"), ("x - 1", "x - 2"), ("last(x): return x", "last(x): return 0")):
        assert key(source.replace(*edit)) != base
    assert key(source.replace("once(x): return x", "once(x): return -x")) != base


def test_a_global_that_hides_a_builtin_is_followed():
    source = "def sum(x): return 1\ndef train(n): return sum([n])"
    assert key(source) != key(source.replace("return 1", "return 2"))


def test_a_wrapper_is_followed_through_the_line_above_the_def():
    source = """
    import functools
    def scaled(by):
        def around(f):
            @functools.wraps(f)
            def inner(x): return by * f(x)
            return inner
        return around
    @scaled(by=2)
    def step(x): return x
    def plain(x): return x
    def train(n): return step(n)
    """
    assert key(source) != key(source.replace("by=2", "by=3"))
    assert key(source) != key(source.replace("by * f(x)", "by + f(x)"))
    assert key(source) != key(source.replace("step(x): return x", "step(x): return -x"))
    with pytest.raises(TypeError, match=r"cannot tell what wraps plain: apply the wrapper as"):
        key(source + "\n    step = scaled(2)(plain)\n")


def test_a_local_name_that_is_also_a_global_is_no_problem():
    source = """
    frame = object()
    size = object()
    def helper(frame): return frame
    def train(n):
        frame = helper(n)
        return frame, [size for size in range(n)]
    """
    assert key(source) == key(source.replace("object()", "print"))


def test_a_text_that_reaches_left_of_its_method_is_read():
    source = """
class Told:
    def method(self):
        # a remark
        return '''
left
'''
def train(n): return Told.method
"""
    assert "lib._probe.Told" in reached(module(source).train)
    assert content(module(source).Told.method) == content(module(source.replace("        # a", "# b")).Told.method)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "def train(n): return eval('n')",
            r"train uses eval, which hides the code that runs: choose",
        ),
        ("def train(n): exec('n')", r"train uses exec, which hides"),
        ("def train(n): return list(map(eval, 'n'))", r"train uses eval, which hides"),
        ("def train(n): return globals()['train']", r"train uses globals, which hides"),
        ("def train(n): return __import__('lib')", r"train uses __import__, which hides"),
        ("import importlib\ndef train(n): return importlib.import_module('x')", r"calls importlib\.import_module"),
        ("from importlib import import_module\ndef train(n): return import_module('x')", r"calls import_module\(…\)"),
        (
            "def train(n): return getattr(n, 'a' + 'b')",
            r"train calls getattr\(…\), which hides the code that runs: choose",
        ),
        ("from lib import data\ndef train(n): return getattr(data, 'unit')", r"uses the module data as a value: pass"),
        ("from lib import data\ndef train(n): return vars(data)[n]", r"uses the module data as a value: pass the func"),
        ("def train(n):\n    from lib import data\n    return data", r"train imports lib in its body: move the import"),
        ("def train(n):\n    import lib.data as d\n    return d", r"train imports lib\.data in its body"),
        ("def train(n):\n    from . import data\n    return data", r"train imports a module in its body"),
        ("def train(n):\n    import test_fingerprint\n    return n", r"imports test_fingerprint in its body"),
        ("def helper(n):\n    from lib import data\ndef train(n): return helper(n)", r"helper imports lib in its body"),
        (
            "train = lambda n: n",
            r"<lambda> is a lambda, and two lambdas on one line look alike: define a func",
        ),
        ("f = lambda n: n\ndef train(n): return f(n)", r"<lambda> is a lambda"),
        ("F = {'a': lambda n: n}\ndef train(n): return F['a'](n)", r"train reads the global F: .* is a lambda"),
        (
            "def make():\n    def train(n): return n\n    return train\ntrain = make()",
            r"inside another function.*partial",
        ),
        ("def make(k):\n    def f(n): return k\n    return f\nf = make(1)\ndef train(n): return f(n)", r"partial"),
        (
            "def make():\n    class A:\n        def f(self): return 1\n    return A\nA = make()\ndef train(n): A()",
            "partial",
        ),
        (
            "file = open('/dev/null')\ndef train(n): return file.read()",
            r"the global file: .* TextIOWrapper: use num",
        ),
        ("class Train:\n    def __call__(self, n): return n\ntrain = Train()", "cannot fingerprint a Train"),
    ],
)
def test_what_hides_the_code_that_runs_is_refused(source, message):
    with pytest.raises(TypeError, match=message):
        describe(module(source).train, {"n": 1})


class DataFrame:
    """A table, as pandas has them: nothing tells what is in it."""

    def __init__(self):
        self.columns = ["a"]


@pytest.mark.parametrize(
    "value",
    [
        object(),
        DataFrame(),
        torch.Generator(),
        np.random.default_rng(),
        torch.distributions.Normal(0.0, 1.0),
        torch.optim.SGD([torch.ones(1, requires_grad=True)]),
        [].append,
        torch.ones(1).add,
        iter([1]),
        np.array([object()]),
        np.ma.masked_array([1, 2], [0, 1]),
        sparse.coo_matrix([[0, 1]]),
        changed(Net(F.relu), lambda net: setattr(net, "table", DataFrame())),
        changed(Net(F.relu), lambda net: net.register_forward_hook(lambda *_: None)),
        F.max_pool2d,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_content_that_can_be_told_is_refused(value):
    probe = module("def train(n): return KEPT")
    probe.KEPT = value
    with pytest.raises(TypeError, match=r"cannot fingerprint a|is a lambda|name of several functions"):
        fingerprint(value, {})
    with pytest.raises(TypeError, match=r"lib\._probe\.train reads the global KEPT: |name of several functions"):
        describe(probe.train, {"n": 1})


def test_a_refusal_says_how_to_write_it_instead():
    probe = module("def train(n): return frame.columns")
    probe.frame = DataFrame()
    with pytest.raises(TypeError) as refused:
        describe(probe.train, {"n": 1})
    assert str(refused.value) == (
        "lib._probe.train reads the global frame: cannot fingerprint a DataFrame: use numbers, text, tensors, arrays, "
        "dataclasses, networks, functions or functools.partial over them. Or pass what train needs from it as an "
        "argument"
    )


# --- numbers that were computed ----------------------------------------------------------------------------------

COMPUTED = torch.tensor([0.1, 1.0]).sqrt()


@pytest.mark.parametrize(
    "value",
    [
        COMPUTED,
        COMPUTED.double(),
        COMPUTED.half(),
        COMPUTED.bfloat16(),
        COMPUTED.numpy(),
        COMPUTED[0],
        torch.cat([torch.zeros(2**18), COMPUTED]),
        sparse.csr_matrix(COMPUTED[None].numpy()),
        torch.tensor([math.nan]),
        torch.complex(COMPUTED, COMPUTED),
        COMPUTED.numpy()[0],
        {"a": [COMPUTED]},
        partial(double, by=COMPUTED),
        math.sqrt(2),
        np.float64(1 / 3),
        [1.0, 0.1 + 0.2],
        data.unit(torch.arange(256, dtype=torch.uint8)) + 1e-7,
    ],
)
def test_a_number_that_was_computed_is_refused_as_a_setting_and_as_a_global(value):
    probe = module("def train(n, more=None): return KEPT")
    probe.KEPT = 1
    with pytest.raises(TypeError, match=r"computed, and its last bits differ from one processor to the next: compute"):
        describe(probe.train, {"n": 1, "more": value})
    probe.KEPT = value
    with pytest.raises(TypeError, match=r"the global KEPT: the number.* from whole numbers, images and results"):
        describe(probe.train, {"n": 1})


@pytest.mark.parametrize("value", [2e-3, 1e-12, 0.123456789012, 1e300, 60000 * 784.0, 2.0**53, -0.5, np.float64(0.1)])
def test_a_number_that_was_written_down_is_accepted(value):
    assert content(value) == json.dumps([value, {}])


PIXELS = torch.arange(256, dtype=torch.uint8).repeat(2000).view(-1, 16, 16)  # more than are looked at in one go


@pytest.mark.parametrize("scaled", [data.unit, data.symmetric])
def test_scaled_images_are_named_by_their_pixels_and_by_how_they_are_scaled(scaled):
    changed = PIXELS.clone()
    changed[-1, -1, -1] -= 1
    alike = [scaled(PIXELS), scaled(PIXELS).double(), scaled(PIXELS).flatten(1), scaled(PIXELS[:-1]), scaled(changed)]
    others = [PIXELS, PIXELS.float(), data.unit(PIXELS), data.symmetric(PIXELS), scaled(PIXELS).numpy()]
    assert len({content(each) for each in [*alike, *others]}) == len(alike) + len(others) - 1
    assert f"{scaled.__module__}.{scaled.__name__}" in reached(scaled(PIXELS))
    wrong = scaled(PIXELS)
    wrong[-1, 0, -1, -1] += 1e-6
    with pytest.raises(TypeError, match="were computed"):
        fingerprint(wrong, {})


def kept_network(monkeypatch, prefix="", file="net-0"):
    """A network of computed weights, as a kept training returned it, among others."""
    monkeypatch.setattr(fingerprints, "kept", [])
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2)).eval().requires_grad_(False)
    state = {f"{prefix}{name}": tensor.clone() for name, tensor in network.state_dict().items()}
    fingerprints.remember("another-0", {"w": torch.rand(3)}, {})
    fingerprints.remember(file, state | {"other.w": torch.rand(3)}, {"loss": [0.1]})
    return network


@pytest.mark.parametrize("prefix", ["", "generator."])
def test_a_network_is_named_by_the_training_that_it_comes_from(prefix, monkeypatch):
    names = {content(kept_network(monkeypatch, prefix)) for _ in range(2)}  # weights differ, as on another processor
    assert len(names) == 1
    assert "net-0" in names.pop()
    assert "net-1" in content(kept_network(monkeypatch, prefix, "net-1"))


def test_a_network_that_does_not_come_from_a_training_as_it_is_is_refused(monkeypatch):
    changes = [
        lambda net: net[0].weight.data.mul_(1.001),
        lambda net: net[2].running_mean.add_(0.1),
        lambda net: net[1].reset_parameters(),
    ]
    for change in changes:
        network = kept_network(monkeypatch)
        fingerprint(network, {})
        change(network)
        with pytest.raises(TypeError, match="not those that a kept training returned: pass a function that builds it"):
            fingerprint(network, {})
    with pytest.raises(TypeError, match="not those that a kept training returned"):
        fingerprint(nn.Linear(2, 2), {})


def test_layers_that_changed_places_are_another_network(monkeypatch):
    network = kept_network(monkeypatch)
    before = content(network)
    network[0], network[1] = network[1], network[0]
    assert content(network) != before


def test_something_that_contains_itself_is_refused():
    endless = []
    endless.append(endless)
    probe = module("def train(n): return n")
    with pytest.raises(TypeError, match="contains itself"):
        describe(probe.train, {"n": endless})


# --- a notebook whose cells were run in another order ------------------------------------------------------------

CELLS = """
from functools import partial
RATE = 1
class Base:
    def f(self): return 1
class Derived(Base):
    rate = RATE
    def g(self, rate=RATE): return 2
    def h(self): return 3
def step(x, rate=RATE, *, more=RATE): return x * rate * more
build = partial(Derived)
def train(n): return step(n), build(), Derived()
"""


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("RATE = 2", r"rate of lib\._probe\.\w+ no longer equals RATE: run its cell again"),
        (
            "class Base:\n    def f(self): return 2",
            r"Derived has an old version of Base as its base: run its cell",
        ),
        ("class Derived(Base):\n    def h(self): return 4", r"there are two versions of lib\._probe\.Derived: run the"),
        ("Derived.h = Base.f", r"Derived\.h was replaced outside the class: define it in the class"),
        ("Derived.more = 3", r"Derived\.more was set outside the class: define it in the class"),
        ("Derived.rate = 3", r"rate of lib\._probe\.Derived no longer equals RATE"),
        ("step.__defaults__ = (5,)", r"rate of lib\._probe\.step no longer equals RATE"),
    ],
)
def test_what_no_longer_is_what_its_cell_says_is_refused(cell, message):
    """Else the new text would stand for what the old objects compute."""
    probe = module(CELLS)
    first = describe(probe.train, {"n": 1})
    assert describe(run_cell(probe, "OTHER = 2").train, {"n": 1}) == first
    run_cell(probe, cell)
    with pytest.raises(TypeError, match=message):
        describe(probe.train, {"n": 1})


def test_a_notebook_that_is_run_again_in_order_is_followed():
    first = describe(module(CELLS).train, {"n": 1})
    probe = run_cell(module(CELLS), CELLS)
    assert describe(probe.train, {"n": 1}) == first
    again = run_cell(probe, CELLS.replace("RATE = 1", "RATE = 2"))
    assert describe(again.train, {"n": 1}) != first
    assert describe(run_cell(probe, CELLS).train, {"n": 1}) == first


def test_a_class_without_methods_counts_with_what_it_is_made_of():
    source = """
    from dataclasses import dataclass, field
    def two(): return [2]
    class Base:
        def f(self): return 1
    @dataclass
    class Config(Base):
        rate: float = 0.1
        sizes: list = field(default_factory=two)
    config = Config()
    def train(n): return config, Config
    """
    base = key(source)
    for edit in (("0.1", "0.2"), ("[2]", "[3]"), ("return 1", "return 2"), ("config = Config()", "config = Config(9)")):
        assert edit[0] in source
        assert key(source.replace(*edit)) != base
    assert key(source.replace("[2]", "[ 2 ]")) == base


# --- files -------------------------------------------------------------------------------------------------------


def helper(folder, source, monkeypatch, when=-9.0):
    """Import a file that lies beside the notebook, last edited so many seconds after this process began."""
    file = folder / "my_probe.py"
    file.write_text(textwrap.dedent(source), "utf-8")
    os.utime(file, (fingerprints.STARTED + when,) * 2)
    monkeypatch.syspath_prepend(folder)
    sys.modules.pop("my_probe", None)
    importlib.invalidate_caches()
    linecache.clearcache()
    return importlib.import_module("my_probe")


HELPER = """
from dataclasses import dataclass
FACTOR = 2
def scaled(x):
    return FACTOR * x
@dataclass
class Config:
    rate: float = 0.1
class Net:
    def forward(self, x):
        return x
"""


def test_a_helper_file_outside_lib_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions within one second
    notebook = "import my_probe\ndef train(n): return my_probe.scaled(n), my_probe.Config, my_probe.Net"
    helper(tmp_path, HELPER, monkeypatch)
    first = describe(module(notebook).train, {"n": 1})
    assert {"my_probe.scaled", "my_probe: FACTOR", "my_probe.Config", "my_probe.Net"} <= first["sources"].keys()
    for edit in (("FACTOR * x", "FACTOR + x"), ("FACTOR = 2", "FACTOR = 3"), ("0.1", "0.2"), ("return x", "return -x")):
        helper(tmp_path, HELPER.replace(*edit), monkeypatch)
        assert describe(module(notebook).train, {"n": 1}) != first
    helper(tmp_path, HELPER + "# a comment\ndef more(): pass\n", monkeypatch)
    assert describe(module(notebook).train, {"n": 1}) == first


def test_a_helper_that_is_imported_inside_a_function_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unseen_probe.py").write_text("x = 1", "utf-8")
    with pytest.raises(TypeError, match="imports unseen_probe in its body: move the import to the top"):
        key("def train(n):\n    import unseen_probe\n    return unseen_probe.x")
    assert key("def train(n):\n    import scipy.stats, math\n    from sklearn import manifold\n    return n")


@pytest.mark.parametrize("name", ["scaled", "Config", "Net"])
def test_a_file_that_was_edited_after_it_was_loaded_is_reported(name, tmp_path, monkeypatch):
    probe = helper(tmp_path, HELPER, monkeypatch)
    fingerprint(getattr(probe, name), {})
    os.utime(probe.__file__, (fingerprints.STARTED + 9,) * 2)
    with pytest.raises(Edited, match=r"my_probe\.py was edited after this process loaded it \(restart the kernel"):
        fingerprint(getattr(probe, name), {})


# --- a real kernel -----------------------------------------------------------------------------------------------

FIRST = """
import torch
from torch import nn
from lib.data import unit
from lib.models.vae import kl_to_prior, reconstruction_loss, reparameterize
from lib.training.vae import train_vae
from workbook.cache import cache_dir, trained

images = unit(torch.randint(0, 256, (40, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))

def train():
    files = {file.name: file.stat().st_mtime_ns for file in cache_dir().glob("*.safetensors")}
    done = trained(
        "own", train_vae, build=Own, step=my_step, train=images, evaluate_on={}, epochs=1, batch_size=20, lr=1e-3
    )
    now = {file.name: file.stat().st_mtime_ns for file in cache_dir().glob("*.safetensors")}
    print("new" if now != files else "kept", done.history["train_kl"][-1])
"""
NETWORK = """
%config InlineBackend.figure_format = "png"
class Own(nn.Module):
    def __init__(self, latent=3):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(784, 2 * latent), nn.Linear(latent, 784)

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=1)

    def decode(self, z):
        return self.decoder(z)
"""
WEIGHT = """
from dataclasses import dataclass

@dataclass
class Options:
    power: float = 1.0

class Weighting:
    def __call__(self, kl):
        return 1.0 * kl ** options.power

options = Options()

def weighted(kl):
    return Weighting()(kl)
"""
STEP = """
def my_step(vae, x, draw, learner):
    mean, log_variance = vae.encode(x)
    logits = vae.decode(reparameterize(mean, log_variance, draw(*mean.shape)))
    reconstruction, kl = reconstruction_loss(logits, x).mean(), kl_to_prior(mean, log_variance).sum(1).mean()
    learner.descend(reconstruction + weighted(kl))
    return {"reconstruction": reconstruction, "kl": kl}
"""


def test_a_student_trains_a_network_and_a_step_from_cells_of_a_notebook(tmp_path, monkeypatch):
    """In a real kernel: cached, trained again when a cell is edited and run again, and found again after that."""
    from workbook.tools.kernel import execute

    edits = [
        NETWORK.replace("latent=3", "latent=4"),
        STEP.replace("reconstruction + weighted", "2 * reconstruction + weighted"),
        WEIGHT.replace("1.0 * kl", "4.0 * kl"),
        WEIGHT.replace("return 1.0 * kl", "# a remark\n        return 4.0 * (kl)"),
        WEIGHT.replace("power: float = 1.0", "power: float = 0.5"),
        WEIGHT,
        STEP,
        NETWORK,
    ]
    cells = [FIRST, NETWORK, WEIGHT, STEP, "train()", "train()"]
    cells += [cell for edit in edits for cell in (edit, "train()")]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook, copy = tmp_path / "student.ipynb", tmp_path / "executed.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), notebook)
    execute(notebook, copy, {}, tmp_path)
    said = [
        "".join(
            output["text"] for output in cell.outputs if output.get("name") == "stdout"
        ).split()  # one print, or parts
        for cell in nbformat.read(copy, 4).cells
        if cell.cell_type == "code" and cell.source == "train()"
    ]
    assert [word for word, _ in said] == ["new", "kept", "new", "new", "new", "kept", "new", "kept", "kept", "kept"]
    losses = [float(loss) for _, loss in said]
    assert losses[0] == losses[1] == losses[-1]
    assert len(set(losses)) == 5
