"""Parts of a multipart answer, however it is cut into pieces."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.core.errors import FormatError
from medseg.tools.listen.multipart import find_boundary, read_parts


def build(bodies: list[bytes], boundary: bytes = b"b0") -> bytes:
    parts = (b"--" + boundary + b"\r\nContent-Type: application/dicom\r\n\r\n" + body + b"\r\n" for body in bodies)
    return b"".join(parts) + b"--" + boundary + b"--\r\n"


def cut(message: bytes, size: int) -> Iterator[bytes]:
    return (message[place : place + size] for place in range(0, len(message), size))


@given(st.lists(st.binary(max_size=60) | st.just(b"\r\n--b1\r\n--b"), max_size=5), st.integers(1, 50))
def test_bodies_come_out_whole(bodies: list[bytes], size: int) -> None:
    assert list(read_parts(cut(build(bodies), size), b"b0", 1000)) == bodies


@given(st.integers(0, 200))
def test_what_breaks_off_is_refused(end: int) -> None:
    message = build([b"a" * 50, b"b" * 50])
    if end < len(message) - 2:
        with pytest.raises(FormatError, match="breaks off"):
            list(read_parts([message[:end]], b"b0", 1000))


def test_a_part_that_is_too_large_is_refused_while_it_comes() -> None:
    taken = []

    def endless() -> Iterator[bytes]:
        yield b"--b0\r\n\r\n"
        while True:
            taken.append(1)
            yield bytes(1 << 16)

    with pytest.raises(FormatError, match="more than 1000000 bytes"):
        list(read_parts(endless(), b"b0", 1_000_000))
    assert len(taken) < 20


def test_a_part_without_a_head_is_refused() -> None:
    with pytest.raises(FormatError, match="no head"):
        list(read_parts([b"--b0\r\nbody\r\n--b0--"], b"b0", 100))


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=b0', b"b0"),
        ('Multipart/Related; boundary="b 0"; type="application/dicom"', b"b 0"),
    ],
)
def test_boundaries(content_type: str, boundary: bytes) -> None:
    assert find_boundary(content_type) == boundary


@pytest.mark.parametrize("content_type", ["", "application/dicom", "text/html; boundary=b", "multipart/related"])
def test_no_multipart(content_type: str) -> None:
    with pytest.raises(FormatError, match="no multipart"):
        find_boundary(content_type)
