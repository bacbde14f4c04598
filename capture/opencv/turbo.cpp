// JPEGs by TurboJPEG, where it is installed. OpenCV 4.6 decodes by the same library
// and then exchanges red and blue byte by byte, which takes twice what decoding did;
// TurboJPEG writes BGR at once, the same bytes. It is loaded when the program runs, so that
// nothing needs it to build or to start; its functions are the same from
// libjpeg-turbo 1.2 on (turbojpeg.h).
#include "turbo.h"

#include <dlfcn.h>

#include <opencv2/core.hpp>

#include <new>

namespace {

const int bgr = 1;  // TJPF_BGR

// turbo is the library's functions that are used.
struct turbo {
  void *(*init)();
  int (*header)(void *, const unsigned char *, unsigned long, int *, int *, int *, int *);
  int (*decode)(void *, const unsigned char *, unsigned long, unsigned char *, int, int, int, int, int);
  int (*destroy)(void *);
  bool all;

  turbo() : init(), header(), decode(), destroy(), all(false) {
    void *const lib = dlopen("libturbojpeg.so.0", RTLD_NOW | RTLD_LOCAL);  // for as long as the process lives
    all = lib != nullptr && find(lib, "tjInitDecompress", init) && find(lib, "tjDecompressHeader3", header) &&
          find(lib, "tjDecompress2", decode) && find(lib, "tjDestroy", destroy);
  }

  template <typename f>
  static bool find(void *lib, const char *name, f &to) {
    to = reinterpret_cast<f>(dlsym(lib, name));
    return to != nullptr;
  }
};

const turbo &library() {
  static const turbo t;
  return t;
}

}  // namespace

struct ea_turbo {
  void *handle;
};

int ea_turbo_load(void) { return library().all ? 1 : 0; }

ea_turbo *ea_turbo_new(void) {
  if (!library().all) return nullptr;
  void *const handle = library().init();
  return handle == nullptr ? nullptr : new (std::nothrow) ea_turbo{handle};
}

void ea_turbo_free(ea_turbo *t) {
  if (t == nullptr) return;
  library().destroy(t->handle);
  delete t;
}

int ea_turbo_decode(ea_turbo *t, const unsigned char *jpeg, size_t size, long most, void *mat) {
  int w = 0, h = 0, sampling = 0, colours = 0;
  if (library().header(t->handle, jpeg, size, &w, &h, &sampling, &colours) != 0) return 0;
  if (w < 1 || h < 1 || static_cast<long>(w) > most / h) return 0;
  try {
    cv::Mat &to = *static_cast<cv::Mat *>(mat);
    to.create(h, w, CV_8UC3);
    // A warning is an error too: OpenCV decides what a damaged JPEG is worth.
    return library().decode(t->handle, jpeg, size, to.data, w, static_cast<int>(to.step[0]), h, bgr, 0) == 0 ? 1 : 0;
  } catch (...) {  // no memory
    return 0;
  }
}
