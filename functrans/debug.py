"""Looking into traced functions: values printed, logged, handed to a function, or examined in the debugger."""

from functrans.api.debug import breakpoint as breakpoint
from functrans.api.debug import callback as callback
from functrans.api.debug import log as log
from functrans.api.debug import print as print
