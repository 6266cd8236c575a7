"""Small files and data sets for the tests of io, written with nibabel itself."""

import json

import nibabel as nib
import numpy as np


def save_nifti(path, array=None, affine=None, dtype=np.int16):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.arange(24).reshape(2, 3, 4) if array is None else array
    array = np.asarray(array).astype(dtype)
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine, dtype=array.dtype), path)
    return path


def save_mask(path, array=None, affine=None):
    return save_nifti(path, np.ones((2, 3, 4)) if array is None else array, affine, np.uint8)


def save_json(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def save_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_nnunet(root, cases=("a", "b"), channels=("CT", "PET"), ending=".nii.gz"):
    for case in cases:
        for number in range(len(channels)):
            save_nifti(root / "imagesTr" / f"{case}_{number:04d}{ending}")
        save_mask(root / "labelsTr" / f"{case}{ending}")
    save_json(
        root / "dataset.json",
        channel_names={str(n): name for n, name in enumerate(channels)},
        labels={"background": 0, "tumour": 1},
        numTraining=len(cases),
        file_ending=ending,
    )
    return root


def make_two_folders(root, cases=("a", "b"), images="images", masks="masks"):
    for case in cases:
        save_nifti(root / images / f"{case}.nii.gz")
        save_mask(root / masks / f"{case}.nii.gz")
    return root


def names_of(cases):
    return [case.name for case in cases]


def problems_of(dataset):
    return sorted((problem.case or "", problem.code) for problem in dataset.problems)


def files_of(case):
    return [(source.path.name, source.index) for source in case.images]
