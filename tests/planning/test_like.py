"""Plans that follow a model's: the network stays, what the data decide does not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from medseg.core.errors import PlanError
from medseg.core.fingerprint import Fingerprint
from medseg.core.plan import Plan
from medseg.core.workspace import Workspace
from medseg.planning import Template, check_request, make_plan, plan_like, write_plan
from medseg.planning.files import ensure_plan
from tests.planning.fingerprints import make_fingerprint

DIGEST = "0123456789abcdef" * 4


def turn(fingerprint: Fingerprint, orientation: str) -> Fingerprint:
    cases = tuple(case.model_copy(update={"orientation": orientation}) for case in fingerprint.cases)
    return fingerprint.model_copy(update={"cases": cases})


def thick_ct(orientation: str = "", count: int = 20, **options: Any) -> Fingerprint:
    return turn(make_fingerprint([(512, 512, 90)] * count, [(0.7, 0.7, 3.0)] * count, **options), orientation)


def other_ct(shapes: Sequence[tuple[int, int, int]] = ((300, 280, 260),) * 20, **options: Any) -> Fingerprint:
    return make_fingerprint(shapes, [(1.0, 1.0, 1.2)] * len(shapes), dataset="other", **options)


def follow(model: Plan, fingerprint: Fingerprint) -> Plan:
    return plan_like(fingerprint, Template(model, DIGEST))


@pytest.mark.parametrize("preset", ["nnunet", "resenc-l", "cpu"])
def test_a_plan_like_its_own_is_the_same(preset: str) -> None:
    fingerprint = thick_ct("LPS")
    model = make_plan(fingerprint, preset=preset)
    made = follow(model, fingerprint)
    assert (made.axis_order, made.orientation) == (model.axis_order, model.orientation)
    for name, theirs in model.configurations.items():
        ours = made.configurations[name]
        assert ours.model_copy(update={"memory_gb": 0.0, "uncapped_batch_size": None}) == theirs.model_copy(
            update={"memory_gb": 0.0, "uncapped_batch_size": None}
        )
    assert made.preset == "like-0123456789abcdef"
    assert made.target == "fine-tuning a model of made_up"


def test_network_spacing_and_patch_are_the_models_and_shapes_the_datas() -> None:
    model = make_plan(thick_ct())
    fingerprint = other_ct(labels={"kidney": 1, "cyst": 2, "vein": 3})
    made, own = follow(model, fingerprint), make_plan(fingerprint)
    theirs, ours = model.configuration("3d_fullres"), made.configuration("3d_fullres")
    for field in ("spacing_mm", "patch_size", "network", "batch_dice", "dimensions", "normalisation"):
        assert getattr(ours, field) == getattr(theirs, field)
    assert ours.network != own.configuration("3d_fullres").network
    # 260 slices of 1.2 mm at 3 mm, 280 and 300 voxels of 1 mm at 0.7 mm, rounded half to even.
    assert ours.median_shape == (104, 400, 429)
    assert (made.channels, made.labels, made.dataset) == (fingerprint.channels, fingerprint.labels, "other")
    assert made.axis_order == (2, 1, 0)
    assert "of made_up was trained at" in made.reasons["3d_fullres.spacing_mm"]
    fields = {key.partition(".")[2] for key in made.reasons if key.startswith("3d_fullres.")}
    assert {"network", "patch_size", "batch_size", "normalisation", "mirror_axes", "training", "memory_gb"} <= fields


def test_known_channels_are_normalised_as_the_model_saw_them() -> None:
    model = make_plan(thick_ct(channels=("CT",)), window_hu=(-160, 240))
    made = follow(model, other_ct(channels=("PET", "ct")))
    own = make_plan(other_ct(channels=("PET", "ct")))
    pet, ct = made.configuration("3d_fullres").normalisation
    assert (ct.low, ct.high) == (-160, 240)
    assert pet == own.configuration("3d_fullres").normalisation[0]
    reason = made.reasons["3d_fullres.normalisation"]
    assert "ct, as the model has it: ct (-160 to 240" in reason
    assert "PET, which the model does not know, by the data set: zscore." in reason


def test_scans_are_turned_as_the_model_saw_them() -> None:
    model = make_plan(thick_ct("LPS"))
    assert model.orientation == "SPL"
    made = follow(model, turn(other_ct(), "PSR"))
    assert made.orientation == "SPL"
    assert made.axis_order == (1, 0, 2)  # S lies along j, P along i, L against k
    # 300 voxels of 1 mm along P, 280 along S, 260 of 1.2 mm along R.
    assert made.configuration("3d_fullres").median_shape == (93, 429, 446)
    assert follow(model, other_ct()).orientation is None  # the data do not say how they lie


def test_a_model_that_turned_nothing_gives_its_order_of_axes() -> None:
    model = make_plan(thick_ct()).model_copy(update={"axis_order": (0, 2, 1)})
    assert follow(model, turn(other_ct(), "LPS")).axis_order == (0, 2, 1)
    assert follow(model, turn(other_ct(), "LPS")).orientation is None


def test_sided_labels_and_the_models_flips_limit_mirroring() -> None:
    sided = {"left kidney": 1, "right kidney": 2}
    fingerprint = turn(other_ct(labels=sided), "LPS")
    training = follow(make_plan(thick_ct("LPS")), fingerprint).configuration("3d_fullres").training
    assert (training.mirror_axes, training.side_axis, training.side_pairs) == ((0, 1, 2), 2, ((1, 2),))
    few = follow(make_plan(thick_ct("LPS"), preset="cpu"), turn(other_ct(), "LPS"))
    assert few.configuration("3d_fullres").training.mirror_axes == (2,)
    assert "those that the model saw flipped" in few.reasons["3d_fullres.mirror_axes"]
    none = make_plan(thick_ct("LPS"))
    for name, configuration in none.configurations.items():
        still = configuration.model_copy(
            update={"training": configuration.training.model_copy(update={"mirror_axes": ()})}
        )
        none = none.model_copy(update={"configurations": {**none.configurations, name: still}})
    training = follow(none, fingerprint).configuration("3d_fullres").training
    assert (training.mirror_axes, training.side_axis, training.side_pairs) == ((), None, ())


def test_what_hangs_on_labels_goes_by_the_data() -> None:
    model = make_plan(thick_ct())
    theirs = model.configuration("3d_fullres")
    changes = {"loss": "tversky", "class_weights": (1.0, 5.0), "learning_rate": 0.02, "optimiser": "adamw"}
    changed = theirs.model_copy(update={"training": theirs.training.model_copy(update=changes)})
    made = follow(model.model_copy(update={"configurations": {"3d_fullres": changed}}), other_ct(labels={"cyst": 1}))
    training = made.configuration("3d_fullres").training
    assert (training.loss, training.class_weights) == ("auto", ())
    assert (training.learning_rate, training.optimiser) == (0.02, "adamw")


def test_a_small_data_set_caps_the_batch() -> None:
    model = make_plan(thick_ct())
    theirs = model.configuration("2d")
    made = follow(model, make_fingerprint([(128, 128, 10)] * 4, [(0.7, 0.7, 3.0)] * 4))
    # 5 % of 4 scans of 10 x 128 x 128 voxels are less than one patch of 512 x 512.
    assert theirs.batch_size > 2
    assert made.configuration("2d").batch_size == 2
    assert "in place of the model's" in made.reasons["2d.batch_size"]


def test_a_cascade_stays_one() -> None:
    model = make_plan(make_fingerprint([(512, 512, 600)] * 20, [(0.8, 0.8, 0.8)] * 20))
    assert model.configuration("3d_cascade_fullres").previous == "3d_lowres"
    made = follow(model, other_ct())
    assert made.configuration("3d_cascade_fullres").previous == "3d_lowres"
    assert made.configuration("3d_lowres").spacing_mm == model.configuration("3d_lowres").spacing_mm


def test_pictures_need_a_model_of_slices() -> None:
    pictures = make_fingerprint([(512, 400, 1)] * 9, [(1.0, 1.0, 1.0)] * 9, channels=("picture",))
    model = make_plan(thick_ct()).model_copy(update={"axis_order": (0, 1, 2)})
    made = follow(model, pictures)
    assert list(made.configurations) == ["2d"]
    assert made.axis_order[0] == 2  # the one slice comes first
    volumes = model.model_copy(update={"configurations": {"3d_fullres": model.configuration("3d_fullres")}})
    with pytest.raises(PlanError, match="see volumes, and the data set has pictures"):
        follow(volumes, pictures)


def test_a_spacing_far_from_the_datas_is_refused() -> None:
    fine = make_plan(make_fingerprint([(300, 300, 300)] * 9, [(0.01, 0.01, 0.01)] * 9, channels=("MR",)))
    with pytest.raises(PlanError, match=r"more than 2\.1 billion"):
        follow(fine, other_ct())


def test_a_model_leaves_no_other_choice_open() -> None:
    check_request("nnunet", None, None, None, followed=True)
    for preset, *rest in (("cpu", None, None, None), ("nnunet", 9.0, None, None), ("nnunet", None, [1], None)):
        with pytest.raises(PlanError, match="from the model"):
            check_request(preset, *rest, followed=True)  # type: ignore[arg-type]


def test_a_workspace_keeps_the_plan_of_the_same_model_alone(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    other_ct().write(space.fingerprint)
    template = Template(make_plan(thick_ct()), DIGEST)
    made = write_plan(space, preset="nnunet", template=template)
    assert made == plan_like(Fingerprint.read(space.fingerprint), template)
    edited = made.model_copy(update={"reasons": {}})
    edited.write(space.plan)
    assert ensure_plan(space, "cpu", template) == edited
    assert ensure_plan(space, "cpu", Template(template.plan, "f" * 64)).preset == "like-" + "f" * 16
    assert ensure_plan(space, "nnunet").preset == "nnunet"
