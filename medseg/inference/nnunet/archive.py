"""Extracting models from a zip that anybody may have made."""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from medseg.core.errors import FormatError, ModelError, ResourceError
from medseg.inference.nnunet.checkpoint import LARGEST_FILE_BYTES
from medseg.inference.nnunet.json_files import LARGEST_JSON_BYTES

# What an import reads, and how large each may be; all else stays in the zip.
WANTED = {
    "plans.json": LARGEST_JSON_BYTES,
    "dataset.json": LARGEST_JSON_BYTES,
    "dataset_fingerprint.json": LARGEST_JSON_BYTES,
    "checkpoint_final.pth": LARGEST_FILE_BYTES,
    "checkpoint_best.pth": LARGEST_FILE_BYTES,
    "plans.pkl": LARGEST_JSON_BYTES,  # never opened; it tells a model of nnU-Net's first version
}
MOST_ENTRIES = 200_000
# Weights shrink by a tenth, JSON to a thirtieth; a bomb shrinks a thousandfold.
LARGEST_RATIO = 200
SMALL_BYTES = 2**20  # below this a ratio says nothing
CHUNK_BYTES = 2**20
# What zipfile raises for a damaged archive; the fifth for a compression that it does not know.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError)


def extract_models(file: Path, folder: Path) -> None:
    """Extract plans and checkpoints, and nothing else.

    Args:
        file: the zip.
        folder: where they go, in the zip's own folders.
    Raises:
        FormatError: it is no zip, or damaged.
        ModelError: an entry leads out of the folder, is a link, is encrypted, or unpacks to an absurd size.
        ResourceError: the disk has no room.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = _choose_entries(archive, file)
            wanted, free = sum(entry.file_size for entry in entries), shutil.disk_usage(folder).free
            if wanted > free:
                raise ResourceError(
                    f"it unpacks to {wanted / 2**30:.1f} GB, and {folder.parent} has {free / 2**30:.1f} GB",
                    code="disk_full",
                    file=file,
                    remedy="Unpack it where there is room and give the folder",
                )
            for entry in entries:
                _extract(archive, entry, folder)
    except (*ZIP_ERRORS, OSError) as error:
        # bzip2 says OSError for damaged data, without a number; files may stand where the archive has folders.
        if isinstance(error, OSError) and not isinstance(error, FileExistsError | NotADirectoryError) and error.errno:
            raise
        reason = f"it is no zip, or a damaged one: {' '.join(str(error).split())[:200]}"
        raise FormatError(reason, code="not_a_zip", file=file, remedy="Fetch it again") from None


def _choose_entries(archive: zipfile.ZipFile, file: Path) -> list[zipfile.ZipInfo]:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise ModelError(f"{len(entries)} entries", code="too_large", file=file)
    for entry in entries:
        _refuse_outside(entry, file)
    names = {entry.filename for entry in entries}
    chosen = {}
    for entry in entries:
        place = PurePosixPath(entry.filename)
        if entry.is_dir() or place.name not in WANTED or "__MACOSX" in place.parts:
            continue
        if place.name == "checkpoint_best.pth" and str(place.with_name("checkpoint_final.pth")) in names:
            continue
        if entry.flag_bits & 1:
            raise ModelError(f"{entry.filename} is encrypted", code="encrypted", file=file, remedy="Unpack it yourself")
        ratio = entry.file_size / max(1, entry.compress_size)
        if entry.file_size > WANTED[place.name] or (entry.file_size > SMALL_BYTES and ratio > LARGEST_RATIO):
            size = f"{entry.filename} unpacks to {entry.file_size / 2**20:.0f} MB, {ratio:.0f} times its size"
            raise ModelError(size, code="too_large", file=file)
        if entry.filename in chosen:
            raise ModelError(f"{entry.filename} stands in it twice", code="not_a_zip", file=file)
        chosen[entry.filename] = entry
    return list(chosen.values())


def _refuse_outside(entry: zipfile.ZipInfo, file: Path) -> None:
    """Refuse names that lead out of the folder on any system, and links."""
    name = entry.filename
    odd = any(sign in name for sign in "\\\0") or ":" in name.partition("/")[0]
    if odd or name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise ModelError(f"its entry {name[:100]!r} leads out of the archive", code="path_traversal", file=file)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ModelError(f"its entry {name[:100]!r} is a link or a device", code="path_traversal", file=file)


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder.joinpath(*PurePosixPath(entry.filename).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as stream, target.open("xb") as output:
        shutil.copyfileobj(stream, output, CHUNK_BYTES)
