"""The stream's kernel in machine code: a batch of uint8 pictures moved, changed and scaled.

Numba compiles one version for each (channels, fill mode, layout) at its first use and keeps it on
disk. Three things make it twice as fast as OpenCV's warpAffine on the same pixels:

- a pixel's three bytes are fetched as one unaligned 32-bit word;
- the compiler is told that the output overlaps nothing, so it may vectorise the fetches
  (LLVM's "gather" instructions where the processor has them);
- the scaling to float happens in the same pass.

Coordinates are float64 and nothing is re-associated, so every processor gives the same bytes.

Channels, fill mode and layout must be constants for the compiler. They are handed over as tuples,
whose lengths are part of their types: `scale` has a value a channel, `fill` 1 + its mode, `layout`
1 (channels last) or 2 (first). Closures would do it too, but Numba would compile them anew in
every process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.cpython.unsafe import tuple as tuples
from numba.extending import intrinsic, overload

NEAREST, CONSTANT, REFLECT, WRAP = range(4)

_PAGE = 4096  # bytes, the smallest page of any processor: memory is readable to a page's end
_LANES = 16  # sums run side by side, in an order that no compiler may change


def _own_memory(module: Any) -> Any:
    """Return the LLVM scope that says: what is stored here is never what is loaded there."""
    domain = module.add_metadata(["sightline kernels"])
    return module.add_metadata([module.add_metadata(["output", domain])])


def _word_at(_: Any, array: Any, offset: Any) -> Any:  # noqa: ARG001 - Numba names them
    """Return the 32 bits at any byte of `array`, lowest byte first."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [args[1]])
        word = builder.load(builder.bitcast(place, ir.IntType(32).as_pointer()))
        word.align = 1
        word.set_metadata("noalias", _own_memory(builder.module))
        return word

    return types.uint32(array, types.int64), codegen


def _float_at(_: Any, array: Any, offset: Any) -> Any:  # noqa: ARG001
    """Return one float32 of a flat array that nothing here writes to."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        value = builder.load(builder.gep(data, [args[1]]))
        value.align = 4
        value.set_metadata("noalias", _own_memory(builder.module))
        return value

    return types.float32(array, types.int64), codegen


def _put(_: Any, array: Any, offset: Any, value: Any) -> Any:  # noqa: ARG001
    """Put one float32 at a place of a flat array that nothing else here reads."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        stored = builder.store(args[2], builder.gep(data, [args[1]]))
        stored.align = 4
        stored.set_metadata("alias.scope", _own_memory(builder.module))
        return context.get_dummy_value()

    return types.void(array, types.int64, types.float32), codegen


_load_word: Any = intrinsic(_word_at)
_load_float: Any = intrinsic(_float_at)
_store: Any = intrinsic(_put)
_replaced: Any = tuples.tuple_setitem


@njit(inline="always")
def _byte(word: Any, channel: Any) -> Any:
    return np.float32(np.int32((word >> np.uint32(8 * channel)) & np.uint32(255)))


def _corner(pixels: Any, at: Any) -> Any:
    """Return what `_level` needs of the pixel at an offset: its word, or for floats its place."""
    raise NotImplementedError


def _level(pixels: Any, corner: Any, channel: Any) -> Any:
    """Return one channel of a pixel as float32."""
    raise NotImplementedError


def _most(pixels: Any) -> Any:
    """Return the largest value: 255, and infinity for floats."""
    raise NotImplementedError


@overload(_corner, inline="always", strict=False)  # annotations differ
def _corner_of(pixels: Any, at: Any) -> Any:  # noqa: ARG001
    if pixels.dtype == types.uint8:
        return lambda pixels, at: _load_word(pixels, at)
    return lambda pixels, at: at  # noqa: ARG005


@overload(_level, inline="always", strict=False)  # annotations differ
def _level_of(pixels: Any, corner: Any, channel: Any) -> Any:  # noqa: ARG001
    if pixels.dtype == types.uint8:
        return lambda pixels, corner, channel: _byte(corner, channel)  # noqa: ARG005
    return lambda pixels, corner, channel: _load_float(pixels, corner + channel)


@overload(_most, inline="always", strict=False)  # annotations differ
def _most_of(pixels: Any) -> Any:
    if pixels.dtype == types.uint8:
        return lambda pixels: np.float32(255)  # noqa: ARG005
    return lambda pixels: np.float32(np.inf)  # noqa: ARG005


@njit(inline="always")
def _between(a: Any, b: Any, c: Any, d: Any, right: Any, down: Any) -> Any:
    """Return the bilinear mean of four corners: a b above c d."""
    above = a + (b - a) * right
    return above + ((c + (d - c) * right) - above) * down


@njit(inline="always")
def _raw(scale: Any) -> Any:
    """Return the factors and terms that change nothing, for as many channels."""
    ones, zeros = scale, scale
    for c in range(len(scale)):
        ones = _replaced(ones, c, np.float32(1))
        zeros = _replaced(zeros, c, np.float32(0))
    return ones, zeros


@njit(inline="always")
def _folded(at: Any, last: Any, fill: Any) -> Any:
    """Return where a coordinate lies inside 0..last by a fill mode."""
    if len(fill) == 1 + REFLECT:  # d c b a | a b c d | d c b a
        period = 2.0 * (last + 1.0)
        at -= period * np.floor((at + 0.5) / period)
        at = min(at, period - 1.0 - at)
    elif len(fill) == 1 + WRAP and last > 0.0:  # SciPy's: the last pixel stands for the first
        if at < 0.0:
            at += last * (np.floor(-at / last) + 1.0)
        elif at > last:
            at -= last * np.floor(at / last)
    return min(max(at, 0.0), last)


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _warp(pixels: Any, matrix: Any, brightness: Any, look: Any, out: Any) -> None:
    """Write min(moved pixel * brightness, 255) * scale + offset.

    `pixels` must be readable for 3 bytes past its end.
    """
    height, width, fill, fill_value, scale, offset, layout, _ = look
    channels = len(scale)
    last_x, last_y = np.int32(width - 1), np.int32(height - 1)
    right_end, low_end = np.float64(last_x), np.float64(last_y)
    full, b, ground = _most(pixels), np.float32(brightness), np.float32(fill_value)
    step, row_step = np.int32(channels), np.int32(width * channels)
    apart, between = (1, height * width) if len(layout) == 2 else (channels, 1)
    across_x, across_y = matrix[0, 0], matrix[1, 0]
    for y in range(height):
        begin_x = matrix[0, 1] * y + matrix[0, 2]
        begin_y = matrix[1, 1] * y + matrix[1, 2]
        for x in range(width):
            u = across_x * np.float64(np.int32(x)) + begin_x
            v = across_y * np.float64(np.int32(x)) + begin_y
            inside = True
            if len(fill) == 1 + CONSTANT:
                inside = u >= 0.0 and u <= right_end and v >= 0.0 and v <= low_end
            u, v = _folded(u, right_end, fill), _folded(v, low_end, fill)
            x0, y0 = np.int32(u), np.int32(v)
            right, down = np.float32(u - np.float64(x0)), np.float32(v - np.float64(y0))
            x1 = np.int32(min(np.int32(x0 + np.int32(1)), last_x) * step)
            y1 = np.int32(min(np.int32(y0 + np.int32(1)), last_y) * row_step)
            x0, y0 = np.int32(x0 * step), np.int32(y0 * row_step)
            p = _corner(pixels, np.int32(y0 + x0))
            q = _corner(pixels, np.int32(y0 + x1))
            r = _corner(pixels, np.int32(y1 + x0))
            s = _corner(pixels, np.int32(y1 + x1))
            place = (y * width + x) * apart
            for c in range(channels):
                above, aside = _level(pixels, p, c), _level(pixels, q, c)
                below, across = _level(pixels, r, c), _level(pixels, s, c)
                value = _between(above, aside, below, across, right, down)
                if len(fill) == 1 + CONSTANT:
                    value = value if inside else ground
                if c < 3:  # alpha is not brightened
                    value = min(value * b, full)
                _store(out, place + c * between, value * scale[c] + offset[c])


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _scaled(pixels: Any, brightness: Any, look: Any, out: Any) -> None:
    """Write min(pixel * brightness, 255) * scale + offset, no pixel moved."""
    _, _, _, _, scale, offset, layout, _ = look
    channels, full = len(scale), _most(pixels)
    count, even = len(out) // channels, channels < 4
    for c in range(1, channels):
        even = even and scale[c] == scale[0] and offset[c] == offset[0]
    if even and len(layout) == 1:  # one long run instead of one a channel
        b, s, o = np.float32(brightness), scale[0], offset[0]
        for i in range(len(out)):
            out[i] = min(np.float32(pixels[i]) * b, full) * s + o
        return
    for c in range(channels):
        b, s, o = np.float32(brightness if c < 3 else 1.0), scale[c], offset[c]
        begin, step = (c * count, 1) if len(layout) == 2 else (c, channels)
        for i in range(count):
            out[begin + i * step] = min(np.float32(pixels[i * channels + c]) * b, full) * s + o


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _finish(values: Any, shift: Any, brightness: Any, look: Any) -> None:
    """Shift raw values within their own range, then brightness, scale and offset, in place."""
    _, _, _, _, scale, offset, layout, _ = look
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for value in values:
        low, high = min(low, value), max(high, value)
    channels, full = len(scale), np.float32(255)
    count = len(values) // channels
    for c in range(channels):
        begin, step = (c * count, 1) if len(layout) == 2 else (c, channels)
        b, move = (brightness, shift) if c < 3 else (np.float32(1), np.float32(0))  # not alpha
        for i in range(count):
            at = begin + i * step
            value = min(max(values[at] + move, low), high)
            if b != 1:  # floats of any range are never brightened
                value = min(max(value * b, np.float32(0)), full)
            values[at] = value * scale[c] + offset[c]


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _standardise(values: Any) -> None:
    """Bring the values of one picture to mean 0 and deviation 1, in place."""
    sums, squares = np.zeros(_LANES), np.zeros(_LANES)
    whole = len(values) // _LANES * _LANES
    for begin in range(0, whole, _LANES):
        for lane in range(_LANES):
            sums[lane] += values[begin + lane]
    for at in range(whole, len(values)):
        sums[0] += values[at]
    mean = np.sum(sums) / len(values)
    for begin in range(0, whole, _LANES):
        for lane in range(_LANES):
            squares[lane] += (values[begin + lane] - mean) ** 2
    for at in range(whole, len(values)):
        squares[0] += (values[at] - mean) ** 2
    # Not the deviation and 1e-6: layers of Keras in an export come to the very same float32.
    deviation = np.sqrt(np.sum(squares) / len(values) + 1e-12)
    for at in range(len(values)):
        values[at] = (values[at] - mean) / deviation


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _round(values: Any, out: Any) -> None:
    """Write the nearest byte of each value."""
    for at in range(len(values)):
        out[at] = np.uint8(min(max(values[at] + np.float32(0.5), 0), np.float32(255)))


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _picture(
    pixels: Any, matrices: Any, place: Any, brightness: Any, shift: Any, look: Any, values: Any
) -> None:
    """Make one picture as float32; without matrices no pixel is moved."""
    height, width, fill, fill_value, scale, _, layout, per_image = look
    b, now = np.float32(brightness), look
    if shift != 0:  # needs the moved picture's own range: everything else comes after it
        ones, zeros = _raw(scale)
        b, now = np.float32(1), (height, width, fill, fill_value, ones, zeros, layout, per_image)
    if len(matrices):
        _warp(pixels, matrices[place], b, now, values)
    else:
        _scaled(pixels, b, now, values)
    if shift != 0:
        _finish(values, shift, brightness, look)
    if per_image:
        _standardise(values)


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _readable(pixels: Any, spare: Any) -> Any:
    """Return the same pixels where 3 bytes past their end may be read."""
    end = pixels.ctypes.data + len(pixels)
    if (end + 3) // _PAGE == (end - 1) // _PAGE:
        return pixels
    spare[: len(pixels)] = pixels  # the last fetch would reach into the next page
    return spare[: len(pixels)]


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _floats(
    look: Any,
    source: Any,
    picks: Any,
    places: Any,
    matrices: Any,
    brightness: Any,
    shifts: Any,
    out: Any,
) -> None:
    spare = np.empty(source.shape[1] + 3, source.dtype)
    for number in range(len(picks)):
        at = places[number]
        pixels = _readable(source[picks[number]], spare)
        _picture(pixels, matrices, at, brightness[at], shifts[at], look, out[at])


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _bytes(
    look: Any,
    source: Any,
    picks: Any,
    places: Any,
    matrices: Any,
    brightness: Any,
    shifts: Any,
    out: Any,
) -> None:
    spare = np.empty(source.shape[1] + 3, source.dtype)
    values = np.empty(source.shape[1], np.float32)
    for number in range(len(picks)):
        at = places[number]
        pixels = _readable(source[picks[number]], spare)
        _picture(pixels, matrices, at, brightness[at], shifts[at], look, values)
        _round(values, out[at])


def batch(
    size: tuple[int, int],
    channels_first: bool,
    fill: int,
    fill_value: float,
    scale: tuple[float, ...],
    offset: tuple[float, ...],
    per_image: bool,
    whole_numbers: bool,
) -> Callable[..., None]:
    """Return the compiled kernel of a batch.

    Its arguments: source (M, H*W*C) uint8, or float32 of any range, which only moves, shifts and
    scales; picks (P,) int64 rows of it; places (P,) int64 rows of
    everything that follows; matrices (B, 2, 3) float64, or (0, 2, 3) where no pixel is moved;
    brightness (B,) and shifts (B,) float32; out (B, H*W*C) float32, or uint8 with
    `whole_numbers`.
    """
    look = (
        *size,
        (0,) * (1 + fill),
        float(fill_value),
        tuple(np.float32(factor) for factor in scale),
        tuple(np.float32(term) for term in offset),
        (0,) * (2 if channels_first else 1),
        per_image,
    )
    return partial(_bytes if whole_numbers else _floats, look)


def folder() -> str | None:
    """Return where Numba keeps the machine code."""
    kept: str | None = _floats.stats.cache_path
    return kept
