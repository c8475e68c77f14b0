"""Networks of segmentation-models-pytorch by name, `smp:<architecture>/<encoder>`, for one date and for two."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import segmentation_models_pytorch as smp
import timm
import torch.nn.functional as F
from segmentation_models_pytorch.base import SegmentationModel
from torch import Tensor, nn

from specdm.errors import UserError
from specdm.nn.downstream.common import DownstreamNetwork, Recipe, load_encoder

ARCHITECTURES = tuple(smp.MODEL_ARCHITECTURES_MAPPING)
FUSIONS = ("diff", "conc", "early")

# Short names of two plain baselines, see SmpSegmentation and SmpChange
BASELINES = {"unet": "smp:unet/resnet34", "fc-siam-diff": "smp:unet/resnet34/diff"}

# ASSUME: smp gives no recipe; AdamW as for ChangeFormer, with a short warm-up since nothing is pretrained
RECIPE = Recipe("adamw", 1e-4, 0.01, schedule="linear", warmup_fraction=0.01)

# What smp calls the things that are ours to give, and outputs that are not logits (N, K, H, W)
RESERVED = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")


def parse(name: str) -> tuple[Callable[..., DownstreamNetwork], Literal["segmentation", "change"]]:
    """What builds the network `name` from (bands, classes, **options), and its task.

    name: "smp:<architecture>/<encoder>" for segmentation, "smp:<architecture>/<encoder>/<fusion>" for change.
    UserError for a name that is neither, and for an unknown architecture, encoder or fusion.
    """
    prefix, _, path = name.partition(":")
    parts = path.split("/")
    if prefix != "smp" or len(parts) not in (2, 3):
        raise UserError(
            f"network {name!r}: not a name of segmentation-models-pytorch; write smp:<architecture>/<encoder> for one "
            "date or smp:<architecture>/<encoder>/<fusion> for two."
        )
    architecture, encoder = parts[:2]
    _check_names(architecture, encoder)
    if len(parts) == 2:
        return partial(SmpSegmentation, architecture=architecture, encoder=encoder), "segmentation"
    _check_fusion(architecture, parts[2])
    return partial(SmpChange, architecture=architecture, encoder=encoder, fusion=parts[2]), "change"


class _SmpNetwork(DownstreamNetwork):
    """The encoder, decoder and head of one model of smp, under the names that every network here has."""

    head_modules = ("decoder", "head")

    def _adopt(
        self, name: str, model: SegmentationModel, channels: int, encoder_state: Mapping[str, Tensor] | None
    ) -> None:
        self.name = name
        self.encoder, self.decoder, self.head = model.encoder, model.decoder, model.segmentation_head
        stride = model.encoder.output_stride
        self.side_multiple = stride if model.requires_divisible_input_shape else 1
        self.least_side = 8 * stride if isinstance(model, smp.PAN) else 1  # PAN halves the coarsest map three times
        if encoder_state is not None:
            load_encoder(self.encoder, encoder_state, _stem(self.encoder, channels))

    def _encode(self, x: Tensor) -> Any:
        height, width = x.shape[-2:]
        if height % self.side_multiple or width % self.side_multiple or min(height, width) < self.least_side:
            least = f" of at least {self.least_side}" if self.least_side > 1 else ""
            raise UserError(
                f"{self.name}: images of {height} x {width} pixels do not fit; "
                f"cut patches whose sides are multiples of {self.side_multiple}{least}."
            )
        try:
            return self.encoder(x)
        except AssertionError as error:  # timm's transformers for one image size
            raise UserError(
                f"{self.name}: {error}".rstrip(".") + "; cut patches of that size or give the encoder's option "
                "img_size or dynamic_img_size."
            ) from error

    def _decode(self, features: Any, size: tuple[int, int]) -> Tensor:
        # Features are a list of maps; only DPT's encoder gives a second one, of tokens.
        decoded = self.decoder(*features) if isinstance(features, tuple) else self.decoder(features)
        logits = self.head(decoded)
        if logits.shape[-2:] == size:
            return logits
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)  # other depths and strides


class SmpSegmentation(_SmpNetwork):
    """Segmentation of one date: x (N, 1, C, H, W) to logits (N, K, H, W), by `smp.create_model`, untrained.

    H, W multiples of the encoder's output stride (any for unet); N at least 2 in training where a decoder normalises
    pooled features (deeplabv3, deeplabv3plus). options: those of smp's class, and of timm for encoders called tu-*.
    encoder_state: pretrained weights of the encoder (3 input channels), widened to the bands. UserError for what smp
    cannot build and for sides that do not fit. The baseline unet is smp:unet/resnet34.

    smp builds and never trains what a decoder leaves out: the encoder's levels below encoder_depth (3 for pspnet), the
    last convolution of efficientnet-*, the centre of unetplusplus with vgg*.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        architecture: str,
        encoder: str,
        encoder_state: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        model = _create(architecture, encoder, bands, classes, options)
        self._adopt(f"smp:{architecture}/{encoder}", model, bands, encoder_state)

    def forward(self, x: Tensor) -> Tensor:
        return self._decode(self._encode(x[:, 0]), x.shape[-2:])


class SmpChange(_SmpNetwork):
    """Change between two dates: x (N, 2, C, H, W) to logits (N, K, H, W), otherwise like SmpSegmentation.

    fusion: "diff" gives smp's decoder |f1 - f2| of the features of one encoder shared by both dates, at every level
    (symmetric in time); "conc" gives it both dates' features, so that it has twice the channels; "early" gives an
    ordinary network both dates' bands (its encoder has 2 C input channels).

    The baseline fc-siam-diff is the idea of Daudt et al. (ICIP 2018), a U-Net whose skips carry absolute differences of
    one encoder's features, but not their network: ResNet-34 stands for their plain encoder of 16 to 128 channels, and
    the coarsest features are a difference as well, where theirs start the decoder as those of the second date.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        architecture: str,
        encoder: str,
        fusion: Literal["diff", "conc", "early"] = "diff",
        encoder_state: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        _check_fusion(architecture, fusion)
        self.fusion = fusion
        channels = 2 * bands if fusion == "early" else bands
        model = _create(architecture, encoder, channels, classes, options)
        if fusion == "conc":
            model.decoder = _decoder_of_twice_the_channels(architecture, encoder, model.encoder, options)
        self._adopt(f"smp:{architecture}/{encoder}/{fusion}", model, channels, encoder_state)

    def forward(self, x: Tensor) -> Tensor:
        if self.fusion == "early":
            return self._decode(self._encode(x.flatten(1, 2)), x.shape[-2:])
        # ASSUME: one pass for both dates; BatchNorm of each alone would hide in training what differs between them
        features = [f.unflatten(0, (-1, 2)) for f in self._encode(x.flatten(0, 1))]  # N 2 c h w, fine to coarse
        fused = [(f[:, 0] - f[:, 1]).abs() if self.fusion == "diff" else f.flatten(1, 2) for f in features]
        return self._decode(fused, x.shape[-2:])


class _TwiceTheChannels:
    """As much of an encoder as smp reads while it builds a decoder, with every feature twice as wide."""

    def __init__(self, encoder: nn.Module) -> None:
        self.out_channels = [2 * c for c in encoder.out_channels]
        self.output_stride = encoder.output_stride

    def set_in_channels(self, *_: Any, **__: Any) -> None:
        pass

    def make_dilated(self, *_: Any) -> None:
        pass


def _create(
    architecture: str, encoder: str, channels: int, classes: int, options: Mapping[str, Any]
) -> SegmentationModel:
    _check_names(architecture, encoder)
    _check_options(architecture, encoder, options)
    try:
        return smp.create_model(
            architecture, encoder, encoder_weights=None, in_channels=channels, classes=classes, **options
        )
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        raise UserError(
            f"smp:{architecture}/{encoder}: {reason}; choose another encoder or mend the options."
        ) from error


def _decoder_of_twice_the_channels(
    architecture: str, encoder: str, features: nn.Module, options: Mapping[str, Any]
) -> nn.Module:
    # smp takes a decoder's channels from an encoder that it looks up by name, and has no other way in. The name keeps
    # its first letters, by which smp knows the encoders of vgg.
    name = f"{encoder.replace('-', ' ')} twice"
    smp.encoders.encoders[name] = {"encoder": lambda **_: _TwiceTheChannels(features), "params": {}}
    try:
        return smp.create_model(architecture, name, encoder_weights=None, **options).decoder
    finally:
        del smp.encoders.encoders[name]


def _stem(encoder: nn.Module, channels: int) -> str:
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == channels:
            return f"{name}.weight"
    raise UserError("encoder weights: this encoder has no convolution of the bands to widen; build it without them.")


def _check_names(architecture: str, encoder: str) -> None:
    if architecture not in ARCHITECTURES:
        raise UserError(f"smp: unknown architecture {architecture!r}; choose one of {', '.join(ARCHITECTURES)}.")
    if encoder in smp.encoders.encoders or (encoder.startswith("tu-") and timm.is_model(encoder[3:])):
        return
    known = [*smp.encoders.get_encoder_names(), *(f"tu-{model}" for model in timm.list_models())]
    near = difflib.get_close_matches(encoder, known, n=3, cutoff=0.5)
    advice = f"did you mean {', '.join(near)}?" if near else "see smp.encoders.get_encoder_names()."
    raise UserError(f"smp: unknown encoder {encoder!r}; {advice}")


def _check_fusion(architecture: str, fusion: str) -> None:
    if fusion not in FUSIONS:
        raise UserError(f"smp: unknown fusion {fusion!r}; choose one of {', '.join(FUSIONS)}.")
    if architecture == "dpt" and fusion != "early":
        raise UserError("smp: dpt also reads its encoder's tokens, which have no fusion; choose early.")


def _check_options(architecture: str, encoder: str, options: Mapping[str, Any]) -> None:
    # smp passes what it does not know to the encoder, and only timm's look at it
    known = set(inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[architecture].__init__).parameters)
    known -= {"self", "kwargs", *RESERVED}
    for option in options:
        if option in RESERVED or not (option in known or encoder.startswith("tu-")):
            raise UserError(
                f"smp:{architecture}/{encoder}: unknown option {option!r}; choose among {', '.join(sorted(known))}."
            )
