"""Kernels as CUDA C++: static shapes, 32-bit indices wherever they do, 16-byte accesses where they lie well.

A kernel without rows computes a few neighbouring points a thread, or, where it reads one way and writes another, tiles
of 32 by 32 through shared memory. For rows see ``rows``. All of this depends on the shape alone, so that the same bits
come out on every device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from functrans.backends.cupy.operations import stored
from functrans.backends.cupy.rows import THREADS, Rows
from functrans.backends.cupy.values import Launch
from functrans.core.jaxpr import Var
from functrans.kernel.index import Axis
from functrans.kernel.ir import Kernel, Load
from functrans.kernel.places import coefficient

TILE = 32


class KernelText(Rows):
    """The functions of a kernel.

    Args:
        shared: buffers that are read and written, or that lie in the memory of another one.

    Attributes:
        buffers: the parameters, after which comes work memory where there is any.
        launches: the functions in the order in which they run.
        text: the functions.
    """

    def __init__(self, kernel: Kernel, shared: frozenset[Var] = frozenset()) -> None:
        super().__init__(kernel, shared)
        if self.places.row:
            functions = self._rows()
        else:
            functions = [self._tiles(*across) if (across := self._crossing()) else self._points()]
        self.text = "\n".join(functions)

    def _points(self) -> str:
        """A few neighbours a thread."""
        self._begin()
        running = [s for grid, _ in self.levels for s in grid]
        grid = self.places.grid
        inner = grid[-1] if grid else None
        count = self._pack(inner, running)
        units = math.prod([a.extent for a in grid]) // count
        linear = self._let(self.whole, f"({self.whole})blockIdx.x * {THREADS} + threadIdx.x")
        self._line(f"if ({linear} >= {units}) return;")
        if count > 1:
            assert inner is not None
            packs = Axis(inner.name, inner.extent // count)
            self._unpack(linear, [*grid[:-1], packs])
            start = self.axis_names[packs]
            start = self._let(self.whole, f"{start} * {count}") if start != "0" else start
            self._neighbours(running, inner, count, start)
        else:
            self._unpack(linear, grid)
            self._run(running)
        launch = Launch(self.kernel.name, (-(-units // THREADS), 1, 1), (THREADS, 1, 1), True)
        return self._function(self.kernel.name, launch)

    # -- tiles ----------------------------------------------------------------------------------------------------

    def _crossing(self) -> tuple[Axis, Axis, list[Load]] | None:
        """The axis that is written along, one that is read along, and the loads that do."""
        stages = [s for grid, _ in self.levels for s in grid]
        along: set[Axis] = set()
        for stage in stages:
            for store in stage.stores:
                flat = self.places.flat(store.access)
                along.update([a for a in self.places.grid if coefficient(flat, a) == (1, True)])
        if len(along) != 1:
            return None
        (out,) = along
        found: dict[Axis, list[Load]] = {}
        for e in self.places.exprs:
            if isinstance(e, Load) and not e.access.guard:
                flat = self.places.flat(e.access)
                c, plain = coefficient(flat, out)
                if plain and c > 1 and not any(hasattr(a, "expr") for a, _ in flat.terms):
                    for a in self.places.grid:
                        if coefficient(flat, a) == (1, True):
                            found.setdefault(a, []).append(e)
        if not found:
            return None
        across = max(found, key=lambda a: len(found[a]))
        if min(out.extent, across.extent) < TILE // 2:
            return None
        return out, across, found[across]

    def _tiles(self, out: Axis, across: Axis, loads: Sequence[Load]) -> str:
        """Tiles that are read along one axis and written along another."""
        self._begin()
        others = [a for a in self.places.grid if a not in (out, across)]
        wide, high = -(-out.extent // TILE), -(-across.extent // TILE)
        tile = self._let(self.whole, self._remaining("blockIdx.x", wide))
        rest = self._let(self.whole, self._quotient("blockIdx.x", wide))
        down = self._let(self.whole, self._remaining(rest, high))
        self._unpack(self._let(self.whole, self._quotient(rest, high)), others)
        for n, e in enumerate(loads):
            self._line(f"__shared__ {stored(e.access.buffer.aval.dtype)} tile{n}[{TILE}][{TILE + 1}];")
        rows = THREADS // TILE
        with self._block(f"for (int r = threadIdx.y; r < {TILE}; r += {rows})"):
            self.axis_names[out] = self._let(self.whole, f"{tile} * {TILE} + r")
            self.axis_names[across] = self._let(self.whole, f"{down} * {TILE} + (int)threadIdx.x")
            with self._block(self._inside(out, across)):
                for n, e in enumerate(loads):
                    place = f"{self.names[e.access.buffer]}[{self._index(self.places.flat(e.access))}]"
                    self._line(f"tile{n}[r][threadIdx.x] = {place};")
        self._line("__syncthreads();")
        self.staged = {id(e): f"tile{n}[threadIdx.x][r]" for n, e in enumerate(loads)}
        with self._block(f"for (int r = threadIdx.y; r < {TILE}; r += {rows})"):
            self.axis_names[out] = self._let(self.whole, f"{tile} * {TILE} + (int)threadIdx.x")
            self.axis_names[across] = self._let(self.whole, f"{down} * {TILE} + r")
            with self._block(self._inside(out, across)):
                self._run([s for grid, _ in self.levels for s in grid])
        blocks = wide * high * math.prod([a.extent for a in others])
        launch = Launch(self.kernel.name, (blocks, 1, 1), (TILE, rows, 1), False)
        return self._function(self.kernel.name, launch)

    def _inside(self, *axes: Axis) -> str:
        return f"if ({' && '.join(f'{self.axis_names[a]} < {a.extent}' for a in axes)})"
