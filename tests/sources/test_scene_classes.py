"""The classes of the user's own scenes: ids in order, colours by name or from the palette."""

from specdm.settings import SceneClass
from specdm.sources.scene_classes import PALETTE, label_set


def test_classes_get_ids_in_order_and_colours_where_none_is_given():
    declared = [SceneClass(name="x", codes=(1,)), SceneClass(name="y", codes=(2,), colour=(9, 8, 7))]
    labels = label_set("mine", declared)
    assert [(c.id, c.name, c.raw_codes) for c in labels.classes] == [(0, "x", (1,)), (1, "y", (2,))]
    assert [c.colour for c in labels.classes] == [PALETTE[0], (9, 8, 7)]
    assert len(set(PALETTE)) == len(PALETTE)


def test_classes_look_like_what_they_are_called_and_never_alike():
    names = ["no water", "Water body", "pine forest", "old forest", "x", "sea", *(f"class {i}" for i in range(40))]
    labels = label_set("mine", [SceneClass(name=name) for name in names])
    colours = [c.colour for c in labels.classes]
    assert colours[1] == (50, 110, 220) and colours[2] == (30, 120, 40)
    assert [colours[i] for i in (0, 3, 4, 5)] == list(PALETTE[:4])
    assert len(set(colours[:22])) == 22  # as many as there are: two natural ones and the palette
    taken = label_set("mine", [SceneClass(name="water"), SceneClass(name="b", colour=(50, 110, 220))])
    assert taken.classes[0].colour == PALETTE[0]
