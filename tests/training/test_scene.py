"""What augmentation is told about a configuration."""

from pathlib import Path

from medseg.core.plan import NormalisationPlan, TrainingPlan
from medseg.training.job import Job
from medseg.training.learner import make_recipe, make_scene
from tests.training.examples import make_configuration, make_plan


def make_job(dimensions: int, **training: object) -> Job:
    normalisation = (NormalisationPlan(scheme="zscore", inside_mask=True), NormalisationPlan(scheme="zscore"))
    configuration = make_configuration(dimensions=dimensions, channels=2).model_copy(
        update={
            "normalisation": normalisation,
            "training": TrainingPlan.model_validate({"side_pairs": ((1, 2),), **training}),
            "previous": "3d_lowres" if dimensions == 3 else None,
        }
    )
    return Job(make_plan(configuration), configuration, [], [], Path(), "")


def test_axes_are_the_patchs_own() -> None:
    job = make_job(3, mirror_axes=(0, 2), side_axis=2)
    scene = make_scene(job)
    assert (scene.patch_size, scene.mirror_axes, scene.side_axis) == (job.configuration.patch_size, (0, 2), 2)
    assert scene.side_pairs == ((1, 2),)
    assert scene.masked_channels == (0,)
    assert scene.previous_values == job.plan.labels.foreground
    job = make_job(2, mirror_axes=(0, 1, 2), side_axis=2)
    scene = make_scene(job)
    assert (scene.patch_size, scene.mirror_axes, scene.side_axis) == (job.configuration.patch_size[1:], (0, 1), 1)
    assert scene.previous_values == ()
    assert make_scene(make_job(2, mirror_axes=(1, 2), side_axis=0)).side_axis is None  # across the slices


def test_more_is_read_where_the_patch_is_cut_out() -> None:
    job = make_job(3)
    assert make_recipe(job).read_size > job.configuration.patch_size
    plain = Job(job.plan, job.configuration, [], [], Path(), "", augmentations=())
    assert make_recipe(plain).read_size == job.configuration.patch_size
