"""`python -m zoo TARGET`: makes one of the repository's generated parts."""

import importlib
import sys

from zoo.paths import Refused

# Each module has a make(); they are imported only when asked for, since TensorFlow takes seconds to load.
TARGETS = {
    "model": "zoo.default_model",
    "clip": "zoo.clip",
    "references": "zoo.references",
}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in TARGETS:
        print(f"usage: python -m zoo {'|'.join(TARGETS)}", file=sys.stderr)
        return 64
    try:
        importlib.import_module(TARGETS[sys.argv[1]]).make()
    except Refused as reason:
        print(f"zoo: {reason}", file=sys.stderr)
        return 66
    return 0


if __name__ == "__main__":
    sys.exit(main())
