// The C face of grab.cpp.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// ea_grab moves a cv::VideoCapture on by one frame without decoding it: 1 when
// there is one, 0 when there is none, -1 after an exception. width and height become
// those of the picture, in pixels, where FFmpeg decoded it on the way; pts becomes the
// stamp of the stream, in ns, where GStreamer gave it; else 0.
int ea_grab(void *capture, int *width, int *height, unsigned long long *pts);

// ea_gst_init has GStreamer find its plugins, where OpenCV has brought it.
void ea_gst_init(void);

#ifdef __cplusplus
}
#endif
