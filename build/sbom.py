"""Joins the SBOMs of both binaries and adds what is not Go; called by build/sbom.sh."""

import hashlib
import json
import os
import sys


def main() -> None:
    agent, capture, version, arch, litert, library, gpu, tflite, tflite_library, model = sys.argv[1:]
    with open(agent, encoding="utf-8") as f:
        bom = json.load(f)
    with open(capture, encoding="utf-8") as f:
        other = json.load(f)

    product = {"bom-ref": "edge-agent", "type": "application", "name": "edge-agent", "version": version,
               "properties": [{"name": "architecture", "value": arch}]}
    mains = [b["metadata"]["component"] for b in (bom, other)]
    for main_component, name in zip(mains, ("edge-agent", "edge-agent-capture")):
        main_component["bom-ref"], main_component["name"] = "binary:" + name, name

    components = {c["bom-ref"]: c for c in bom["components"] + other["components"]}
    for name, release, path, kind in (
        ("libLiteRt.so", litert, library, "library"),
        ("libLiteRtWebGpuAccelerator.so", litert, gpu, "library"),
        ("libLiteRt.so (TFLite)", tflite, tflite_library, "library"),
        ("EfficientNet-Lite0 int8", "0.1.0", model, "machine-learning-model"),
    ):
        if not os.path.exists(path):
            continue  # TFLite's has no amd64 build
        with open(path, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        component = {"bom-ref": f"file:{name}", "type": kind, "name": name, "version": release,
                     "hashes": [{"alg": "SHA-256", "content": digest}],
                     "licenses": [{"license": {"id": "Apache-2.0"}}]}
        if kind == "library":
            component["purl"] = f"pkg:pypi/ai-edge-litert@{release}"
        components[component["bom-ref"]] = component
    for release, suite in (("4.6.0", "bookworm"), ("4.10.0", "trixie")):
        components["opencv-" + release] = {
            "bom-ref": "opencv-" + release, "type": "library", "name": "opencv", "version": release, "scope": "optional",
            "purl": f"pkg:deb/debian/opencv@{release}?arch={arch}&distro={suite}",
            "description": "linked dynamically; the distribution's own package",
            "licenses": [{"license": {"id": "Apache-2.0"}}]}

    # The mains keep what they depend on under their new names.
    renamed = dict(zip((old_ref(b) for b in (agent, capture)), ("binary:edge-agent", "binary:edge-agent-capture")))
    depends: dict[str, set[str]] = {}
    for b, path in ((bom, agent), (other, capture)):
        for d in b["dependencies"]:
            ref = renamed[old_ref(path)] if d["ref"] == old_ref(path) else d["ref"]
            depends.setdefault(ref, set()).update(d.get("dependsOn", []))
    depends["edge-agent"] = {"binary:edge-agent", "binary:edge-agent-capture"} | {r for r in components if r.startswith("file:")}
    depends["binary:edge-agent-capture"] |= {r for r in components if r.startswith("opencv-")}

    bom["metadata"]["component"] = product
    bom["components"] = mains + sorted(components.values(), key=lambda c: c["bom-ref"])
    bom["dependencies"] = [{"ref": r, "dependsOn": sorted(d)} if d else {"ref": r} for r, d in sorted(depends.items())]
    json.dump(bom, sys.stdout, indent=1, ensure_ascii=False)
    print()


def old_ref(path: str) -> str:
    """The reference of the main component as the tool wrote it."""
    with open(path, encoding="utf-8") as f:
        return json.load(f)["metadata"]["component"]["bom-ref"]


if __name__ == "__main__":
    main()
