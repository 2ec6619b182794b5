"""Models that papers and tutorials begin with, their parameters named as in torchvision where it has them.

None comes with weights: `model.load_state_dict(nn.load(path))` takes torchvision's, from a safetensors file.
"""
from collections.abc import Sequence
from typing import Any

import numpy as np

import tinygrad_conv as tg

from . import init
from .layers.containers import ModuleList, Sequential
from .layers.conv import Conv2d, ConvTranspose2d
from .layers.function import Dropout, Flatten, ReLU, ReLU6, Tanh, default_rng
from .layers.linear import Linear
from .layers.module import Module
from .layers.norm import BatchNorm2d
from .layers.pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

Rng = np.random.Generator | None


def _start(model: Module, rng: np.random.Generator) -> None:
    """He's initial values for convolutions, by the number of their outputs."""
    for m in model.modules():
        if isinstance(m, Conv2d):
            init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu", rng=rng)
            if m.bias is not None:
                init.zeros_(m.bias)


class LeNet5(Module):
    """LeCun's net for 28 x 28 digits: two convolutions with tanh and mean pooling, three linear layers.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images.
        rng: of the initial values; by default a fresh generator.

    Example:
        >>> import nn
        >>> nn.models.LeNet5()(tg.zeros(2, 1, 28, 28)).shape
        (2, 10)

    Source: LeCun et al. 1998, with a linear layer at the end.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, *, rng: Rng = None) -> None:
        super().__init__()
        rng = default_rng(rng, "LeNet5")
        self.features = Sequential(
            Conv2d(in_channels, 6, 5, padding=2, rng=rng), Tanh(), AvgPool2d(2),
            Conv2d(6, 16, 5, rng=rng), Tanh(), AvgPool2d(2))
        self.classifier = Sequential(
            Flatten(), Linear(400, 120, rng=rng), Tanh(), Linear(120, 84, rng=rng), Tanh(),
            Linear(84, num_classes, rng=rng))

    def forward(self, x: Any) -> tg.Tensor:
        return self.classifier(self.features(x))


# ----- residual nets -----


class BasicBlock(Module):
    """Two 3 x 3 convolutions with batch norm, added to the input, or to `downsample` of it."""

    def __init__(self, inputs: int, outputs: int, stride: int, downsample: Module | None,
                 rng: np.random.Generator) -> None:
        super().__init__()
        self.conv1 = Conv2d(inputs, outputs, 3, stride, padding=1, bias=False, rng=rng)
        self.bn1 = BatchNorm2d(outputs)
        self.relu = ReLU()
        self.conv2 = Conv2d(outputs, outputs, 3, padding=1, bias=False, rng=rng)
        self.bn2 = BatchNorm2d(outputs)
        self.downsample = downsample

    def forward(self, x: Any) -> tg.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class _Widen(Module):
    """Every other pixel, and channels of zeros: a shortcut without parameters."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, x: Any) -> tg.Tensor:
        before = self.more // 2
        return tg.pad(x[:, :, ::2, ::2], ((0, 0), (before, self.more - before), (0, 0), (0, 0)))


def _stage(inputs: int, outputs: int, blocks: int, stride: int, projects: bool,
           rng: np.random.Generator) -> Sequential:
    shortcut: Module | None = None
    if (inputs, stride) != (outputs, 1):
        shortcut = Sequential(Conv2d(inputs, outputs, 1, stride, bias=False, rng=rng),
                              BatchNorm2d(outputs)) if projects else _Widen(outputs - inputs)
    first = BasicBlock(inputs, outputs, stride, shortcut, rng)
    return Sequential(first, *[BasicBlock(outputs, outputs, 1, None, rng) for _ in range(blocks - 1)])


class ResNet(Module):
    """He's residual net of basic blocks, for images of about 224 x 224; see `resnet18` and `resnet34`.

    Args:
        blocks: how many in each of the four stages.
        num_classes: outputs.
        in_channels: 3 for coloured images.
        rng: of the initial values; by default a fresh generator.

    Source: He et al. 2016; names and shapes as in torchvision.
    """

    def __init__(self, blocks: Sequence[int], num_classes: int = 1000, in_channels: int = 3, *,
                 rng: Rng = None) -> None:
        super().__init__()
        rng = default_rng(rng, "ResNet")
        self.conv1 = Conv2d(in_channels, 64, 7, 2, padding=3, bias=False, rng=rng)
        self.bn1 = BatchNorm2d(64)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(3, 2, padding=1)
        self.layer1 = _stage(64, 64, blocks[0], 1, True, rng)
        self.layer2 = _stage(64, 128, blocks[1], 2, True, rng)
        self.layer3 = _stage(128, 256, blocks[2], 2, True, rng)
        self.layer4 = _stage(256, 512, blocks[3], 2, True, rng)
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.fc = Linear(512, num_classes, rng=rng)
        _start(self, rng)

    def forward(self, x: Any) -> tg.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(tg.flatten(self.avgpool(x), 1))


def resnet18(num_classes: int = 1000, in_channels: int = 3, *, rng: Rng = None) -> ResNet:
    """The residual net of 18 layers, 11.7 million parameters.

    Example:
        >>> import nn
        >>> sum(p.size for p in nn.models.resnet18().parameters())
        11689512
    """
    return ResNet((2, 2, 2, 2), num_classes, in_channels, rng=rng)


def resnet34(num_classes: int = 1000, in_channels: int = 3, *, rng: Rng = None) -> ResNet:
    """The residual net of 34 layers, 21.8 million parameters.

    Example:
        >>> import nn
        >>> sum(p.size for p in nn.models.resnet34().parameters())
        21797672
    """
    return ResNet((3, 4, 6, 3), num_classes, in_channels, rng=rng)


class CifarResNet(Module):
    """He's residual net for images of 32 x 32: three stages of `blocks` blocks, shortcuts without parameters.

    Args:
        blocks: in each stage; the net has 6 blocks + 2 layers.
        num_classes: outputs.
        in_channels: 3 for coloured images.
        rng: of the initial values; by default a fresh generator.

    Source: He et al. 2016, section 4.2, option A.
    """

    def __init__(self, blocks: int, num_classes: int = 10, in_channels: int = 3, *, rng: Rng = None) -> None:
        super().__init__()
        rng = default_rng(rng, "CifarResNet")
        blocks = tg.arguments.whole(blocks, "CifarResNet", "blocks", 1)
        self.conv1 = Conv2d(in_channels, 16, 3, padding=1, bias=False, rng=rng)
        self.bn1 = BatchNorm2d(16)
        self.relu = ReLU()
        self.layer1 = _stage(16, 16, blocks, 1, False, rng)
        self.layer2 = _stage(16, 32, blocks, 2, False, rng)
        self.layer3 = _stage(32, 64, blocks, 2, False, rng)
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.fc = Linear(64, num_classes, rng=rng)
        _start(self, rng)

    def forward(self, x: Any) -> tg.Tensor:
        x = self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x))))))
        return self.fc(tg.flatten(self.avgpool(x), 1))


def resnet20(num_classes: int = 10, in_channels: int = 3, *, rng: Rng = None) -> CifarResNet:
    """The residual net of 20 layers for 32 x 32 images, 0.27 million parameters.

    Example:
        >>> import nn
        >>> sum(p.size for p in nn.models.resnet20().parameters())
        269722
    """
    return CifarResNet(3, num_classes, in_channels, rng=rng)


def resnet32(num_classes: int = 10, in_channels: int = 3, *, rng: Rng = None) -> CifarResNet:
    """The residual net of 32 layers for 32 x 32 images, 0.46 million parameters.

    Example:
        >>> import nn
        >>> sum(p.size for p in nn.models.resnet32().parameters())
        464154
    """
    return CifarResNet(5, num_classes, in_channels, rng=rng)


# ----- MobileNetV2 -----


def _normed(inputs: int, outputs: int, kernel: int, stride: int, groups: int,
            rng: np.random.Generator) -> list[Module]:
    """A convolution that keeps the size (but for its stride), batch norm, ReLU6."""
    return [Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False, rng=rng),
            BatchNorm2d(outputs), ReLU6()]


class InvertedResidual(Module):
    """A 1 x 1 convolution to `expand` times the channels, a depthwise one, a 1 x 1 back; added if it fits."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int, rng: np.random.Generator) -> None:
        super().__init__()
        wide = inputs * expand
        parts: list[Module] = [] if expand == 1 else [Sequential(*_normed(inputs, wide, 1, 1, 1, rng))]
        parts += [Sequential(*_normed(wide, wide, 3, stride, wide, rng)),
                  Conv2d(wide, outputs, 1, bias=False, rng=rng), BatchNorm2d(outputs)]
        self.conv = Sequential(*parts)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Any) -> tg.Tensor:
        y = self.conv(x)
        return x + y if self.adds else y


def _eighths(channels: float) -> int:
    """The nearest multiple of 8, not below 8 nor under 9/10 of it."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


class MobileNetV2(Module):
    """Inverted residuals of depthwise convolutions, 3.5 million parameters at width 1.

    Args:
        num_classes: outputs.
        width_mult: factor for all channels.
        in_channels: 3 for coloured images.
        dropout: before the last layer.
        rng: of the initial values and the dropout; by default a fresh generator.

    Example:
        >>> import nn
        >>> nn.models.MobileNetV2(10, 0.25)(tg.zeros(2, 3, 32, 32)).shape
        (2, 10)

    Source: Sandler et al. 2018; names and shapes as in torchvision.
    """

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0, in_channels: int = 3,
                 dropout: float = 0.2, *, rng: Rng = None) -> None:
        super().__init__()
        rng = default_rng(rng, "MobileNetV2")
        inputs, last = _eighths(32 * width_mult), _eighths(1280 * max(1.0, width_mult))
        features: list[Module] = [Sequential(*_normed(in_channels, inputs, 3, 2, 1, rng))]
        for expand, channels, count, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                                (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
            outputs = _eighths(channels * width_mult)
            for i in range(count):
                features.append(InvertedResidual(inputs, outputs, 1 if i else stride, expand, rng))
                inputs = outputs
        features.append(Sequential(*_normed(inputs, last, 1, 1, 1, rng)))
        self.features = Sequential(*features)
        self.classifier = Sequential(Dropout(dropout, rng=rng), Linear(last, num_classes, rng=rng))
        _start(self, rng)
        init.normal_(self.classifier[1].weight, 0.0, 0.01, rng=rng)
        init.zeros_(self.classifier[1].bias)

    def forward(self, x: Any) -> tg.Tensor:
        return self.classifier(tg.flatten(tg.global_avg_pool2d(self.features(x)), 1))


# ----- images to images -----


def _twice(inputs: int, outputs: int, rng: np.random.Generator) -> Sequential:
    """Two 3 x 3 convolutions, each with batch norm and ReLU."""
    layers: list[Module] = []
    for channels in (inputs, outputs):
        layers += [Conv2d(channels, outputs, 3, padding=1, bias=False, rng=rng), BatchNorm2d(outputs), ReLU()]
    return Sequential(*layers)


class UNet(Module):
    """A class for each pixel: down by halves, up again, each level beside what went down there.

    Args:
        in_channels, num_classes: channels of the image and of the result.
        width: channels of the first level; each level below has twice as many.
        levels: how often the image is halved; its sides must be multiples of 2**levels.
        rng: of the initial values; by default a fresh generator.

    Raises:
        ValueError: at the call, if a side is no multiple of 2**levels.

    Example:
        >>> import nn
        >>> nn.models.UNet(1, 2, width=4, levels=2)(tg.zeros(1, 1, 16, 12)).shape
        (1, 2, 16, 12)

    Source: Ronneberger et al. 2015, with padding, so that nothing is cropped, and batch norm.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 2, width: int = 64, levels: int = 4, *,
                 rng: Rng = None) -> None:
        super().__init__()
        rng = default_rng(rng, "UNet")
        widths = [width * 2**i for i in range(tg.arguments.whole(levels, "UNet", "levels", 1) + 1)]
        self.down = ModuleList([_twice(c, o, rng) for c, o in zip([in_channels, *widths], widths)])
        self.pool = MaxPool2d(2)
        self.up = ModuleList([ConvTranspose2d(c, o, 2, 2, rng=rng)
                              for c, o in zip(widths[:0:-1], widths[-2::-1])])
        self.merge = ModuleList([_twice(2 * o, o, rng) for o in widths[-2::-1]])
        self.out = Conv2d(width, num_classes, 1, rng=rng)

    def forward(self, x: Any) -> tg.Tensor:
        factor = 2 ** len(self.up)
        if x.shape[-1] % factor or x.shape[-2] % factor:
            raise ValueError(f"UNet: height and width must be multiples of {factor}, for its {len(self.up)} "
                             f"levels, got x of shape {x.shape}; pad it, or give levels=")
        beside = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            beside.append(x)
        beside.pop()
        for up, merge in zip(self.up, self.merge):
            x = merge(tg.concatenate([beside.pop(), up(x)], axis=1))
        return self.out(x)


class VAE(Module):
    """A variational autoencoder of images whose sides are multiples of 4, pixels from 0 to 1.

    In training it draws from the code's distribution; in evaluation it takes the mean.

    Args:
        image: (C, H, W) of one image.
        latent: numbers in a code.
        width: channels of the first convolution.
        rng: of the initial values and of the codes; by default a fresh generator.

    Example:
        >>> import nn
        >>> vae = nn.models.VAE((1, 28, 28), latent=2)
        >>> logits, mean, log_variance = vae(tg.zeros(3, 1, 28, 28))
        >>> logits.shape, mean.shape, vae.decode(tg.zeros(5, 2)).shape
        ((3, 1, 28, 28), (3, 2), (5, 1, 28, 28))

    Source: Kingma & Welling 2014.
    """

    def __init__(self, image: Sequence[int] = (1, 28, 28), latent: int = 16, width: int = 32, *,
                 rng: Rng = None) -> None:
        super().__init__()
        self.rng = rng = default_rng(rng, "VAE")
        channels, *sides = image
        if len(sides) != 2 or any(n % 4 for n in sides):
            raise ValueError(f"VAE: image must be (C, H, W), H and W multiples of 4, got {tuple(image)}")
        self.small = (2 * width, sides[0] // 4, sides[1] // 4)
        inner = int(np.prod(self.small))
        self.encoder = Sequential(
            Conv2d(channels, width, 4, 2, padding=1, rng=rng), ReLU(),
            Conv2d(width, 2 * width, 4, 2, padding=1, rng=rng), ReLU(), Flatten())
        self.mean = Linear(inner, latent, rng=rng)
        self.log_variance = Linear(inner, latent, rng=rng)
        self.expand = Linear(latent, inner, rng=rng)
        self.decoder = Sequential(
            ReLU(), ConvTranspose2d(2 * width, width, 4, 2, padding=1, rng=rng), ReLU(),
            ConvTranspose2d(width, channels, 4, 2, padding=1, rng=rng))

    def encode(self, x: Any) -> tuple[tg.Tensor, tg.Tensor]:
        """Mean and logarithm of the variance of the codes of x (N, C, H, W)."""
        inner = self.encoder(x)
        return self.mean(inner), self.log_variance(inner)

    def decode(self, code: Any) -> tg.Tensor:
        """Logits of the pixels of codes (N, latent); `tg.sigmoid` makes them pixels."""
        inner = self.expand(code)
        return self.decoder(tg.reshape(inner, (-1, *self.small)))

    def forward(self, x: Any) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
        mean, log_variance = self.encode(x)
        code = mean
        if self.training:
            noise = tg.randn(*mean.shape, rng=self.rng, dtype=mean.dtype)
            code = mean + tg.exp(log_variance * 0.5) * noise
        return self.decode(code), mean, log_variance

    def loss(self, x: Any) -> tg.Tensor:
        """The negative evidence lower bound of images x, a mean over the batch."""
        logits, mean, log_variance = self(x)
        likelihood = tg.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        divergence = 0.5 * (mean * mean + tg.exp(log_variance) - log_variance - 1.0).sum()
        return (likelihood + divergence) / len(logits)
