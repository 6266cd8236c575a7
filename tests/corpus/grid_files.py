"""NRRD and MetaImage files, built by hand so that any field can be wrong."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.corpus.entry import Build, Entry, accepted, refused

SCAN = ("scan",)
NRRD_TYPES = {"int16": "short", "uint8": "uint8", "float32": "float", "uint16": "ushort"}
META_TYPES = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "float32": "MET_FLOAT", "uint16": "MET_USHORT"}
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
Fields = dict[str, "str | None"]
Change = Callable[[np.ndarray], np.ndarray]


def same(array: np.ndarray) -> np.ndarray:
    return array


def text(numbers: np.ndarray) -> str:
    return " ".join(f"{number:.17g}" for number in np.ravel(numbers))


def nrrd_fields(array: np.ndarray, affine: np.ndarray) -> Fields:
    lps = LPS @ affine
    return {
        "type": NRRD_TYPES[array.dtype.name],
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, array.shape)),
        "space directions": " ".join(f"({','.join(f'{n:.17g}' for n in lps[:3, axis])})" for axis in range(3)),
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "gzip",
        "space origin": f"({','.join(f'{n:.17g}' for n in lps[:3, 3])})",
    }


def nrrd(
    change: Change = same,
    cut: Callable[[bytes], bytes] = bytes,
    head: Callable[[bytes], bytes] = bytes,
    **fields: object,
) -> Build:
    """Writes a NRRD file; fields are given with _ for blanks, None leaves one out."""

    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        found = nrrd_fields(array, affine) | {key.replace("_", " "): value for key, value in fields.items()}
        array = change(array)
        lines = ["NRRD0004", *(f"{key}: {value}" for key, value in found.items() if value is not None), "", ""]
        order = ">" if found["endian"] == "big" else "<"
        voxels = array.astype(array.dtype.newbyteorder(order)).tobytes("F")
        voxels = gzip.compress(voxels) if str(found["encoding"]).startswith("gz") else voxels
        path.write_bytes(head("\n".join(lines).encode("latin-1")) + cut(voxels))

    return build


def meta_fields(array: np.ndarray, affine: np.ndarray) -> Fields:
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "TransformMatrix": text((lps[:3, :3] / spacing).T),
        "Offset": text(lps[:3, 3]),
        "ElementSpacing": text(spacing),
        "DimSize": " ".join(map(str, array.shape)),
        "ElementType": META_TYPES[array.dtype.name],
        "ElementDataFile": "LOCAL",
    }


def meta(change: Change = same, cut: Callable[[bytes], bytes] = bytes, **fields: str | None) -> Build:
    """Writes a MetaImage file; None leaves a field out."""

    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        found = meta_fields(array, affine) | fields
        array = change(array)
        order = ">" if found["BinaryDataByteOrderMSB"] == "True" else "<"
        voxels = array.astype(array.dtype.newbyteorder(order)).tobytes("F")
        if found["CompressedData"] == "True":
            voxels = zlib.compress(voxels)
            found.setdefault("CompressedDataSize", str(len(voxels)))
        found["ElementDataFile"] = found.pop("ElementDataFile")  # it is the last one
        lines = [f"{key} = {value}" for key, value in found.items() if value is not None]
        path.write_bytes("\n".join([*lines, ""]).encode("latin-1") + cut(voxels))

    return build


def put_nan(array: np.ndarray) -> np.ndarray:
    changed = array.astype(np.float32)
    changed[1:3, 1, 1] = np.nan
    return changed


def damage(voxels: bytes) -> bytes:
    place = len(voxels) // 2
    return voxels[:place] + bytes([voxels[place] ^ 16]) + voxels[place + 1 :]


def stack(array: np.ndarray) -> np.ndarray:
    return np.stack([array] * 3)


FLAT = "(1,0,0) (0,1,0) (1,1,0)"
VECTORS = "none (1,0,0) (0,1,0) (0,0,1)"
NRRD: tuple[Entry, ...] = (
    refused("half_nrrd", ".nrrd", nrrd(cut=lambda v: v[: len(v) // 2]), "truncated"),
    refused("no_sum_nrrd", ".nrrd", nrrd(cut=lambda v: v[:-8]), "truncated"),
    refused("half_raw_nrrd", ".nrrd", nrrd(encoding="raw", cut=lambda v: v[: len(v) // 2]), "truncated"),
    refused("more_raw_nrrd", ".nrrd", nrrd(encoding="raw", cut=lambda v: v + bytes(9000)), "wrong_size"),
    refused("more_gzip_nrrd", ".nrrd", nrrd(cut=lambda v: gzip.compress(gzip.decompress(v) * 50)), "wrong_size"),
    refused("damaged_nrrd", ".nrrd", nrrd(cut=damage), "corrupt truncated wrong_size"),
    refused("endless_header", ".nrrd", nrrd(head=lambda h: h.rstrip() + b" " * 70000), "corrupt", "no end"),
    refused("no_type", ".nrrd", nrrd(type=None), "bad_header", "type"),
    refused("no_sizes", ".nrrd", nrrd(sizes=None), "bad_header", "sizes"),
    refused("no_encoding", ".nrrd", nrrd(encoding=None), "bad_header", "encoding"),
    refused("no_dimension_nrrd", ".nrrd", nrrd(dimension=None), "bad_header", "dimension"),
    refused("other_dimension", ".nrrd", nrrd(dimension="2"), "bad_header", "3 sizes"),
    refused("block_type", ".nrrd", nrrd(type="block"), "bad_data_type", "block"),
    refused("hex_encoding", ".nrrd", nrrd(encoding="hex"), "bad_encoding", "hex"),
    refused("bzip2_encoding", ".nrrd", nrrd(encoding="bzip2"), "bad_encoding", "bzip2"),
    refused("no_endian", ".nrrd", nrrd(encoding="raw", endian=None), "bad_header", "endian", roles=SCAN),
    refused("negative_size", ".nrrd", nrrd(sizes="-4 5 6"), "bad_shape"),
    refused("words_for_sizes", ".nrrd", nrrd(sizes="a few voxels"), "bad_header", "whole numbers"),
    refused("terabytes_nrrd", ".nrrd", nrrd(sizes="99999 99999 99999"), "truncated memory"),
    refused("flat_directions", ".nrrd", nrrd(space_directions=FLAT), "bad_affine corrupt"),
    refused("nan_directions", ".nrrd", nrrd(space_directions="(nan,0,0) (0,1,0) (0,0,1)"), "bad_affine"),
    refused("zero_direction", ".nrrd", nrrd(space_directions="(0,0,0) (0,1,0) (0,0,1)"), "bad_spacing"),
    refused("nan_origin", ".nrrd", nrrd(space_origin="(nan,0,0)"), "bad_affine"),
    refused("zero_spacings", ".nrrd", nrrd(space_directions=None, spacings="0 1 1"), "bad_spacing"),
    refused("centimetres", ".nrrd", nrrd(space_units='"cm" "cm" "cm"'), "bad_unit", "cm"),
    refused("data_above", ".nhdr", nrrd(data_file="../x.raw"), "data_elsewhere", "same folder"),
    refused("data_anywhere", ".nhdr", nrrd(data_file="/etc/passwd"), "data_elsewhere", "same folder"),
    refused("data_list", ".nhdr", nrrd(data_file="LIST"), "data_elsewhere", "same folder"),
    refused("data_gone", ".nhdr", nrrd(data_file="gone.raw"), "missing_file", "does not exist"),
    refused("skipping", ".nrrd", nrrd(byte_skip="16"), "bad_header", "skips"),
    refused(
        "three_components",
        ".nrrd",
        nrrd(stack, dimension="4", sizes="3 32 32 16", kinds="vector domain domain domain", space_directions=VECTORS),
        "four_dimensions",
        "3 components",
        roles=SCAN,
    ),
    refused("nan_nrrd", ".nrrd", nrrd(put_nan, type="float"), "not_finite", "2 voxels are NaN"),
    accepted(
        "nan_nrrd_filled",
        ".nrrd",
        nrrd(put_nan, type="float"),
        "2 voxels were NaN",
        same=False,
        roles=SCAN,
        options=("--nonfinite", "fill"),
    ),
    accepted("plain_nrrd", ".nrrd", nrrd()),
    accepted("raw_nrrd", ".nrrd", nrrd(encoding="raw")),
    accepted("big_endian_nrrd", ".nrrd", nrrd(encoding="raw", endian="big")),
    accepted("millimetres_nrrd", ".nrrd", nrrd(space_units='"mm" "mm" "mm"')),
    accepted(
        "no_spacing_nrrd",
        ".nrrd",
        nrrd(space_directions=None, space=None, space_origin=None),
        "1 mm is taken",
        same=False,
        roles=SCAN,
    ),
    accepted("unknown_space", ".nrrd", nrrd(space="scanner-xyz"), "LPS is taken", roles=SCAN),
)

META: tuple[Entry, ...] = (
    refused("half_mha", ".mha", meta(cut=lambda v: v[: len(v) // 2]), "truncated"),
    refused("no_sum_mha", ".mha", meta(cut=lambda v: v[:-4]), "truncated"),
    refused("half_raw_mha", ".mha", meta(CompressedData="False", cut=lambda v: v[: len(v) // 2]), "truncated"),
    refused("damaged_mha", ".mha", meta(cut=damage), "corrupt truncated wrong_size"),
    refused("more_mha", ".mha", meta(cut=lambda v: zlib.compress(zlib.decompress(v) * 50)), "wrong_size"),
    refused("other_type", ".mha", meta(ElementType="MET_STRING"), "bad_data_type", "STRING"),
    refused("text_voxels", ".mha", meta(BinaryData="False"), "bad_encoding", "binary"),
    refused("mesh", ".mha", meta(ObjectType="Mesh"), "not_an_image", "Mesh"),
    refused("two_dimensions_said", ".mha", meta(NDims="2"), "bad_header", "3 sizes"),
    refused("zero_size", ".mha", meta(DimSize="0 5 6"), "bad_shape"),
    refused("terabytes_mha", ".mha", meta(DimSize="99999 99999 99999"), "truncated memory"),
    refused("zero_spacing_mha", ".mha", meta(ElementSpacing="0 1 1"), "bad_spacing"),
    refused("negative_spacing_mha", ".mha", meta(ElementSpacing="1 -1 1"), "bad_spacing"),
    refused("nan_spacing_mha", ".mha", meta(ElementSpacing="1 nan 1"), "bad_affine"),
    refused("huge_spacing_mha", ".mha", meta(ElementSpacing="1 1 90000"), "absurd_spacing"),
    refused("short_matrix", ".mha", meta(TransformMatrix="1 0 0 0"), "bad_affine", "9 finite"),
    refused("flat_matrix", ".mha", meta(TransformMatrix="1 0 0 0 1 0 1 1 0"), "bad_affine corrupt"),
    refused("nan_offset_mha", ".mha", meta(Offset="0 0 nan"), "bad_affine"),
    refused("centimetres_mha", ".mha", meta(DistanceUnits="cm"), "bad_unit", "cm"),
    refused("no_compressed_size", ".mha", meta(CompressedDataSize=None), "bad_header", "CompressedDataSize"),
    refused("low_compressed_size", ".mha", meta(CompressedDataSize="900"), "corrupt", "other voxels", roles=SCAN),
    refused("high_compressed_size", ".mha", meta(CompressedDataSize="99999999"), "corrupt", roles=SCAN),
    refused("no_data_field", ".mha", meta(ElementDataFile=None), "bad_header", "ElementDataFile"),
    refused("data_above_mhd", ".mhd", meta(ElementDataFile="../x.raw"), "data_elsewhere", "same folder"),
    refused("data_pattern", ".mhd", meta(ElementDataFile="slice%03d.raw 1 9 1"), "data_elsewhere", "same folder"),
    refused("data_gone_mhd", ".mhd", meta(ElementDataFile="gone.raw"), "missing_file"),
    refused("nan_mha", ".mha", meta(put_nan, ElementType="MET_FLOAT"), "not_finite", "2 voxels are NaN"),
    accepted("plain_mha", ".mha", meta()),
    accepted("raw_mha", ".mha", meta(CompressedData="False")),
    accepted("big_endian_mha", ".mha", meta(CompressedData="False", BinaryDataByteOrderMSB="True")),
    accepted("no_spacing_mha", ".mha", meta(ElementSpacing=None), "1 mm is taken", same=False, roles=SCAN),
)
