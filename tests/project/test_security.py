"""What must not occur in the code: ways in which data becomes code. SECURITY.md says what follows from it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(file for folder in ("src", "examples", "benchmarks") for file in (ROOT / folder).rglob("*.py"))

UNPICKLERS = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "msgpack_numpy"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "pty.spawn", "tempfile.mktemp"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"),
    *("torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "pandas.read_pickle"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"),
    *("ssl._create_unverified_context", "logging.config.listen"),
}
SAYS_NO = {"allow_pickle", "shell", "trust_remote_code"}
"""Keywords that are False or absent."""
PICKLING_TRANSPORTS = {"multiprocessing", "concurrent.futures.ProcessPoolExecutor", "torch.multiprocessing"}
"""Not in the runtime: what goes through their queues and pipes is unpickled at the other end."""


def offences(source: str, *, runtime: bool = False) -> Iterator[str]:
    """What of the above occurs in a text."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [(alias.name, alias.asname or alias.name.split(".")[0]) for alias in node.names]
            names |= {local: name if name.endswith(local) else local for name, local in modules}
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            modules = [(f"{node.module}.{alias.name}", alias.asname or alias.name) for alias in node.names]
            names |= {local: name for name, local in modules}
        for name, _ in modules:
            if name.split(".")[0] in UNPICKLERS:
                yield f"import of {name}"
            if runtime and any(f"{name}.".startswith(f"{each}.") for each in PICKLING_TRANSPORTS):
                yield f"import of {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _call(node, names)
        elif isinstance(node, ast.Attribute | ast.Name) and _full(node, names) == "ssl.CERT_NONE":
            yield "ssl.CERT_NONE"


def _full(node: ast.expr, names: dict[str, str]) -> str:
    """Dotted name of what an expression refers to, as it was imported."""
    if isinstance(node, ast.Attribute):
        return f"{_full(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def _call(node: ast.Call, names: dict[str, str]) -> Iterator[str]:
    called = _full(node.func, names)
    if called in CALLS:
        yield called
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    for name in SAYS_NO & keywords.keys():
        if (value := ast.unparse(keywords[name])) != "False":
            yield f"{name}={value}"
    if called == "numpy.load" and "allow_pickle" not in keywords:
        yield "numpy.load without allow_pickle=False"


def test_data_never_becomes_code() -> None:
    found = []
    for file in SOURCES:
        place = file.relative_to(ROOT)
        found += [f"{place}: {each}" for each in offences(file.read_text(), runtime="runtime" in place.parts)]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "def f():\n    import dill",
        "import joblib.memory",
        "eval(text)",
        "exec(compile(text, 'f', 'exec'))",
        "import torch\ntorch.load(path)",
        "import torch as t\nt.load(path, weights_only=True)",
        "from torch import load as read\nread(path)",
        "import torch.jit\ntorch.jit.load(path)",
        "import numpy as np\nnp.load(path)",
        "from numpy import load\nload(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, allow_pickle=trusted)",
        "import yaml\nyaml.load(text)",
        "import os\nos.system(command)",
        "from os import popen\npopen(command)",
        "import subprocess\nsubprocess.run(command, shell=True)",
        "import subprocess as s\ns.Popen(command, shell=unix)",
        "import ssl\ncontext.verify_mode = ssl.CERT_NONE",
        "from ssl import CERT_NONE\ncontext.verify_mode = CERT_NONE",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_each_way_is_found(source: str) -> None:
    assert list(offences(source))


@pytest.mark.parametrize(
    "source",
    [
        "from multiprocessing import Queue",
        "import multiprocessing.connection",
        "from concurrent.futures import ProcessPoolExecutor",
        "import torch.multiprocessing as mp",
    ],
)
def test_pickling_transports_are_found_in_the_runtime(source: str) -> None:
    assert list(offences(source, runtime=True))
    assert not list(offences(source))


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.compile(pattern)",
        "import torch\ntorch.compile(network)",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "from safetensors.torch import load_file\nload_file(path)",
        "import json\njson.load(file)",
        "import subprocess\nsubprocess.run([program, argument], shell=False)",
        "from concurrent.futures import ThreadPoolExecutor",
        "network.eval()",
    ],
)
def test_the_safe_way_is_let_through(source: str) -> None:
    assert not list(offences(source, runtime=True))


def test_the_threat_model_is_written_down() -> None:
    text = " ".join((ROOT / "SECURITY.md").read_text().split())
    for words in ("not a safety-rated system", "emergency stop", "ProcessPoolExecutor", "Ray", "safetensors", "token"):
        assert words in text
