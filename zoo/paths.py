"""Where the zoo finds its inputs and puts its outputs."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
DEFAULT_MODEL = MODELS / "efficientnet_lite0" / "efficientnet_lite0_int8.tflite"
WORK = ROOT / "build" / "cache" / "zoo"
TESTDATA = Path(os.environ.get("EDGE_AGENT_TESTDATA", ROOT.parent / "shared" / "testdata"))


class Refused(Exception):
    """A reason, in one line for a person, why a target cannot be made here."""


def testdata(*parts: str) -> Path:
    """The path of a file or folder of the shared test data; Refused where it is absent."""
    path = TESTDATA.joinpath(*parts)
    if not path.exists():
        raise Refused(
            f"{path} is missing: this target needs the shared test data beside the checkout; "
            "EDGE_AGENT_TESTDATA names it when it lies elsewhere"
        )
    return path
