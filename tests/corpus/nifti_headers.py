"""NIfTI files whose header says what cannot be, what contradicts itself, or what is merely unusual."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.corpus.entry import Build, Entry, accepted, refused
from tests.corpus.nifti_files import make_plain, plain

SCAN = ("scan",)


def header(**fields: Any) -> Build:
    """A sound file with these header fields instead; a function is given the field's old value."""

    def change(content: bytes) -> bytes:
        raw = nib.Nifti1Header(content[:348], check=False)
        for name, value in fields.items():
            raw[name] = value(raw[name].copy()) if callable(value) else value
        return bytes(raw.binaryblock) + content[348:]

    return plain(change)


def at(index: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Changes one number of a field."""

    def change(numbers: np.ndarray) -> np.ndarray:
        numbers[index] = value
        return numbers

    return change


def only(form: str, **fields: Any) -> Build:
    """A file with one form alone (``sform``, ``qform``) or none (``spacing``)."""
    codes = {f"{name}_code": int(name == form) for name in ("sform", "qform")}
    return header(**codes, **fields)


def form(sform: Callable[[np.ndarray], np.ndarray]) -> Build:
    """A file whose sform is another than its qform."""

    def change(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        content = make_plain(array, affine)
        raw = nib.Nifti1Header(content[:348], check=False)
        raw.set_sform(sform(affine.copy()), 1)
        path.write_bytes(gzip.compress(bytes(raw.binaryblock) + content[348:]))

    return change


def scaled(slope: float, intercept: float) -> Build:
    return header(scl_slope=slope, scl_inter=intercept)


def unit(code: int, factor: float) -> Build:
    """Lengths in another unit, so that the millimetres are the same."""

    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        content = make_plain(array, np.diag([factor] * 3 + [1.0]) @ affine)
        raw = nib.Nifti1Header(content[:348], check=False)
        raw["xyzt_units"] = code
        path.write_bytes(gzip.compress(bytes(raw.binaryblock) + content[348:]))

    return build


def values(change: Callable[[np.ndarray], np.ndarray]) -> Build:
    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        path.write_bytes(gzip.compress(make_plain(change(array), affine)))

    return build


def put(value: float, dtype: str = "f4") -> Callable[[np.ndarray], np.ndarray]:
    """Some voxels of that value."""

    def change(array: np.ndarray) -> np.ndarray:
        changed = array.astype(dtype)
        changed[1:3, 1, 1] = value
        return changed

    return change


def as_type(name: str) -> Build:
    return values(lambda array: array.astype(name))


def other_version(order: str, kind: Any) -> Build:
    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        image = kind(array, affine, kind.header_class(endianness=order), dtype=array.dtype)
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        nib.save(image, path)

    return build


def spoil_mark(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    content = bytearray(nib.Nifti2Image(array, affine, dtype=array.dtype).to_bytes())
    path.write_bytes(bytes(content).replace(b"n+2\0\r\n\x1a\n", b"n+2\0\n\x1a\n\0", 1))


def extended(size: int) -> Build:
    """A header extension of 32 bytes that claims to have ``size``."""

    def change(content: bytes) -> bytes:
        raw = nib.Nifti1Header(content[:348], check=False)
        raw["vox_offset"] = 384
        extension = np.array([size, 6], "<i4").tobytes() + b"a comment".ljust(24, b"\0")
        return bytes(raw.binaryblock) + b"\1\0\0\0" + extension + content[352:]

    return plain(change)


def several(count: int, axes: int) -> Build:
    """A file of several volumes, along the fourth axis or the fifth."""

    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        stack = np.stack([array] * count, axis=-1)
        stack = stack[:, :, :, None] if axes == 5 else stack
        nib.save(nib.Nifti1Image(stack, affine, dtype=array.dtype), path)

    return build


def mirror(affine: np.ndarray) -> np.ndarray:
    affine[0] *= -1
    return affine


def shear(affine: np.ndarray, cosine: float) -> np.ndarray:
    sine = np.sqrt(1 - cosine**2)
    affine[:3, 2] = (affine[:3, 2] * sine) + affine[:3, 0] / np.linalg.norm(affine[:3, 0]) * cosine * np.linalg.norm(
        affine[:3, 2]
    )
    return affine


def leaning(cosine: float) -> Build:
    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        image = nib.Nifti1Image(array, shear(affine.copy(), cosine), dtype=array.dtype)
        path.write_bytes(gzip.compress(image.to_bytes()))

    return build


def moved(affine: np.ndarray) -> np.ndarray:
    affine[:3, 3] += (0, 0, 9)
    return affine


HEADERS: tuple[Entry, ...] = (
    refused("pair_mark", ".nii", header(magic=b"ni1"), "wrong_ending", "pair of files"),
    refused("analyze", ".nii", header(magic=b""), "wrong_ending", "pair of files"),
    refused("no_mark", ".nii.gz", header(magic=b"xyz"), "corrupt", "no NIfTI mark"),
    refused("nifti2_sent_as_text", ".nii", spoil_mark, "corrupt", "no NIfTI mark"),
    refused("nine_dimensions", ".nii.gz", header(dim=at(0, 9)), "bad_shape"),
    refused("no_dimension", ".nii.gz", header(dim=at(0, 0)), "bad_shape"),
    refused("zero_wide", ".nii.gz", header(dim=at(2, 0)), "bad_shape", "positive numbers"),
    refused("negative_wide", ".nii", header(dim=at(1, -5)), "bad_shape", "positive numbers"),
    refused("too_wide", ".nii", header(dim=at(3, 900)), "truncated"),
    refused("too_narrow", ".nii.gz", header(dim=at(3, 2)), "wrong_size", "shape or the type"),
    refused("terabytes", ".nii.gz", header(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), "truncated", "more than"),
    refused("terabytes_nii", ".nii", header(dim=[7, 32767, 32767, 32767, 32767, 32767, 32767, 32767]), "truncated"),
    refused("two_volumes", ".nii.gz", several(2, 4), "four_dimensions", "2 volumes"),
    refused("vectors", ".nii.gz", several(3, 5), "four_dimensions", "3 volumes"),
    refused("complex", ".nii.gz", as_type("c8"), "bad_data_type", "complex"),
    refused("colours", ".nii", header(datatype=128, bitpix=24), "bad_data_type", "colours"),
    refused("colours_alpha", ".nii", header(datatype=2304, bitpix=32), "bad_data_type", "colours"),
    refused("long_double", ".nii", header(datatype=1536, bitpix=128), "bad_data_type"),
    refused("single_bits", ".nii", header(datatype=1, bitpix=1), "bad_data_type"),
    refused("unknown_type", ".nii.gz", header(datatype=999), "bad_data_type", "999"),
    refused("other_bits", ".nii", header(bitpix=64), "bad_data_type", "64"),
    refused("zero_spacing", ".nii.gz", only("spacing", pixdim=at(1, 0)), "bad_spacing"),
    refused("negative_spacing", ".nii.gz", only("spacing", pixdim=at(1, -2)), "bad_spacing"),
    refused("nan_spacing", ".nii.gz", only("spacing", pixdim=at(2, np.nan)), "bad_spacing"),
    refused("infinite_spacing", ".nii.gz", only("spacing", pixdim=at(3, np.inf)), "bad_spacing absurd_spacing"),
    refused("huge_spacing", ".nii.gz", only("spacing", pixdim=at(3, 1e6)), "absurd_spacing", "unit"),
    refused("tiny_spacing", ".nii.gz", only("spacing", pixdim=at(3, 1e-7)), "absurd_spacing", "unit"),
    refused("tiny_everywhere", ".nii.gz", only("spacing", pixdim=1e-7), "absurd_spacing"),
    refused("flat_sform", ".nii.gz", only("sform", srow_z=0), "bad_affine", "sform"),
    refused("nan_sform", ".nii.gz", only("sform", srow_x=at(1, np.nan)), "bad_affine", "sform"),
    refused("bad_quaternion", ".nii.gz", only("qform", quatern_b=3.0), "bad_affine", "qform"),
    refused("nan_quaternion", ".nii.gz", only("qform", quatern_c=np.nan), "bad_affine", "qform"),
    refused("far_away", ".nii.gz", only("sform", srow_x=at(3, 3e7)), "bad_affine", "from the origin"),
    refused("nearly_flat", ".nii.gz", leaning(0.95), "bad_affine", "right angles"),
    refused("mirrored_forms", ".nii.gz", form(mirror), "contradiction", "mirror image"),
    refused("turned_forms", ".nii.gz", form(lambda m: np.diag([-1, -1, 1, 1]) @ m), "contradiction", "axes run"),
    refused("swapped_forms", ".nii.gz", form(lambda m: m[[1, 2, 0, 3]]), "contradiction", "axes run"),
    refused("scaled_forms", ".nii.gz", form(lambda m: m @ np.diag([1.02, 1, 1, 1])), "contradiction", "sform has"),
    refused("other_pixdim", ".nii.gz", only("sform", pixdim=at(3, 7.5)), "contradiction", "pixdim"),
    refused("infinite_slope", ".nii.gz", scaled(np.inf, 0), "bad_scaling"),
    refused("nan_intercept", ".nii.gz", scaled(2, np.nan), "bad_scaling"),
    refused("nan_offset", ".nii", header(vox_offset=np.nan), "corrupt", "byte nan"),
    refused("negative_offset", ".nii.gz", header(vox_offset=-16), "corrupt", "byte -16"),
    refused("offset_in_header", ".nii", header(vox_offset=340), "corrupt", "byte 340"),
    refused("broken_offset", ".nii", header(vox_offset=352.5), "corrupt", "352.5"),
    refused("offset_beyond", ".nii", header(vox_offset=1e9), "truncated"),
    refused("offset_beyond_gz", ".nii.gz", header(vox_offset=1e9), "truncated"),
    refused("nan_voxels", ".nii.gz", values(put(np.nan)), "not_finite", "2 voxels are NaN"),
    refused("infinite_voxels", ".nii.gz", values(put(-np.inf)), "not_finite", "2 infinite"),
    refused("beyond_float32", ".nii.gz", values(put(1e300, "f8")), "not_finite", "2 infinite"),
    refused("all_zero", ".nii.gz", values(np.zeros_like), "constant_image", "are 0", roles=SCAN),
    refused("all_seven", ".nii.gz", values(lambda a: np.full_like(a, 7)), "constant_image", "value 7", roles=SCAN),
    refused(
        "all_nan_filled",
        ".nii.gz",
        values(lambda a: np.full(a.shape, np.nan, "f4")),
        "not_finite",
        "none of",
        roles=SCAN,
        options=("--nonfinite", "fill"),
    ),
    accepted(
        "nan_filled",
        ".nii.gz",
        values(put(np.nan)),
        "2 voxels were NaN",
        same=False,
        roles=SCAN,
        options=("--nonfinite", "fill"),
    ),
    accepted(
        "infinite_filled",
        ".nii.gz",
        values(put(np.inf)),
        "2 infinite",
        same=False,
        roles=SCAN,
        options=("--nonfinite", "fill"),
    ),
    accepted("nifti2", ".nii.gz", other_version("<", nib.Nifti2Image)),
    accepted("nifti2_big_endian", ".nii", other_version(">", nib.Nifti2Image)),
    accepted("big_endian", ".nii.gz", other_version(">", nib.Nifti1Image)),
    accepted("sform_alone", ".nii.gz", only("sform")),
    accepted("qform_alone", ".nii.gz", only("qform")),
    accepted("no_orientation", ".nii.gz", only("spacing"), "no orientation", same=False, roles=SCAN),
    accepted("flat_sform_sound_qform", ".nii.gz", header(srow_z=0), "qform is used instead"),
    accepted("sound_sform_bad_qform", ".nii.gz", header(quatern_b=3.0), "sform is used instead"),
    accepted("handedness_zero", ".nii.gz", header(pixdim=at(0, 0))),
    accepted("forms_apart", ".nii.gz", form(moved), "voxels apart", same=False, roles=SCAN),
    accepted("gantry_tilt", ".nii.gz", leaning(0.3), "sheared", same=False, roles=SCAN),
    accepted("unset_pixdim", ".nii.gz", only("sform", pixdim=1.0), "the sform is used"),
    accepted("zero_slope", ".nii.gz", scaled(0, 5)),
    accepted("nan_slope", ".nii.gz", scaled(np.nan, 0), "as stored"),
    accepted("both_nan", ".nii.gz", scaled(np.nan, np.nan)),
    accepted("scaled", ".nii.gz", scaled(2, -7), same=False, roles=SCAN),
    accepted("metres", ".nii.gz", unit(1, 1e-3), "metres"),
    accepted("micrometres", ".nii.gz", unit(3, 1e3), "micrometres"),
    accepted("unknown_unit", ".nii.gz", unit(0, 1.0)),
    accepted("odd_unit", ".nii.gz", unit(6, 1.0), "unknown code 6"),
    accepted("extension", ".nii.gz", extended(32)),
    accepted("lying_extension", ".nii", extended(1 << 20)),
    accepted("zero_offset", ".nii", header(vox_offset=0)),
    accepted("zero_bits", ".nii", header(bitpix=0)),
    accepted("float32", ".nii.gz", as_type("f4")),
    accepted("float64", ".nii.gz", as_type("f8")),
    accepted("int64", ".nii.gz", as_type("i8")),
    accepted("long_time_axis", ".nii.gz", header(dim=at(0, 7))),
)
