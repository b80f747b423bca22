"""Checks the direction of imports inside the package, without importing it.

    python tools/check_imports.py [ROOT]

ROOT is the folder that holds ``functrans/`` (by default the one above this file). Each violation is printed
as ``file:line: rule: what is wrong``, and the exit status is 1 when there is any. The rules:

``layer``        a part of the package imports only what ``LAYERS`` allows it, at any depth of nesting.
``typing``       an upward import under ``if TYPE_CHECKING`` serves annotations only.
``cycle``        no module imports itself by a detour, also not by imports that are put off into functions.
``third-party``  NumPy is the only package imported at module level; any other one is an option of the user,
                 imported inside the function that needs it.
``dynamic``      an import whose target is computed stands only where ``DYNAMIC`` allows it.
``unknown``      a folder of the package has a row in ``LAYERS``.
"""

from __future__ import annotations

import ast
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PACKAGE = "functrans"
TESTING = "testing"
FACADE = "facade"
TESTING_FACADES = {f"{PACKAGE}.test_util"}

_GROUND = {"util", "errors", "config", "absent"}
_CORE = _GROUND | {"core"}
_LAX = _CORE | {"interpreters", "lax"}
_BACKENDS = _LAX | {"passes", "kernel", "backends"}
_NAMESPACES = {"numpy", "scipy", "nn", "random", "image"}
_PUBLIC = _BACKENDS | {"api"} | _NAMESPACES

# Part of the package -> the parts that it may import besides itself.
LAYERS: Mapping[str, frozenset[str]] = {
    name: frozenset(allowed - {name})
    for name, allowed in {
        "util": set[str](),
        "errors": {"util"},
        "config": {"util", "errors"},
        "absent": {"util", "errors"},
        "core": _GROUND,
        "interpreters": _CORE,
        "lax": _LAX,
        "passes": _LAX,
        "kernel": _LAX | {"passes"},
        "backends": _LAX | {"passes", "kernel"},
        "api": _BACKENDS,
        **dict.fromkeys(_NAMESPACES, _BACKENDS | {"api"} | _NAMESPACES),
        TESTING: _PUBLIC | {FACADE, PACKAGE},
        FACADE: _PUBLIC,  # the single-file public modules beside __init__.py
        PACKAGE: _PUBLIC | {FACADE},  # __init__.py itself
    }.items()
}
DYNAMIC = {PACKAGE, "util", "lax", "numpy", "backends", "scipy", TESTING}

Place = Literal["module", "function", "typing"]


@dataclass(frozen=True)
class Module:
    name: str
    part: str
    path: Path
    is_package: bool
    tree: ast.Module


@dataclass(frozen=True)
class Import:
    target: str | None  # None: computed at run time
    line: int
    place: Place
    bound: str | None  # the name that the statement binds in the module


@dataclass(frozen=True, order=True)
class Violation:
    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


def load(root: Path) -> dict[str, Module]:
    """Parses every module of the package under ``root``, keyed by dotted name."""
    modules = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        parts = parts[:-1] if is_package else parts
        name = ".".join(parts)
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        is_file = len(parts) == 2 and not is_package
        modules[name] = Module(name, part_of(parts, is_file), path.relative_to(root), is_package, tree)
    return modules


def part_of(parts: tuple[str, ...], is_file: bool) -> str:
    if len(parts) == 1:
        return PACKAGE
    if parts[1] in LAYERS:
        return parts[1]
    return FACADE if is_file else parts[1]


def imports(module: Module, known: Mapping[str, Module]) -> Iterator[Import]:
    """Every import of ``module``, resolved to the module that it loads where that is one of ours."""
    for node, place in placed(module.tree, "module"):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                yield Import(nearest(alias.name, known), node.lineno, place, bound)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node.level, node.module or "")
            for alias in node.names:
                target = nearest(f"{base}.{alias.name}", known)
                yield Import(target, node.lineno, place, alias.asname or alias.name)
        elif isinstance(node, ast.Call) and is_import_call(node.func):
            yield Import(called_target(module, node, known), node.lineno, place, None)


def placed(node: ast.AST, place: Place) -> Iterator[tuple[ast.AST, Place]]:
    """The nodes below ``node``, each with where it runs: on import, in a function, or for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and is_type_checking(child.test):
            for statement in child.body:
                yield statement, "typing"
                yield from placed(statement, "typing")
            for statement in child.orelse:
                yield statement, place
                yield from placed(statement, place)
            continue
        yield child, place
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from placed(child, "function" if inside and place == "module" else place)


def is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else None
    return name == "TYPE_CHECKING"


def is_import_call(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in ("import_module", "__import__")
    return isinstance(function, ast.Attribute) and function.attr == "import_module"


def called_target(module: Module, call: ast.Call, known: Mapping[str, Module]) -> str | None:
    name = call.args[0] if call.args else None
    if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
        return None
    plain = name.value.lstrip(".")
    return nearest(absolute(module, len(name.value) - len(plain), plain), known)


def absolute(module: Module, level: int, name: str) -> str:
    if level == 0:
        return name
    parts = module.name.split(".")
    keep = len(parts) - level + (1 if module.is_package else 0)
    return ".".join([*parts[:keep], *([name] if name else [])])


def nearest(name: str, known: Mapping[str, Module]) -> str:
    """The longest prefix of ``name`` that is a module of ours, or ``name`` where there is none."""
    prefix = name
    while prefix and prefix not in known:
        prefix = prefix.rpartition(".")[0]
    return prefix or name


def check(root: Path) -> list[Violation]:
    """All violations in the package under ``root``, in the order of files and lines."""
    modules = load(root)
    found = {name: list(imports(module, modules)) for name, module in modules.items()}
    violations: set[Violation] = set()
    for name, module in modules.items():
        if module.part not in LAYERS:
            message = f"{PACKAGE}/{module.part} has no row in LAYERS of tools/check_imports.py"
            violations.add(Violation(module.path.as_posix(), 1, "unknown", message))
            continue
        for item in found[name]:
            for rule, message in judge(module, item, modules):
                violations.add(Violation(module.path.as_posix(), item.line, rule, message))
    violations.update(cycles(modules, found))
    return sorted(violations)


def judge(module: Module, item: Import, modules: Mapping[str, Module]) -> Iterator[tuple[str, str]]:
    """The rules that can be decided on one import by itself."""
    if item.target is None:
        if module.part not in DYNAMIC:
            yield "dynamic", f"a computed import stands only in: {', '.join(sorted(DYNAMIC))}"
        return
    if item.target not in modules:
        if item.place == "module" and is_third_party(item.target):
            yield "third-party", f"{module.name} imports {item.target}; do so in the function that needs it"
        return
    part = modules[item.target].part
    if part == module.part:
        return
    if part == TESTING:
        if module.name not in TESTING_FACADES:
            yield "layer", f"{module.name} imports {item.target}, but nothing imports {PACKAGE}.{TESTING}"
    elif part not in LAYERS[module.part]:
        if item.place != "typing":
            allowed = ", ".join(sorted(LAYERS[module.part])) or "nothing"
            yield "layer", f"{module.name} imports {item.target}; {module.part} may import only: {allowed}"
        elif item.bound is not None:
            for line in runtime_uses(module, item.bound):
                yield "typing", f"{item.bound} is imported upward for types only, but line {line} uses it"


def is_third_party(target: str) -> bool:
    top = target.partition(".")[0]
    return top not in (PACKAGE, "numpy") and top not in sys.stdlib_module_names


def runtime_uses(module: Module, name: str) -> list[int]:
    """The lines that read ``name`` outside annotations and outside ``if TYPE_CHECKING``."""
    annotations: set[ast.AST] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            annotations.update(ast.walk(node.returns))
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            annotations.update(ast.walk(node.annotation))
    return [
        node.lineno
        for node, place in placed(module.tree, "module")
        if isinstance(node, ast.Name)
        and node.id == name
        and isinstance(node.ctx, ast.Load)
        and place != "typing"
        and node not in annotations
    ]


def cycles(modules: Mapping[str, Module], found: Mapping[str, list[Import]]) -> Iterator[Violation]:
    edges: dict[str, list[str]] = {name: [] for name in modules}
    statements = []
    for name, items in found.items():
        for item in items:
            # The functions of __init__.py serve the lazy attribute table, which no module of ours reads.
            lazy_table = name == PACKAGE and item.place == "function"
            target = item.target
            if target is None or target not in modules or target == name:
                continue
            if item.place == "typing" or lazy_table:
                continue
            edges[name].append(target)
            statements.append((name, target, item))
    for name, target, item in statements:
        detour = path_between(target, name, edges)
        if detour is not None:
            what = "an import put off into a function hides a cycle" if item.place == "function" else "cycle"
            message = f"{what}: {' -> '.join([name, *detour])}"
            yield Violation(modules[name].path.as_posix(), item.line, "cycle", message)


def path_between(start: str, goal: str, edges: Mapping[str, list[str]]) -> list[str] | None:
    """A shortest path from ``start`` to ``goal`` along ``edges``, ends included."""
    came_from: dict[str, str | None] = {start: None}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        if here == goal:
            path = [here]
            step = came_from[here]
            while step is not None:
                path.append(step)
                step = came_from[step]
            return path[::-1]
        for there in edges[here]:
            if there not in came_from:
                came_from[there] = here
                queue.append(there)
    return None


def main(arguments: list[str]) -> int:
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    if not (root / PACKAGE).is_dir():
        print(f"{root} holds no folder {PACKAGE}/", file=sys.stderr)
        return 2
    violations = check(root)
    for violation in violations:
        print(violation)
    print(f"{len(violations)} violation(s) of the import direction", file=sys.stderr)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
