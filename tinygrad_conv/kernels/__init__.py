"""Arrays in, arrays out: where speed lives. Nothing here knows a Tensor."""
from . import conv, pool  # the numpy family: each module registers its functions in the table
