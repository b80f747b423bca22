"""The tables that ``caller`` runs by, and a thin writer of the functions that read them."""

from __future__ import annotations


class Op:
    """The steps of a check, each six words: ``code, source, a, b, target, d``; places are offsets in the frame."""

    END, ARRAY, SCALAR, INT, TUPLE, LIST, DICT, IS, EQUAL = range(9)
    BITS, HOOK, CELL, ITEM, DEFAULTS, KWDEFAULTS, NAMESPACE, CONST = range(9, 17)
    BYTES = 48


class Build:
    """The steps that put the results together, each three words: ``code, n, object``."""

    LEAF, CONST, TUPLE, LIST, DICT, HOOK = range(6)
    BYTES = 24


class Result:
    """The kinds of results, each eight words: ``kind, dtype, ndim, dims, bytes, handler``."""

    ARRAY, KEPT, SCALAR, FLOAT, INT, BOOL, COMPLEX = range(7)
    BYTES = 64


ENTRY = (
    "nargs", "names", "total", "ops", "n_in", "n_out", "specs", "function", "flags", "frame", "operands", "numbers",
    "results", "stack", "held", "arena", "take", "give", "free", "n_build", "build", "calls",
)  # fmt: skip
"""The words of a table."""
CHAIN = ("owner", "slow", "present", "generation", "count", "first")
"""The words of a chain, the last of which are the addresses of its tables."""
APART = 1 << 32
"""Added to the number of axes of an array that Python is asked about where it is not C-contiguous."""
NO_LOCK, OWNS = 1, 2
"""Flags: the program runs without the interpreter's lock; what lies in containers that may change is held."""
ON_STACK = 1 << 14
"""Bytes of a frame that is taken from the stack at most."""


class Text:
    """The body of a function."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def let(self, text: str) -> str:
        self.count += 1
        self.do(f"%v{self.count} = {text}")
        return f"%v{self.count}"

    def block(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def at(self, pointer: str, offset: int | str) -> str:
        return pointer if offset == 0 else self.let(f"getelementptr i8, ptr {pointer}, i64 {offset}")

    def get(self, ty: str, pointer: str, offset: int | str = 0) -> str:
        return self.let(f"load {ty}, ptr {self.at(pointer, offset)}")

    def put(self, ty: str, value: str, pointer: str, offset: int | str = 0) -> None:
        self.do(f"store {ty} {value}, ptr {self.at(pointer, offset)}")

    def field(self, name: str, ty: str = "i64") -> str:
        """A word of the table."""
        return self.get(ty, "%table", 8 * ENTRY.index(name))

    def require(self, condition: str, otherwise: str = "miss") -> None:
        """Go on where something holds, as it mostly does."""
        self.count += 1
        self.do(f"br i1 {condition}, label %on{self.count}, label %{otherwise}, !prof !0")
        self.block(f"on{self.count}")

    def same(self, a: str, b: str, ty: str = "ptr", otherwise: str = "miss") -> None:
        self.require(self.let(f"icmp eq {ty} {a}, {b}"), otherwise)

    def loop(self, stem: str, before: str, n: str) -> tuple[str, str]:
        """Begin a loop over ``0..n``: its index, and the name of the block that ``turn`` ends it with."""
        self.do(f"br label %{stem}_head")
        self.block(f"{stem}_head")
        i = f"%{stem}_i"
        self.do(f"{i} = phi i64 [ 0, %{before} ], [ %{stem}_next, %{stem}_turn ]")
        more = self.let(f"icmp slt i64 {i}, {n}")
        self.do(f"br i1 {more}, label %{stem}_body, label %{stem}_done")
        self.block(f"{stem}_body")
        return i, stem

    def turn(self, stem: str) -> None:
        self.do(f"br label %{stem}_turn")
        self.block(f"{stem}_turn")
        self.do(f"%{stem}_next = add i64 %{stem}_i, 1")
        self.do(f"br label %{stem}_head")
        self.block(f"{stem}_done")


def pointer(value: str) -> str:
    return f"getelementptr i8, ptr {value}, i64 0"
