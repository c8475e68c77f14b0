"""Square windows over a scene: where they start and where they lie on the ground."""

from __future__ import annotations


def starts(length: int, size: int, stride: int) -> range:
    """First pixels of the windows of `size` that lie fully inside `length` pixels, `stride` apart (may be empty)."""
    return range(0, length - size + 1, stride)


def windows(height: int, width: int, size: int, stride: int) -> list[tuple[int, int]]:
    """(row, col) of the first pixel of every full window, row by row."""
    return [(row, col) for row in starts(height, size, stride) for col in starts(width, size, stride)]


def moved(transform: tuple[float, ...], row: int, col: int) -> tuple[float, ...]:
    """Affine coefficients (a,b,c,d,e,f) of a scene, moved to its window at (row, col); empty stays empty."""
    if not transform:
        return ()
    a, b, c, d, e, f = transform
    return (a, b, c + a * col + b * row, d, e, f + d * col + e * row)


def gap(window: tuple[int, int, int, int], other: tuple[float, float, float, float]) -> float:
    """Pixels between two rectangles (top, left, bottom, right), on the axis of their larger distance; 0 = touch."""
    rows = max(window[0] - other[2], other[0] - window[2], 0)
    cols = max(window[1] - other[3], other[1] - window[3], 0)
    return max(rows, cols)


def covering(length: int, size: int, stride: int) -> list[int]:
    """First pixels of windows that cover all of `length`: `starts`, and a last window at the far edge."""
    found = list(starts(length, size, stride))
    if found and found[-1] + size < length:
        found.append(length - size)
    return found
