"""Arrays in, arrays out: where speed lives. Nothing here knows a Tensor."""
from . import conv, pool, compiled  # each registers its functions in the table, the last one is asked first
