"""How many small faults in core, strategies, plan and safety the tests find: some are drawn, put in, and tested.

    python benchmarks/mutants.py --count 200            make mutants

Each fault is one changed place of the source: a comparison, an operator, a number, a condition, min for max, or a
statement that is left out. The tests of its file run first, then those of all four floors, on a copy of the sources.
What survives is listed, to be killed by a better test, or to be understood as the same program.
"""

import argparse
import ast
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = ("core", "strategies", "plan", "safety")
PATIENCE = 300.0
"""Seconds after which a fault that makes the tests hang counts as found."""

COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
OPERATORS = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}
NAMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """One changed place.

    Attributes:
        file: Below the package.
        line: Its first line, from 1.
        start, end: Offsets of what is replaced.
        text: What stands there instead.
        was: What stood there.
    """

    file: str
    line: int
    start: int
    end: int
    text: str
    was: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {' '.join(self.was.split())[:60]} -> {self.text[:60]}"


Place = ast.expr | ast.stmt


def of_expression(node: ast.AST) -> Iterator[tuple[Place, str]]:
    """What may stand in the place of an expression."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISONS:
            yield node, f"({ast.unparse(left)} {COMPARISONS[type(op)]} {ast.unparse(right)})"
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            yield node, f"({ast.unparse(left)} {OPERATORS[type(op)]} {ast.unparse(right)})"
        case ast.BoolOp(op=op, values=values):
            other = " or " if isinstance(op, ast.And) else " and "
            yield node, f"({other.join(f'({ast.unparse(value)})' for value in values)})"
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.Constant(value=bool() as value):
            yield node, str(not value)
        case ast.Constant(value=int() | float() as value):
            yield node, repr(value + 1)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args, keywords=[]) if name in NAMES:
            home = f"{ast.unparse(node.func.value)}." if isinstance(node.func, ast.Attribute) else ""
            yield node, f"{home}{NAMES[name]}({', '.join(map(ast.unparse, args))})"


def of_statement(node: ast.AST) -> Iterator[tuple[Place, str]]:
    """What may stand in the place of a condition or of a statement."""
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield test, f"(not ({ast.unparse(test)}))"
        case ast.Expr(value=ast.Constant()):
            pass  # a docstring
        case ast.AugAssign() | ast.Expr():
            yield node, "pass"


def parts(node: ast.AST) -> Iterator[ast.AST]:
    """What is inside that can go wrong: no annotations, no imports, no texts of errors."""
    match node:
        case ast.Raise() | ast.Import() | ast.ImportFrom() | ast.JoinedStr():
            pass
        case ast.AnnAssign(value=value):
            yield from [value] if value else []
        case ast.FunctionDef(args=args, body=body):
            yield from [*args.defaults, *filter(None, args.kw_defaults), *body]
        case _:
            yield from ast.iter_child_nodes(node)


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Every fault that can be put into a file."""
    raw = source.encode()
    lines = [0, *accumulate(len(line) for line in raw.splitlines(keepends=True))]

    def walk(node: ast.AST) -> Iterator[Mutant]:
        for place, text in (*of_expression(node), *of_statement(node)):
            assert place.end_lineno is not None
            assert place.end_col_offset is not None
            start, end = lines[place.lineno - 1] + place.col_offset, lines[place.end_lineno - 1] + place.end_col_offset
            yield Mutant(file, place.lineno, start, end, text, raw[start:end].decode())
        for child in parts(node):
            yield from walk(child)

    yield from walk(ast.parse(source))


def killed(mutant: Mutant, work: Path) -> bool:
    """Whether the tests notice, on a copy of the sources of its own."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        package = shutil.copytree(ROOT / "src", Path(name) / "src", ignore=shutil.ignore_patterns("__pycache__"))
        path = package / "segue" / mutant.file
        raw = path.read_bytes()
        path.write_bytes(raw[: mutant.start] + mutant.text.encode() + raw[mutant.end :])
        floor, stem = mutant.file.split("/")[0], Path(mutant.file).stem
        own = [str(test) for test in sorted((ROOT / "tests" / floor).glob(f"test_{stem}*.py"))]
        everything = [str(ROOT / "tests" / floor) for floor in FLOORS]
        return any(_fails(tests, package) for tests in (own, everything) if tests)


def _fails(tests: list[str], package: Path) -> bool:
    settings = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *settings, *tests]
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def interval(found: int, count: int) -> tuple[float, float]:
    """Wilson's interval of 95 % for a share."""
    z, share = 1.96, found / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - half, middle + half


def main() -> None:
    """Draw faults, put them in side by side, and say how many were found."""
    parser = argparse.ArgumentParser(description="How many small faults do the tests find?")
    parser.add_argument("--count", type=int, default=200, help="faults to draw")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--workers", type=int, default=2, help="side by side")
    chosen = parser.parse_args()
    package = ROOT / "src" / "segue"
    files = [file for floor in FLOORS for file in sorted((package / floor).glob("*.py"))]
    everything = [
        mutant for file in files for mutant in mutants(file.relative_to(package).as_posix(), file.read_text())
    ]
    drawn = random.Random(chosen.seed).sample(everything, min(chosen.count, len(everything)))
    found = 0
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(chosen.workers) as threads:
        for mutant, dead in zip(drawn, threads.map(lambda one: killed(one, Path(work)), drawn), strict=True):
            found += dead
            if not dead:
                print(f"survived  {mutant}", flush=True)
    low, high = (100 * bound for bound in interval(found, len(drawn)))
    print(
        f"{found} of {len(drawn)} found ({low:.0f} to {high:.0f} %); there are {len(everything)} in {len(files)} files"
    )


if __name__ == "__main__":
    main()
