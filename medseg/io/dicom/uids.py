"""Unique identifiers of DICOM objects: new ones, and ones that the same things get again."""

from __future__ import annotations

import hashlib
import uuid


def make_uid() -> str:
    """A new unique identifier (DICOM PS3.5, B.2: ``2.25.`` and a random UUID as a number)."""
    return f"2.25.{uuid.uuid4().int}"


def derive_uid(*parts: str) -> str:
    """The unique identifier of what the texts name: the same texts give the same one, on any machine.

    Args:
        parts: what is identified, from the general to the particular.
    Returns:
        ``2.25.`` and a number: a UUID of version 8 (RFC 9562) out of the SHA-256 of the texts.
    """
    text = "".join(f"{len(part.encode())}:{part}" for part in ("medseg", *parts))
    bits = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    bits = bits & ~(0xF << 76) | 8 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    return f"2.25.{bits}"
