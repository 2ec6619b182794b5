"""Arrays in, arrays out: where speed lives. Nothing here knows a Tensor."""
