"""Networks: backbones are (N, 3, 112, 112) in, (N, D) out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossface.core.errors import ConfigError
from crossface.core.registry import Registry

if TYPE_CHECKING:
    from crossface.nets.layers import Backbone

BACKBONES = Registry(
    "backbone",
    {
        "iresnet100": "crossface.nets.iresnet:iresnet100",
        "iresnet18": "crossface.nets.iresnet:iresnet18",
        "iresnet34": "crossface.nets.iresnet:iresnet34",
        "iresnet50": "crossface.nets.iresnet:iresnet50",
        "mbf": "crossface.nets.mbf:MobileFaceNetWide",
        "mobilefacenet": "crossface.nets.mobilefacenet:MobileFaceNet",
        "resnet_lite": "crossface.nets.resnet_lite:ResNetLite",
        "swin_micro": "crossface.nets.swin:swin_micro",
        "swin_nano": "crossface.nets.swin:swin_nano",
        "swin_s": "crossface.nets.swin:swin_s",
        "swin_t": "crossface.nets.swin:swin_t",
        "vit_s": "crossface.nets.vit:vit_s",
        "vit_t": "crossface.nets.vit:vit_t",
    },
    group="crossface.backbones",
)


def list_models(pattern: str = "*") -> list[str]:
    """Names of the networks ``create_model`` knows, by shell pattern."""
    return BACKBONES.names(pattern)


def create_model(name: str, **options: Any) -> Backbone:  # noqa: ANN401  # each net has its own
    """A freshly initialised network.

    Args:
        name: one of ``list_models()``.
        options: the network's own keyword arguments, ``width=0.5`` say. They are kept on the
            network (``arch``), so that a checkpoint can rebuild it.

    Raises:
        UnknownName: with near matches.
        ConfigError: if the network takes no such option or refuses its value.
    """
    factory = BACKBONES.resolve(name)
    try:
        net: Backbone = factory(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} cannot be made with {options}: {error}") from None
    net.arch = {"name": name, "options": dict(options)}
    return net
