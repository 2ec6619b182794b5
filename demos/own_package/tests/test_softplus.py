"""`pytest --certify` adds the certificate of every op that is registered: an import registers its own."""
import numpy as np
import tg_softplus
import tinygrad_conv as tg


def test_value_and_method():
    x = tg.tensor([0.0, 1.0], requires_grad=True)
    assert np.allclose(tg_softplus.softplus(x).data, np.log(1 + np.exp([0.0, 1.0])))
    x.softplus().sum().backward()
    assert np.allclose(x.grad.data, 1 / (1 + np.exp([0.0, -1.0])))
