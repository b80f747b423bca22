"""Stand-ins for objects whose methods are NumPy code: the same attributes, the methods rebuilt."""

from __future__ import annotations

import abc
import types
from typing import TYPE_CHECKING, Any

import numpy as np

from functrans.core.trace import Tracer
from functrans.numpy.code.buffer import Buffer, lift_foreign

if TYPE_CHECKING:
    from functrans.numpy.code.rebind import Rebinder, Session

_SESSION = "_numpy_code_session"
_LEFT_ALONE = frozenset(
    f"__{name}__"
    for name in (
        "init new del init_subclass class_getitem getattribute getattr setattr delattr dir reduce reduce_ex getstate "
        "setstate copy deepcopy hash eq ne repr str format sizeof subclasshook post_init set_name get set delete"
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
    if isinstance(obj, type) or type(cls) not in (type, abc.ABCMeta) or not hasattr(obj, "__dict__"):
        return obj
    if isinstance(getattr(cls.__init_subclass__, "__func__", None), types.FunctionType):
        return obj
    derived = rebinder.classes.get(cls)
    if derived is None:
        derived = rebinder.classes[cls] = _derive(cls, rebinder)
    try:
        twin: Any = object.__new__(derived)
    except TypeError:
        return obj
    object.__setattr__(twin, "__dict__", obj.__dict__)
    object.__setattr__(twin, _SESSION, session)
    return twin


def _static(cls: type, name: str) -> Any:
    """What a class has under a name, as it stands there."""
    for base in cls.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return None


def _derive(cls: type, rebinder: Rebinder) -> type:
    """A subclass whose instances hand out rebuilt methods, and arrays that take no traced values."""

    def session_of(self: Any) -> Any:
        try:
            return object.__getattribute__(self, _SESSION)
        except AttributeError:
            # One that the user's own code made: type(self)(...).
            return None

    def __getattribute__(self: Any, name: str) -> Any:
        session = None if name.startswith("__") and name.endswith("__") else session_of(self)
        member = _static(cls, name)
        if session is not None and isinstance(member, property) and isinstance(member.fget, types.FunctionType):
            return rebinder.function(member.fget, session)(self)
        value = cls.__getattribute__(self, name)  # type: ignore[call-arg]
        if session is None:
            return value
        kind = type(value)
        if kind is types.MethodType and value.__self__ is self and isinstance(value.__func__, types.FunctionType):
            return types.MethodType(rebinder.function(value.__func__, session), self)
        if kind is np.ndarray or kind is Tracer:
            return lift_foreign(value, f"the attribute {name!r}")
        return value if member is None else rebinder.translate(name, value, session)

    def special(name: str, function: types.FunctionType) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            session = session_of(self)
            return (function if session is None else rebinder.function(function, session))(self, *args, **kwargs)

        method.__name__ = name
        return method

    namespace: dict[str, Any] = {
        "__slots__": (_SESSION,),
        "__getattribute__": __getattribute__,
        "__module__": cls.__module__,
        "__doc__": cls.__doc__,
    }
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if name.startswith("__") and name.endswith("__") and name not in _LEFT_ALONE:
                if isinstance(value, types.FunctionType) and rebinder.is_own(value):
                    namespace[name] = special(name, value)
    return type(cls)(cls.__name__, (cls,), namespace)


def settle(obj: Any) -> None:
    """Leave plain arrays where a method stored buffers in attributes."""
    for name, value in list(obj.__dict__.items()):
        if type(value) is Buffer:
            obj.__dict__[name] = value.surrender()
