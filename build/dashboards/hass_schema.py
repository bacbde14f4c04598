"""Holds the golden discovery messages against the schemas of the Home Assistant in this venv.

    build/cache/hass/bin/python build/dashboards/hass_schema.py

Its schemas let unknown keys and some wildcards pass; publish/discovery_test.go looks for those.
The form of one message a device is newer than that version: each of its components is held
against its platform's schema, with the device's own keys put in; a newer version takes the
whole in build/dashboards/hass.test.mjs.
"""

import importlib
import json
import pathlib
import sys

import voluptuous as vol

golden = pathlib.Path(__file__).parents[2] / "publish/testdata/homeassistant"


def messages(name):
    """Topics and payloads of a golden file."""
    topic, lines = None, []
    for line in (golden / f"{name}.txt").read_text().splitlines() + [None]:
        if line is None or not line.startswith((" ", "{", "}")):
            if topic:
                yield topic, json.loads("\n".join(lines))
            topic, lines = line, []
        else:
            lines.append(line)


def entities():
    """Platform, where it stands, and the entity as the schema wants it."""
    for topic, payload in messages("entities"):
        yield topic.split("/")[1], topic, payload
    for topic, payload in messages("device"):
        for key, part in payload["components"].items():
            entity = dict(part, device=payload["device"], origin=payload["origin"])
            yield entity.pop("platform"), f"{topic} {key}", entity


def schema(platform):
    return importlib.import_module(f"homeassistant.components.mqtt.{platform}").DISCOVERY_SCHEMA


def main():
    bad = 0
    n = 0
    for platform, where, entity in entities():
        n += 1
        try:
            schema(platform)(dict(entity, platform="mqtt"))
        except vol.Invalid as error:
            bad += 1
            print(f"{where}: {error}")
    # That the schemas are no empty words:
    sensor = next(dict(e) for p, _, e in entities() if p == "sensor" and "state_class" in e)
    for wrong in ({"state_class": "bogus"}, {"entity_category": "nope"}, {"value_template": "{{ x"}, {"device_class": "nope"}):
        try:
            schema("sensor")(dict(sensor, platform="mqtt", **wrong))
        except vol.Invalid:
            continue
        bad += 1
        print(f"Home Assistant's schema lets {wrong} pass")
    print(f"figure: homeassistant_schema_valid: {n - bad} of {n}")
    sys.exit(bad > 0 or n < 50)


if __name__ == "__main__":
    main()
