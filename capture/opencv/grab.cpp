// cv::VideoCapture::grab with its answer, which GoCV's Grab throws away, and with the
// size of the picture that FFmpeg decoded, which OpenCV does not look at: it scales
// every picture as if it had the first one's size, and reads beyond the rows of one
// that is smaller.
//
// The size is overheard. Symbols of a program go before those of its libraries, so
// OpenCV's calls of avcodec_receive_frame arrive here and are passed on. Where OpenCV
// brings an FFmpeg of its own, none do, and no size is told.
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

// heard is the picture that this thread decoded last.
thread_local int heard_width, heard_height;

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

int ea_grab(void *capture, int *width, int *height) {
  heard_width = heard_height = 0;
  int answer = -1;
  try {
    answer = static_cast<cv::VideoCapture *>(capture)->grab() ? 1 : 0;
  } catch (...) {
  }
  *width = heard_width, *height = heard_height;
  return answer;
}
