"""An RTSP camera for the tests: H.264 by GStreamer's own server, with a clock in the picture.

    rtsp.py PORT [--user USER --password PASSWORD] [--size 640x480] [--fps 30]

The top of each frame is three rows of 24 blocks, white for 1 and black for 0: CLOCK_MONOTONIC in milliseconds when
the frame was made, most significant bit first, and below it the same inverted, so that a damaged clock shows; then a
hash of it, so that one shows whose blocks are of different frames: where packets are lost, a decoder goes on with what
it has, and the block of a bit that changes once in two seconds stays wrong until the next key frame. A line
"320x240" on standard input changes the size in the middle of the stream. Says "up" when it listens.
"""

import argparse
import os
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

BITS = 24


def hashed(clock):
    """Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): each bit changes half of the hash's above it."""
    return (clock * 2654435761 >> 8) % (1 << BITS)


parser = argparse.ArgumentParser()
parser.add_argument("port")
parser.add_argument("--user")
parser.add_argument("--password")
parser.add_argument("--size", default="640x480")
parser.add_argument("--fps", type=int, default=30)
args = parser.parse_args()
size = [int(n) for n in args.size.split("x")]


def caps():
    return f"video/x-raw,format=BGR,width={size[0]},height={size[1]},framerate={args.fps}/1"


def frame():
    """One picture: the clock, and below it noise that moves, so that frames differ in size."""
    w, h = size
    now = int(time.monotonic() * 1000) % (1 << BITS)
    rows = []
    for bits in (now, ~now, hashed(now)):
        row = bytearray()
        for x in range(BITS):
            bit = bits >> (BITS - 1 - x) & 1
            row += (b"\xff" if bit else b"\x00") * (((x + 1) * w // BITS - x * w // BITS) * 3)
        rows.append(bytes(row) * (h // 8))
    rest = h - 3 * (h // 8)
    at = now * 7919 % (len(NOISE) - rest * w * 3)
    return b"".join(rows) + NOISE[at:at + rest * w * 3]


NOISE = bytes(60 + b // 8 for b in os.urandom(4096)) * 1400  # 5.7 MB, enough for 720p and a shift


class Factory(GstRtspServer.RTSPMediaFactory):
    def do_create_element(self, _url):
        return Gst.parse_launch(
            f"( appsrc name=src is-live=true format=time do-timestamp=true caps={caps()} ! videoconvert ! video/x-raw,format=I420 "
            "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=2000 "
            "! rtph264pay name=pay0 pt=96 config-interval=1 )")

    def do_configure(self, media):
        src = media.get_element().get_child_by_name("src")
        alive = threading.Event()
        alive.set()
        media.connect("unprepared", lambda _: alive.clear())

        def run():
            made = list(size)
            due = time.monotonic()
            while alive.is_set():
                if made != size:
                    made = list(size)
                    src.set_property("caps", Gst.Caps.from_string(caps()))
                if src.emit("push-buffer", Gst.Buffer.new_wrapped(frame())) != Gst.FlowReturn.OK:
                    time.sleep(0.005)  # not started yet, or about to end
                    continue
                due = max(due + 1 / args.fps, time.monotonic() - 1)
                time.sleep(max(0, due - time.monotonic()))

        threading.Thread(target=run, daemon=True).start()


def listen_to_stdin():
    for line in sys.stdin:
        size[:] = [int(n) for n in line.split("x")]
    os._exit(0)  # whoever started this is gone


Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(args.port)
factory = Factory()
factory.set_shared(True)
if args.user:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(args.user, args.password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for what in ("access", "construct"):
        permissions.add_permission_for_role("viewer", "media.factory." + what, True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory("/cam", factory)
if server.attach(None) == 0:
    sys.exit("cannot listen")
print("up", flush=True)
threading.Thread(target=listen_to_stdin, daemon=True).start()
GLib.MainLoop().run()
