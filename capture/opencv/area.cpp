// Shrinking by pixel area (cv::INTER_AREA), channel order and the tensor's table in
// one pass: cv::resize takes a pixel's three channels one after the other, and was
// the largest part of what a frame cost.
//
// The answer is cv::resize's to the last bit: the same weights (computeResizeAreaTab
// in OpenCV's modules/imgproc/src/resize.cpp), the same sums of floats in the same
// order, the same rounding; four lanes at a time, of which three are used.
#include "area.h"

#include <opencv2/core.hpp>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <new>
#include <vector>

namespace {

typedef float lanes __attribute__((vector_size(16)));
typedef unsigned int bits __attribute__((vector_size(16)));
typedef unsigned char quad __attribute__((vector_size(4)));

// tap is what a source pixel gives a destination pixel.
struct tap {
  int from, to;
  float weight;
};

std::vector<tap> taps(int from, int to) {
  // As cv::resize comes to it, rounding included.
  const double scale = 1. / (static_cast<double>(to) / from);
  std::vector<tap> all;
  for (int d = 0; d < to; d++) {
    const double begin = d * scale, end = begin + scale;
    const double cell = std::min(scale, from - begin);
    const int last = std::min(static_cast<int>(std::floor(end)), from - 1);
    const int first = std::min(static_cast<int>(std::ceil(begin)), last);
    if (first - begin > 1e-3)
      all.push_back({first - 1, d, static_cast<float>((first - begin) / cell)});
    for (int s = first; s < last; s++)
      all.push_back({s, d, static_cast<float>(1. / cell)});
    if (end - last > 1e-3)
      all.push_back({last, d, static_cast<float>(std::min(std::min(end - last, 1.), cell) / cell)});
  }
  return all;
}

// whole says whether from is a whole multiple of to, which cv::resize does otherwise.
bool whole(int from, int to) {
  const double scale = 1. / (static_cast<double>(to) / from);
  return std::abs(scale - static_cast<int>(std::lrint(scale))) < DBL_EPSILON;
}

inline lanes pixel(const unsigned char *p) {
  quad q;
  std::memcpy(&q, p, 4);
  return __builtin_convertvector(q, lanes);
}

// edge is pixel without the byte behind it, which may not be ours.
inline lanes edge(const unsigned char *p) {
  const lanes v = {static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]), 0};
  return v;
}

}  // namespace

struct ea_area {
  int sw, sh, dw, dh;
  std::vector<tap> across, down;
  std::vector<lanes> row, sum;  // one shrunk source row; the destination row so far

  // shrink makes row of a source row.
  void shrink(const unsigned char *s) {
    const tap *t = across.data(), *const end = t + across.size();
    while (t != end) {
      const int d = t->to;
      lanes v = {0, 0, 0, 0};
      for (; t != end && t->to == d; t++)
        v += (t->from + 1 < sw ? pixel(s + 3 * t->from) : edge(s + 3 * t->from)) * t->weight;
      row[d] = v;
    }
  }

  // store rounds sum, half to even as cv::saturate_cast does, into a row of dst.
  void store(unsigned char *d, bool swap, const unsigned char *table) const {
    const lanes whole = {8388608, 8388608, 8388608, 8388608};  // 2^23: above it floats have no fraction
    const int first = swap ? 2 : 0, third = 2 - first;
    for (const lanes &v : sum) {
      const bits b = reinterpret_cast<bits>(v + whole);
      unsigned char p[3];
      p[first] = static_cast<unsigned char>(b[0]);
      p[1] = static_cast<unsigned char>(b[1]);
      p[third] = static_cast<unsigned char>(b[2]);
      if (table != nullptr) {
        p[0] = table[p[0]];
        p[1] = table[256 + p[1]];
        p[2] = table[512 + p[2]];
      }
      d[0] = p[0], d[1] = p[1], d[2] = p[2];
      d += 3;
    }
  }

  void run(const cv::Mat &src, cv::Mat &dst, bool swap, const unsigned char *table) {
    const lanes zero = {0, 0, 0, 0};
    int shrunk = -1;  // the source row that row holds
    for (size_t i = 0; i < down.size();) {
      const int y = down[i].to;
      std::fill(sum.begin(), sum.end(), zero);
      for (; i < down.size() && down[i].to == y; i++) {
        if (down[i].from != shrunk) {
          shrunk = down[i].from;
          shrink(src.ptr(shrunk));
        }
        for (int x = 0; x < dw; x++) sum[x] += row[x] * down[i].weight;
      }
      store(dst.ptr(y), swap, table);
    }
  }
};

ea_area *ea_area_new(int sw, int sh, int dw, int dh) {
  if (dw < 1 || dh < 1 || sw < dw || sh < dh || (whole(sw, dw) && whole(sh, dh))) return nullptr;
  try {
    ea_area *a = new ea_area{sw, sh, dw, dh, taps(sw, dw), taps(sh, dh), {}, {}};
    a->row.resize(dw);
    a->sum.resize(dw);
    return a;
  } catch (const std::bad_alloc &) {
    return nullptr;
  }
}

void ea_area_free(ea_area *a) { delete a; }

int ea_area_run(ea_area *a, const void *src, void *dst, int swap, const unsigned char *table) {
  const cv::Mat &from = *static_cast<const cv::Mat *>(src);
  cv::Mat &to = *static_cast<cv::Mat *>(dst);
  if (from.type() != CV_8UC3 || to.type() != CV_8UC3 || from.cols != a->sw || from.rows != a->sh || to.cols != a->dw || to.rows != a->dh)
    return -1;
  a->run(from, to, swap != 0, table);
  return 0;
}
