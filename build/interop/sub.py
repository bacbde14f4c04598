"""Subscribes with Python's paho and prints what comes: topic, a space, payload, a line each.

    python sub.py tcp|websockets HOST PORT 4|5 FILTER
"""

import sys

import paho.mqtt.client as mqtt

transport, host, port, version, topics = sys.argv[1:]
client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2, transport=transport, protocol=mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
)


def connected(client, _userdata, _flags, reason, _properties):
    """Subscribes, or says why it cannot."""
    if reason.is_failure:
        sys.exit(f"refused: {reason}")
    client.subscribe(topics, qos=1)


def subscribed(_client, _userdata, _mid, reasons, _properties):
    """Says that messages come from now on."""
    if any(r.is_failure for r in reasons):
        sys.exit(f"subscription refused: {reasons}")
    print("ready", flush=True)


def message(_client, _userdata, m):
    """Prints a message."""
    print(m.topic, m.payload.decode(), flush=True)


client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, message
client.connect(host, int(port))
client.loop_forever()
