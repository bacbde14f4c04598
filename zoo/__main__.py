"""`python -m zoo TARGET`: makes one of the repository's generated parts, or a network of the zoo."""

import importlib
import sys

from zoo.paths import Refused

# Each module has a make(); they are imported only when asked for, since TensorFlow takes seconds to load.
TARGETS = {
    "model": "zoo.default_model",
    "clip": "zoo.clip",
    "references": "zoo.references",
    "answers": "zoo.answers",
    "small": "zoo.small",
    "original": "zoo.original",
    "tensorflow": "zoo.for_tensorflow",
    "decoding": "zoo.decoding",
}
# The make() of these takes the rest of the command line.
COMMANDS = {
    "net": "zoo.net",
    "verify": "zoo.verify.ours",
    "table": "zoo.table",
    "tour": "zoo.tour",
    "study": "zoo.study",
}


def main() -> int:
    name, rest = (sys.argv + [""])[1], sys.argv[2:]
    if name not in COMMANDS and (name not in TARGETS or rest):
        print(f"usage: python -m zoo {'|'.join(TARGETS)}, or {'|'.join(COMMANDS)} ...", file=sys.stderr)
        return 64
    try:
        if name in COMMANDS:
            importlib.import_module(COMMANDS[name]).make(rest)
        else:
            importlib.import_module(TARGETS[name]).make()
    except Refused as reason:
        print(f"zoo: {reason}", file=sys.stderr)
        return 66
    return 0


if __name__ == "__main__":
    sys.exit(main())
