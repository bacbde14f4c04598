// cv::VideoCapture::grab with its answer, which GoCV's Grab throws away, and with the
// size of the picture that FFmpeg decoded, which OpenCV does not look at: it scales
// every picture as if it had the first one's size, and reads beyond the rows of one
// that is smaller.
//
// And with the stamp of the buffer that GStreamer gave, which OpenCV does not tell
// either: the position that it tells is the sink's.
//
// Both are overheard. Symbols of a program go before those of its libraries, so
// OpenCV's calls of avcodec_receive_frame and gst_app_sink_pull_sample arrive here and
// are passed on. Where OpenCV brings libraries of its own, none do, and nothing is told.
#include "grab.h"

#include <dlfcn.h>

#include <opencv2/videoio.hpp>

namespace {

// picture is the beginning of FFmpeg's AVFrame, the same since it is called so
// (libavutil/frame.h).
struct picture {
  unsigned char *data[8];
  int linesize[8];
  unsigned char **extended_data;
  int width, height;
};

// buffer is the beginning of GStreamer's GstBuffer, the same in all of its series 1
// (gst/gstbuffer.h): behind a GstMiniObject and the pool stands when it is to be shown.
struct buffer {
  unsigned char object[64];
  void *pool;
  unsigned long long pts;
};

// heard is the picture that this thread decoded or fetched last: its size, and by
// GStreamer's clock of the stream, in ns, when it came; 0 or all ones: not known.
thread_local int heard_width, heard_height;
thread_local unsigned long long heard_pts;

}  // namespace

extern "C" __attribute__((visibility("default"))) int avcodec_receive_frame(void *context, void *frame) {
  typedef int receive(void *, void *);
  static receive *const real = reinterpret_cast<receive *>(dlsym(RTLD_NEXT, "avcodec_receive_frame"));
  if (real == nullptr) return -38;  // ENOSYS, as FFmpeg writes it
  const int answer = real(context, frame);
  if (answer == 0 && frame != nullptr) {
    const picture *p = static_cast<const picture *>(frame);
    heard_width = p->width, heard_height = p->height;
  }
  return answer;
}

void ea_gst_init(void) {
  typedef void init(int *, char ***);
  if (init *const gst_init = reinterpret_cast<init *>(dlsym(RTLD_DEFAULT, "gst_init"))) gst_init(nullptr, nullptr);
}

extern "C" __attribute__((visibility("default"))) void *gst_app_sink_pull_sample(void *sink) {
  typedef void *pull(void *);
  static pull *const real = reinterpret_cast<pull *>(dlsym(RTLD_NEXT, "gst_app_sink_pull_sample"));
  static pull *const get = reinterpret_cast<pull *>(dlsym(RTLD_DEFAULT, "gst_sample_get_buffer"));
  if (real == nullptr) return nullptr;
  void *const sample = real(sink);
  if (sample != nullptr && get != nullptr)
    if (const buffer *b = static_cast<const buffer *>(get(sample))) heard_pts = b->pts;
  return sample;
}

int ea_grab(void *capture, int *width, int *height, unsigned long long *pts) {
  heard_width = heard_height = 0, heard_pts = 0;
  int answer = -1;
  try {
    answer = static_cast<cv::VideoCapture *>(capture)->grab() ? 1 : 0;
  } catch (...) {
  }
  *width = heard_width, *height = heard_height;
  *pts = heard_pts + 1 == 0 ? 0 : heard_pts;
  return answer;
}
