"""Summaries: values of a run as records that TensorBoard shows.

A summary is a scalar string: the serialized protocol buffer ``Summary`` of TF1, which
``dagrad.summary.FileWriter`` adds to an event file.  The classes of the protocol
buffers are those of the package tensorboard, an extra.
"""

from __future__ import annotations

import io
import re
import warnings
import wave
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..graphlib.dtypes import float32, string
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.graph import get_default_graph
from ..graphlib.keys import GraphKeys
from ..graphlib.opdef import OpDef
from ..graphlib.shapes import text as dims_text
from ..graphlib.tensor import Tensor
from ._build import as_tensor, create, scope

__all__ = ["audio", "histogram", "image", "merge", "merge_all", "messages", "scalar"]
__all__ += ["text"]


@cache
def messages() -> Any:
    """The module with TensorBoard's message ``Summary``.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
    """
    try:
        from tensorboard.compat.proto import summary_pb2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'summaries need TensorBoard: pip install "dagrad[tensorboard]"'
        ) from error
    return summary_pb2


def _packed(summary: Any) -> Any:
    """A message as a scalar of strings."""
    made = np.empty((), object)
    made[()] = summary.SerializeToString()
    return made


def _one_string(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    return [(string, ())]


# -- kernels -------------------------------------------------------------------


def _scalar_kernel(xp: Any, value: Any, tag: str) -> Any:
    found = messages().Summary()
    found.value.add(tag=tag, simple_value=float(value))
    return _packed(found)


def _infer_scalar(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    (t,) = inputs
    _check_real("a scalar summary", t)
    if t.dims is not None and t.dims != ():
        raise ShapeError(
            f"a scalar summary needs a scalar, not {dims_text(t.dims)}: reduce it "
            "(reduce_mean) or use summary.histogram"
        )
    return [(string, ())]


@cache
def _limits() -> Any:
    """TF1's bucket limits: 1e-12 to 1e20 by steps of a tenth, both signs."""
    positive = []
    v = 1e-12
    while v < 1e20:
        positive.append(v)
        v *= 1.1
    positive.append(np.finfo(np.float64).max)
    return np.array([-v for v in reversed(positive)] + [0.0] + positive)


def _histogram_kernel(xp: Any, values: Any, tag: str) -> Any:
    flat = np.asarray(values, np.float64).reshape(-1)
    if not np.isfinite(flat).all():
        raise InvalidArgumentError(f"NaN or infinity in the histogram {tag!r}")
    found = messages().Summary()
    histo = found.value.add(tag=tag).histo
    # An empty histogram is TF1's: its least above its most.
    most = np.finfo(np.float64).max
    histo.min = float(flat.min(initial=most))
    histo.max = float(flat.max(initial=-most))
    histo.num = float(flat.size)
    histo.sum = float(flat.sum())
    histo.sum_squares = float((flat * flat).sum())
    limits = _limits()
    places = np.searchsorted(limits, flat, side="right")
    counts = np.bincount(np.minimum(places, len(limits) - 1), minlength=len(limits))
    # Of buckets in a row that are empty one is kept, at the end of the row.
    kept = (counts > 0) | np.append(counts[1:] > 0, True)
    histo.bucket_limit.extend(limits[kept].tolist())
    histo.bucket.extend(counts[kept].astype(float).tolist())
    return _packed(found)


def _infer_numbers(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    _check_real("a histogram", inputs[0])
    return [(string, ())]


def _check_real(what: str, t: Any) -> None:
    if t.dtype.dtype.kind not in "biuf":
        raise DTypeError(f"{what} needs real numbers, not {t.dtype.name}")


def _image_kernel(xp: Any, batch: Any, tag: str, most: int) -> Any:
    from PIL import Image  # tensorboard needs it too

    found = messages().Summary()
    for number, pixels in enumerate(batch[:most]):
        height, width, channels = pixels.shape
        value = found.value.add(tag=f"{tag}/image" + (f"/{number}" if most > 1 else ""))
        value.image.height, value.image.width = height, width
        value.image.colorspace = channels
        shades = pixels if pixels.dtype == np.uint8 else _shades(pixels)
        file = io.BytesIO()
        Image.fromarray(shades[..., 0] if channels == 1 else shades).save(file, "PNG")
        value.image.encoded_image_string = file.getvalue()
    return _packed(found)


def _shades(pixels: Any) -> Any:
    """Floats as bytes: scaled so that the largest is 255; or, where some are negative,
    0 becomes 128 and the farthest from it 1 or 255.  What is not finite is red."""
    good = np.isfinite(pixels)
    finite = np.where(good, pixels, 0).astype(np.float64)
    least, most = finite.min(initial=0.0), finite.max(initial=0.0)
    if least < 0:
        far = max(abs(least), abs(most))
        shades = finite * (127.0 / far) + 128.0
    else:
        shades = finite * (255.0 / most if most > 0 else 0.0)
    made = np.clip(shades, 0, 255).astype(np.uint8)
    bad = ~good.all(axis=-1)
    made[bad] = np.array([255, 0, 0, 255], np.uint8)[: pixels.shape[-1]]
    return made


def _infer_image(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    (t,) = inputs
    if t.dtype.name not in ("uint8", "float16", "float32", "float64"):
        raise DTypeError(f"images are uint8 or floating, not {t.dtype.name}")
    if t.dims is not None and (len(t.dims) != 4 or t.dims[3] not in (None, 1, 3, 4)):
        raise ShapeError(
            f"images are (batch, height, width, 1, 3 or 4), not {dims_text(t.dims)}"
        )
    return [(string, ())]


def _audio_kernel(xp: Any, clips: Any, rate: Any, tag: str, most: int) -> Any:
    """Clips as WAV files of 16 bits: 1 is 32767, half a step rounds away from 0."""
    if not float(rate) > 0:
        raise InvalidArgumentError(f"the sample rate of {tag!r} is {rate}, not above 0")
    found = messages().Summary()
    for number, clip in enumerate(clips[:most]):
        channels = clip[:, None] if clip.ndim == 1 else clip
        loud = channels.astype(np.float64) * 32768
        if not np.isfinite(loud).all():
            raise InvalidArgumentError(f"NaN or infinity in the audio {tag!r}")
        loud = np.trunc(loud + np.copysign(0.5, loud)).clip(-32768, 32767)
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setnchannels(channels.shape[1])
            sound.setsampwidth(2)
            sound.setframerate(round(float(rate)))
            sound.writeframes(loud.astype("<i2").tobytes())
        value = found.value.add(tag=f"{tag}/audio" + (f"/{number}" if most > 1 else ""))
        value.audio.sample_rate = float(rate)
        value.audio.length_frames, value.audio.num_channels = channels.shape
        value.audio.content_type = "audio/wav"
        value.audio.encoded_audio_string = file.getvalue()
    return _packed(found)


def _infer_audio(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    t, rate = inputs
    if t.dtype.name != "float32":
        raise DTypeError(f"audio is float32, not {t.dtype.name}")
    if t.dims is not None and len(t.dims) not in (2, 3):
        raise ShapeError(
            "audio is (batch, frames) or (batch, frames, channels), not "
            + dims_text(t.dims)
        )
    if rate.dims is not None and rate.dims != ():
        raise ShapeError(f"a sample rate is a scalar, not {dims_text(rate.dims)}")
    return [(string, ())]


def _text_kernel(xp: Any, value: Any, tag: str) -> Any:
    from tensorboard.compat.proto import types_pb2

    found = messages().Summary()
    record = found.value.add(tag=tag)
    record.metadata.plugin_data.plugin_name = "text"
    record.tensor.dtype = types_pb2.DT_STRING
    words = np.asarray(value, object)
    for size in words.shape:
        record.tensor.tensor_shape.dim.add(size=size)
    for word in words.reshape(-1):
        record.tensor.string_val.append(
            word if isinstance(word, bytes) else str(word).encode()
        )
    return _packed(found)


def _infer_text(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    (t,) = inputs
    if t.dtype is not string:
        raise DTypeError(f"a text summary needs strings, not {t.dtype.name}")
    return [(string, ())]


def _merge_kernel(xp: Any, *parts: Any) -> Any:
    found = messages().Summary()
    for part in parts:
        for packed in np.asarray(part, object).reshape(-1):
            found.MergeFromString(packed)
    tags = [v.tag for v in found.value]
    twice = sorted({t for t in tags if tags.count(t) > 1})
    if twice:
        raise InvalidArgumentError(
            f"the tag {twice[0]!r} stands in several of the summaries to merge"
        )
    return _packed(found)


def _infer_merge(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    for t in inputs:
        if t.dtype is not string:
            raise DTypeError(f"summaries are strings, not {t.dtype.name}")
    return [(string, ())]


SCALAR = OpDef(
    "ScalarSummary",
    _infer_scalar,
    _scalar_kernel,
    inputs=("value",),
    doc="The summary of a number.",
)
HISTOGRAM = OpDef(
    "HistogramSummary",
    _infer_numbers,
    _histogram_kernel,
    inputs=("values",),
    doc="The summary of how values are distributed, in TF1's buckets.",
)
IMAGE = OpDef(
    "ImageSummary",
    _infer_image,
    _image_kernel,
    inputs=("batch",),
    doc="The summary of images, as PNG.",
)
AUDIO = OpDef(
    "AudioSummary",
    _infer_audio,
    _audio_kernel,
    inputs=("clips", "rate"),
    doc="The summary of sounds, as WAV.",
)
TEXT = OpDef(
    "TextSummary",
    _infer_text,
    _text_kernel,
    inputs=("value",),
    doc="The summary of texts.",
)
MERGE = OpDef(
    "MergeSummary",
    _infer_merge,
    _merge_kernel,
    inputs=("*parts",),
    doc="All values of several summaries.",
)


# -- builders ------------------------------------------------------------------


def scalar(
    name: str, tensor: Any, collections: Any = None, family: Any = None
) -> Tensor:
    """The summary of a number, as a curve in TensorBoard.

    Args:
        name: of the node; with its name scopes it is the tag of the curve.
        tensor: a real scalar.
        collections: collections that get the summary (default: those that
            :func:`merge_all` reads).
        family: a first part for the tag, under which TensorBoard groups curves.

    Returns:
        A scalar string: a serialized ``Summary``.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
        ShapeError: not a scalar.
    """
    return _summary(SCALAR, name, tensor, {}, collections, family)


def histogram(
    name: str, values: Any, collections: Any = None, family: Any = None
) -> Tensor:
    """The summary of how values are distributed: counts in buckets whose limits grow
    by a tenth, from 1e-12 to 1e20, on both sides of zero.

    Args:
        name: as for :func:`scalar`; ``collections`` and ``family`` too.
        values: real numbers of any shape.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
        InvalidArgumentError: (in a run) a value is NaN or infinite.
    """
    return _summary(HISTOGRAM, name, values, {}, collections, family)


def image(
    name: str,
    tensor: Any,
    max_outputs: int = 3,
    collections: Any = None,
    family: Any = None,
) -> Tensor:
    """The summary of images.

    Args:
        name: as for :func:`scalar`; ``collections`` and ``family`` too.
        tensor: (batch, height, width, channels), with 1 (grey), 3 or 4 channels.
            uint8 stays as it is.  Floats are scaled, image by image: the largest is
            255, or, where some are negative, 0 is 128; NaN and infinity are red.
        max_outputs: how many images of the batch to keep.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
        ShapeError, DTypeError: these are no images.
    """
    if max_outputs < 1:
        raise InvalidArgumentError(f"max_outputs must be 1 or more, not {max_outputs}")
    return _summary(IMAGE, name, tensor, {"most": max_outputs}, collections, family)


def audio(
    name: str,
    tensor: Any,
    sample_rate: Any,
    max_outputs: int = 3,
    collections: Any = None,
    family: Any = None,
) -> Tensor:
    """The summary of sounds, as WAV files of 16 bits.

    Args:
        name: as for :func:`scalar`; ``collections`` and ``family`` too.
        tensor: float32 (batch, frames) or (batch, frames, channels), from -1 to 1; what
            is louder is cut.
        sample_rate: frames in a second, a scalar.
        max_outputs: how many sounds of the batch to keep.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
        ShapeError, DTypeError: these are no sounds.
        InvalidArgumentError: (in a run) NaN or infinity, or no rate above 0.
    """
    if max_outputs < 1:
        raise InvalidArgumentError(f"max_outputs must be 1 or more, not {max_outputs}")
    rate = as_tensor(sample_rate, dtype=float32)
    attrs = {"most": max_outputs}
    return _summary(AUDIO, name, tensor, attrs, collections, family, rate)


def text(name: str, tensor: Any, collections: Any = None) -> Tensor:
    """The summary of texts, which TensorBoard shows as Markdown; a vector or a matrix
    of them as a table.

    Args:
        name: as for :func:`scalar`; ``collections`` too.
        tensor: strings of any shape.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
        DTypeError: these are no strings.
    """
    return _summary(TEXT, name, tensor, {}, collections, None)


def _summary(
    opdef: OpDef,
    name: str,
    value: Any,
    attrs: Mapping[str, Any],
    collections: Any,
    family: Any,
    *more: Tensor,
) -> Tensor:
    messages()
    clean = _clean(name)
    within = clean if family is None else f"{_clean(family)}/{clean}"
    with scope(within, within, value) as full:
        tag = full.rstrip("/")
        if family is not None:
            tag = f"{_clean(family)}/{tag}"
        made = create(opdef, (as_tensor(value), *more), {**attrs, "tag": tag}, full)
    graph = made.graph
    for key in [GraphKeys.SUMMARIES] if collections is None else collections:
        graph.add_to_collection(key, made)
    return made


def _clean(name: str) -> str:
    """``name`` with what no name of a node may hold replaced, as TF1 does."""
    cleaned = re.sub(r"[^-/\w.]", "_", name, flags=re.ASCII).lstrip("/")
    if cleaned != name:
        warnings.warn(
            f"the summary {name!r} is called {cleaned!r}: names hold letters, digits "
            "and any of _ . - /",
            stacklevel=4,
        )
    return cleaned


def merge(inputs: Any, collections: Any = None, name: Any = None) -> Tensor:
    """All values of several summaries as one summary.

    Args:
        inputs: summaries.
        collections: collections that get the result (default: none).
        name: of the node.

    Raises:
        InvalidArgumentError: (in a run) a tag stands in several of them.
    """
    messages()
    parts = [as_tensor(t) for t in inputs]
    made = create(MERGE, parts, {}, name)
    for key in collections or ():
        made.graph.add_to_collection(key, made)
    return made


def merge_all(
    key: str = GraphKeys.SUMMARIES, scope: Any = None, name: Any = None
) -> Any:
    """All summaries of a collection of the default graph as one, None if there are
    none.

    Args:
        key: the collection.
        scope: only summaries whose name begins with a match of this expression.
        name: of the node.
    """
    found = get_default_graph().get_collection(key, scope)
    return merge(found, name=name) if found else None
