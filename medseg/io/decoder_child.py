"""The child process that decodes: ITK for NRRD and MetaImage, Pillow and tifffile for pictures.

Run as a script by ``decoding.py``, which has checked the file's header; each library is imported when it is first
needed.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.child import Answer, serve
from medseg.core.errors import MedsegError

# Modes of Pillow that are one real number or a colour a pixel.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "F")
_REMEDY = "Fetch or write it again"
_EXIF_ORIENTATION = 0x0112  # EXIF 2.3, "Orientation"
# The image whose memory the last answer shows.
_HELD: list[Any] = []


def decode(request: dict[str, Any]) -> Answer:
    """The answer to one request; a file that cannot be read is answered with the reason."""
    try:
        return _DECODERS[request["kind"]](request)
    except MemoryError:
        raise
    except MedsegError as error:
        return {"reason": error.reason, "code": error.code, "remedy": error.remedy or _REMEDY}, b""
    except Exception as error:  # on damaged data libraries raise errors of every kind
        lines = str(error).strip().splitlines() or [type(error).__name__]
        if "llocate memory" in lines[-1] or "bad_alloc" in lines[-1]:
            raise MemoryError from None
        return {"reason": f"cannot be read: {lines[-1][-200:]}", "code": "corrupt", "remedy": _REMEDY}, b""


def _decode_grid(request: dict[str, Any]) -> Answer:
    import SimpleITK

    image: Any = SimpleITK.ReadImage(request["path"])
    _HELD[:] = [image]  # the view below shows its memory
    content = {
        "dimension": image.GetDimension(),
        "components": image.GetNumberOfComponentsPerPixel(),
        "spacing": image.GetSpacing(),
        "origin": image.GetOrigin(),
        "direction": image.GetDirection(),
    }
    return _pack(SimpleITK.GetArrayViewFromImage(image), content)


def _decode_picture(request: dict[str, Any]) -> Answer:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # the size was checked against the file's
    with Image.open(request["path"], formats=["PNG", "JPEG"]) as image:
        image.load()
        if image.mode not in _MODES:
            raise ValueError(f"a picture of mode {image.mode}, expected grey or RGB")
        coloured = image.mode in ("P", "PA") and not request["as_mask"]
        pixels = np.array(image.convert("RGB") if coloured else image)
        return _pack(pixels, {"orientation": image.getexif().get(_EXIF_ORIENTATION, 1)})


def _decode_tiff(request: dict[str, Any]) -> Answer:
    from medseg.io.tiff import read_tiff

    pixels, spacing, notes = read_tiff(request["path"], as_mask=request["as_mask"])
    return _pack(pixels, {"spacing": spacing, "notes": notes})


def _describe_tiff(request: dict[str, Any]) -> Answer:
    from medseg.io.tiff import describe_tiff

    return describe_tiff(request["path"]), b""


def _pack(array: NDArray[Any], content: dict[str, Any]) -> Answer:
    plain = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    return {**content, "dtype": plain.dtype.name, "shape": plain.shape}, plain.reshape(-1).view(np.uint8).data


_DECODERS = {
    "grid": _decode_grid,
    "picture": _decode_picture,
    "tiff": _decode_tiff,
    "tiff_header": _describe_tiff,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(decode)
