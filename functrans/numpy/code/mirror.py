"""Stand-ins for objects whose methods are NumPy code: the same attributes, the methods rebuilt."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import numpy as np

from functrans.core.trace import Tracer
from functrans.numpy.code.buffer import Buffer, lift_foreign

if TYPE_CHECKING:
    from functrans.numpy.code.rebind import Rebinder, Session

_LEFT_ALONE = frozenset(
    f"__{name}__"
    for name in (
        "init new del init_subclass class_getitem getattribute getattr setattr delattr dir reduce reduce_ex getstate setstate "
        "copy deepcopy hash eq ne repr str format sizeof subclasshook post_init set_name get set delete"
    ).split()
)


def mirror(obj: Any, rebinder: Rebinder, session: Session) -> Any:
    """An object that shares the attributes of ``obj`` and has its methods rebuilt; ``obj`` where that cannot be.

    It cannot be for classes, for objects without a ``__dict__``, and where deriving a class has effects of its own.
    """
    known = session.twins.get(id(obj))
    if known is not None:
        return known[1]
    twin = _twin(obj, rebinder, session)
    session.twins[id(obj)] = obj, twin
    return twin


def _twin(obj: Any, rebinder: Rebinder, session: Session) -> Any:
    cls = type(obj)
    if isinstance(obj, type) or type(cls) is not type or "__dict__" not in dir(obj):
        return obj
    if cls.__init_subclass__.__func__ is not object.__init_subclass__.__func__ if _is_python(cls) else False:
        return obj
    derived = rebinder.classes.get(cls)
    if derived is None:
        derived = rebinder.classes[cls] = _derive(cls, rebinder)
    try:
        twin = object.__new__(derived)
    except TypeError:
        return obj
    object.__setattr__(twin, "__dict__", obj.__dict__)
    object.__setattr__(twin, "_numpy_code_session", session)
    return twin


def _is_python(cls: type) -> bool:
    return isinstance(getattr(cls.__init_subclass__, "__func__", None), types.FunctionType)


def _static(cls: type, name: str) -> Any:
    """What a class has under a name, as it stands there."""
    for base in cls.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return None


def _derive(cls: type, rebinder: Rebinder) -> type:
    """A subclass whose instances hand out rebuilt methods, and arrays that take no traced values."""

    def __getattribute__(self: Any, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            return super(twin_class, self).__getattribute__(name)
        session = object.__getattribute__(self, "_numpy_code_session")
        member = _static(cls, name)
        if isinstance(member, property) and isinstance(member.fget, types.FunctionType):
            return rebinder.function(member.fget, session)(self)
        value = super(twin_class, self).__getattribute__(name)
        kind = type(value)
        if kind is types.MethodType and value.__self__ is self and isinstance(value.__func__, types.FunctionType):
            return types.MethodType(rebinder.function(value.__func__, session), self)
        if kind is np.ndarray or kind is Tracer:
            return lift_foreign(value, f"the attribute {name!r}")
        return rebinder.translate(name, value, session) if member is not None else value

    def special(name: str, function: types.FunctionType) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            session = object.__getattribute__(self, "_numpy_code_session")
            return rebinder.function(function, session)(self, *args, **kwargs)

        method.__name__ = name
        return method

    namespace: dict[str, Any] = {"__slots__": ("_numpy_code_session",), "__getattribute__": __getattribute__}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if name.startswith("__") and name.endswith("__") and name not in _LEFT_ALONE:
                if isinstance(value, types.FunctionType) and rebinder.is_own(value):
                    namespace[name] = special(name, value)
    namespace["__module__"] = cls.__module__
    twin_class = type(cls.__name__, (cls,), namespace)
    return twin_class


def settle(obj: Any) -> None:
    """Leave plain arrays where a method stored buffers in attributes."""
    attributes = obj.__dict__ if hasattr(obj, "__dict__") else {}
    for name, value in list(attributes.items()):
        if type(value) is Buffer:
            attributes[name] = value.surrender()
