"""Arrays in, arrays out: where speed lives. Nothing here knows a Tensor."""
from . import conv, overwrite, pointwise, pool, product, softmax, total
from . import compiled  # each registers its functions in the table; the last one is asked first
