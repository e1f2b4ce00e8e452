"""How the 64 bits of a hash are cut into four chunks, and what an orientation does to a chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.data.auditing.copies.fingerprints import HASH_BITS
from sightline.data.auditing.copies.variants import BY_HOW, Variant

NUM_CHUNKS = 4
CHUNK_BITS = HASH_BITS // NUM_CHUNKS
NUM_VALUES = 1 << CHUNK_BITS

Hashes = npt.NDArray[np.uint64]
_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Chunks:
    """An order of the bits: 16 of them in a row are a chunk.

    Every chunk holds, with a frequency, its transposed one, so that an orientation maps a chunk's
    values to values of the same chunk.

    Attributes:
        order: (64,) int64; place k is taken by bit `order[k]` of the fingerprint.
    """

    order: npt.NDArray[np.int64]

    @classmethod
    def balanced(cls, hashes: Hashes) -> Chunks:
        """Return chunks of about equal entropy: real films have bits that hardly ever differ."""
        ones = np.zeros(HASH_BITS)
        for begin in range(0, len(hashes), _AT_ONCE):
            ones += as_bits(hashes[begin : begin + _AT_ONCE]).sum(axis=0)
        share = (ones + 1) / (len(hashes) + 2)
        entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
        partner, _ = BY_HOW["transposed"].bits()
        orbits = [sorted({bit, int(partner[bit])}) for bit in range(HASH_BITS)]
        distinct = [bits for bit, bits in enumerate(orbits) if bits[0] == bit]
        distinct.sort(key=lambda bits: (-len(bits), -float(entropy[bits].sum()), bits))
        chunks: list[list[int]] = [[] for _ in range(NUM_CHUNKS)]
        for bits in distinct:  # pairs first: single bits fill any place that is left
            open_ones = [chunk for chunk in chunks if len(chunk) + len(bits) <= CHUNK_BITS]
            min(open_ones, key=lambda chunk: float(entropy[chunk].sum())).extend(bits)
        return cls(np.array([bit for chunk in chunks for bit in chunk], np.int64))

    def of(self, hashes: Hashes) -> Hashes:
        """Return (n,) uint64, the hashes with their bits in this order."""
        moved = np.empty_like(hashes)
        for begin in range(0, len(hashes), _AT_ONCE):
            bits = as_bits(hashes[begin : begin + _AT_ONCE])[:, self.order]
            packed = np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little"))
            moved[begin : begin + _AT_ONCE] = packed.view("<u8")[:, 0]
        return moved

    def changed_values(self, variant: Variant) -> npt.NDArray[np.uint16]:
        """Return (4, 65536): for each value of each chunk, what it is in the changed picture."""
        source, flips = variant.bits()
        place = np.argsort(self.order)
        source, flips = place[source[self.order]], flips[self.order]
        values = np.arange(NUM_VALUES, dtype=np.uint32)
        changed = np.zeros((NUM_CHUNKS, NUM_VALUES), np.uint32)
        for bit in range(HASH_BITS):
            chunk, inside = divmod(bit, CHUNK_BITS)
            value = (values >> np.uint32(source[bit] - chunk * CHUNK_BITS)) & 1
            changed[chunk] |= (value ^ np.uint32(flips[bit])) << np.uint32(inside)
        return changed.astype(np.uint16)


def as_bits(hashes: Hashes) -> npt.NDArray[np.uint8]:
    """Return (n, 64) of 0 and 1, bit 0 first."""
    octets = np.ascontiguousarray(hashes, "<u8").view(np.uint8).reshape(-1, HASH_BITS // 8)
    return np.unpackbits(octets, axis=1, bitorder="little")


def values_of(hashes: Hashes) -> npt.NDArray[np.uint16]:
    """Return (n, 4) the values of the chunks of hashes in a chunks' order."""
    return np.ascontiguousarray(hashes, "<u8").view("<u2").reshape(-1, NUM_CHUNKS)
