"""Branches that do nothing but raise: ``if not np.isfinite(x).all(): raise ValueError(...)``, and ``assert``.

Such a branch splits no path: a call either goes on or ends in the exception. Whether a branch is of this kind is read
off the bytecode of the function that asks for the truth of a value.
"""

from __future__ import annotations

import dis
import sys
from types import CodeType

from functrans.util.cache import Bounded
from functrans.util.source import is_package

_LIMIT = 200
_known: Bounded[bool | str] = Bounded(512)


def passing() -> bool | None:
    """The truth with which the branch that is being decided does not raise; None if it is no validation."""
    frame = sys._getframe(1)
    while frame.f_back is not None and is_package(frame.f_code.co_filename):
        frame = frame.f_back
    key = (frame.f_code, frame.f_lasti)
    found = _known.get(key)
    if found is None:
        answer = _passing(*key)
        found = _known.put(key, "no" if answer is None else answer)
    return None if found == "no" else bool(found)


def _passing(code: CodeType, at: int) -> bool | None:
    instructions: list[dis.Instruction] = []
    places: dict[int, int] = {}
    for instruction in dis.get_instructions(code):
        places[instruction.offset] = len(instructions)
        if instruction.opname not in ("CACHE", "NOP", "EXTENDED_ARG"):
            instructions.append(instruction)
    k = places.get(at)
    if k is None:
        return None
    truth = True
    # A comparison converts its result itself where a jump follows (Python 3.13).
    while instructions[k].opname in ("COMPARE_OP", "TO_BOOL", "UNARY_NOT"):
        truth ^= instructions[k].opname == "UNARY_NOT"
        k += 1
    jump = instructions[k]
    if not jump.opname.startswith("POP_JUMP") or not jump.opname.endswith(("IF_TRUE", "IF_FALSE")):
        return None
    jumps_on = jump.opname.endswith("IF_TRUE") == truth
    target = places.get(jump.argval)
    if target is not None and _raises(instructions, places, target):
        return not jumps_on
    return jumps_on if _raises(instructions, places, k + 1) else None


def _raises(instructions: list[dis.Instruction], places: dict[int, int], start: int) -> bool:
    """Whether every way from there ends in an exception that is raised there."""
    pending, seen = [start], set[int]()
    while pending:
        k = pending.pop()
        while k not in seen:
            if k >= len(instructions) or len(seen) > _LIMIT:
                return False
            seen.add(k)
            instruction = instructions[k]
            name = instruction.opname
            if name == "RAISE_VARARGS":
                break
            if name in ("RERAISE", "SEND", "FOR_ITER") or "RETURN" in name or "YIELD" in name or "BACKWARD" in name:
                return False
            k += 1
            if "JUMP" in name:
                pending.append(places.get(instruction.argval, len(instructions)))
                if "IF" not in name:
                    break
    return True
