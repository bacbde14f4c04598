"""Cameras for the benchmark: the demo clip in three sizes, 30 pictures a second, as H.264 over RTSP and as JPEGs over HTTP.

    streams.py CLIP FOLDER

All is encoded before the first picture is sent, so that serving costs next to nothing: /480, /720 and /1080 of an RTSP server,
/480.mjpg and so on of an HTTP server, and 480.mp4 and so on in FOLDER. Says "up RTSP-PORT HTTP-PORT" when it serves; the end of its standard input ends it.
It runs on the system's Python, whose bindings to GStreamer apt installs.
"""

import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

SIZES = {"480": (854, 480, 2000), "720": (1280, 720, 4000), "1080": (1920, 1080, 8000)}  # pixels, kbit/s
FPS = 30
PICTURES = 90  # then it begins again
H264 = "video/x-h264,stream-format=byte-stream,alignment=au"


def encode(clip: str, width: int, height: int, encoder: str) -> list[bytes]:
    """The clip's first pictures, each encoded."""
    pipeline = Gst.parse_launch(
        f"filesrc location={clip} ! decodebin ! videoconvert ! videoscale ! video/x-raw,format=I420,width={width},height={height} "
        f"! {encoder} ! appsink name=out sync=false max-buffers=4"
    )
    pipeline.set_state(Gst.State.PLAYING)
    out, all_of_them = pipeline.get_by_name("out"), []
    while len(all_of_them) < PICTURES:
        sample = out.emit("pull-sample")
        if sample is None:
            sys.exit(f"{clip} has {len(all_of_them)} pictures")
        buffer = sample.get_buffer()
        all_of_them.append(buffer.extract_dup(0, buffer.get_size()))
    pipeline.set_state(Gst.State.NULL)
    return all_of_them


def write(pictures: list[bytes], path: str) -> None:
    """The same H.264 as a file."""
    pipeline = Gst.parse_launch(f"appsrc name=in format=time caps={H264},framerate={FPS}/1 ! h264parse ! mp4mux ! filesink location={path}")
    pipeline.set_state(Gst.State.PLAYING)
    source = pipeline.get_by_name("in")
    for n, picture in enumerate(pictures):
        buffer = Gst.Buffer.new_wrapped(picture)
        buffer.pts = buffer.dts = n * Gst.SECOND // FPS
        buffer.duration = Gst.SECOND // FPS
        source.emit("push-buffer", buffer)
    source.emit("end-of-stream")
    pipeline.get_bus().timed_pop_filtered(30 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)


class Factory(GstRtspServer.RTSPMediaFactory):
    """One size over RTSP."""

    def __init__(self, pictures: list[bytes]) -> None:
        super().__init__()
        self.pictures = pictures
        self.set_shared(True)

    def do_create_element(self, _url: object) -> Gst.Element:
        return Gst.parse_launch(
            f"( appsrc name=src is-live=true format=time do-timestamp=true caps={H264},framerate={FPS}/1 "
            "! h264parse config-interval=1 ! rtph264pay name=pay0 pt=96 )"
        )

    def do_configure(self, media: GstRtspServer.RTSPMedia) -> None:
        source = media.get_element().get_child_by_name("src")
        alive = threading.Event()
        alive.set()
        media.connect("unprepared", lambda _: alive.clear())

        def run() -> None:
            n, due = 0, time.monotonic()
            while alive.is_set():
                if source.emit("push-buffer", Gst.Buffer.new_wrapped(self.pictures[n % PICTURES])) != Gst.FlowReturn.OK:
                    time.sleep(0.005)  # not started yet, or about to end
                    continue
                n += 1
                due = max(due + 1 / FPS, time.monotonic() - 1)
                time.sleep(max(0, due - time.monotonic()))

        threading.Thread(target=run, daemon=True).start()


def http_server(streams: dict[str, list[bytes]]) -> int:
    """Serves JPEGs without end; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pictures = streams[self.path.strip("/").removesuffix(".mjpg")]
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
            self.end_headers()
            n, due = 0, time.monotonic()
            try:
                while True:
                    picture = pictures[n % PICTURES]
                    self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(picture), picture))
                    n += 1
                    due = max(due + 1 / FPS, time.monotonic() - 1)
                    time.sleep(max(0, due - time.monotonic()))
            except OSError:
                pass  # who watched has gone

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def main() -> None:
    clip, folder = sys.argv[1:]
    Gst.init(None)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    jpegs = {}
    for name, (width, height, rate) in SIZES.items():
        x264 = f"x264enc tune=zerolatency speed-preset=veryfast key-int-max={FPS} bitrate={rate} ! {H264}"
        pictures = encode(clip, width, height, x264)
        write(pictures, os.path.join(folder, name + ".mp4"))
        server.get_mount_points().add_factory("/" + name, Factory(pictures))
        jpegs[name] = encode(clip, width, height, "jpegenc quality=85")
    if server.attach(None) == 0:
        sys.exit("cannot listen")
    print("up", port, http_server(jpegs), flush=True)
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()


main()
