// cv::VideoCapture::grab with its answer, which GoCV's Grab throws away.
#include "grab.h"

#include <opencv2/videoio.hpp>

int ea_grab(void *capture) {
  try {
    return static_cast<cv::VideoCapture *>(capture)->grab() ? 1 : 0;
  } catch (...) {
    return -1;
  }
}
